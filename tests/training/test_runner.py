"""Steps: once each, again when what they read has changed, several at once, stopped on time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.errors import InputError
from tests.conftest import ROOT
from training.runner import Runner, Step

SCRIPT = """
import sys
from pathlib import Path

with Path(sys.argv[1]).open("a") as log:
    log.write(sys.argv[2] + "\\n")
print("printed by", sys.argv[2], flush=True)
if sys.argv[2] == "fails":
    sys.exit(3)
"""

COMPANY = """
import sys, time
from pathlib import Path

folder, name, others = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
(folder / name).touch()
end = time.monotonic() + 60
while not all((folder / other).exists() for other in others):
    if time.monotonic() > end:
        sys.exit("alone")
    time.sleep(0.01)
time.sleep(0.1)
with (folder / "counts").open("a") as counts:
    counts.write(f"{len([path for path in folder.iterdir() if path.suffix == '.here'])}\\n")
if not others:
    (folder / name).unlink()
"""
"""Waits for others that must run at the same time; counts who is there; leaves if it waited for nobody."""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the commands were called with; the module that writes it can be found by them."""
    (tmp_path / "recorded_command.py").write_text(SCRIPT)
    (tmp_path / "kept_company.py").write_text(COMPANY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "log"


def _step(log: Path, name: str, *after: str, reads: tuple[Path, ...] = ()) -> Step:
    return Step(name, ("recorded_command", str(log), name), reads, after)


def _company(log: Path, name: str, *others: str, after: tuple[str, ...] = ()) -> Step:
    (log.parent / "company").mkdir(exist_ok=True)
    return Step(name, ("kept_company", str(log.parent / "company"), name, *others), after=after)


def _long(name: str) -> Step:
    return Step(name, ("timeit", "-n", "1", "-r", "1", "import time; time.sleep(600)"))


def _lines(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


def test_steps_run_in_order_and_only_once(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [_step(log, "pretrain/1"), _step(log, "finetune/1", "pretrain/1"), _step(log, "other")]
    runner = Runner(log.parent / "marks")
    outcome = runner.run(steps)
    assert _lines(log) == ["pretrain/1", "finetune/1", "other"]
    assert outcome.finished == ("pretrain/1", "finetune/1", "other")
    assert f"python -m recorded_command {log} finetune/1" in capsys.readouterr().out
    assert Runner(log.parent / "marks").run(steps) == outcome
    assert len(_lines(log)) == 3


def test_a_failure_holds_up_what_needs_it_and_nothing_else(log: Path) -> None:
    steps = [
        _step(log, "fails"),
        _step(log, "needs-it", "fails"),
        _step(log, "needs-that", "needs-it"),
        _step(log, "free"),
    ]
    outcome = Runner(log.parent / "marks").run(steps)
    assert _lines(log) == ["fails", "free"]
    assert (outcome.finished, outcome.failed) == (("free",), ("fails",))
    assert outcome.waiting == ("needs-it", "needs-that")


def test_a_changed_configuration_runs_again_with_what_follows_from_it(log: Path) -> None:
    configuration = log.parent / "a.toml"
    configuration.write_text("seed = 1")
    steps = [_step(log, "a", reads=(configuration,)), _step(log, "b", "a"), _step(log, "c")]
    runner = Runner(log.parent / "marks")
    runner.run(steps)
    configuration.write_text("seed = 2")
    assert runner.finished(steps) == {"c"}
    runner.run(steps)
    assert _lines(log) == ["a", "b", "c", "a", "b"]


def test_an_impossible_order_or_an_absent_file_is_refused_before_anything_runs(log: Path) -> None:
    runner = Runner(log.parent / "marks")
    with pytest.raises(InputError, match="comes before"):
        runner.run([_step(log, "free"), _step(log, "a", "b"), _step(log, "b")])
    with pytest.raises(InputError, match=r"absent\.toml"):
        runner.run([_step(log, "free"), _step(log, "a", reads=(log.parent / "absent.toml",))])
    assert _lines(log) == []


def test_several_run_at_once(log: Path) -> None:
    """Each waits for the other, so that one after the other both would fail."""
    steps = [_company(log, "a.here", "b.here"), _company(log, "b.here", "a.here")]
    outcome = Runner(log.parent / "marks", jobs=2).run(steps)
    assert outcome.finished == ("a.here", "b.here")


def test_never_more_than_asked_for_run_at_once(log: Path) -> None:
    steps = [_company(log, f"{number}.here") for number in range(6)]
    outcome = Runner(log.parent / "marks", jobs=2).run(steps)
    assert len(outcome.finished) == 6
    counts = _lines(log.parent / "company" / "counts")
    assert len(counts) == 6
    assert set(counts) <= {"1", "2"}


def test_what_needs_a_running_step_waits_and_what_needs_none_goes_ahead(log: Path) -> None:
    """The second needs the first, which ends only when the third has begun."""
    steps = [
        _company(log, "first.here", "third.here"),
        _step(log, "second", "first.here"),
        _company(log, "third.here", "first.here"),
        _step(log, "fourth", "second", "third.here"),
    ]
    outcome = Runner(log.parent / "marks", jobs=3).run(steps)
    assert outcome.finished == ("first.here", "second", "third.here", "fourth")
    assert _lines(log) == ["second", "fourth"]


def test_several_at_once_print_into_files_of_their_own(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    marks = log.parent / "marks"
    steps = [_step(log, "a/1"), _step(log, "fails"), _step(log, "needs-it", "fails")]
    outcome = Runner(marks, jobs=2).run(steps)
    assert (outcome.finished, outcome.failed, outcome.waiting) == (("a/1",), ("fails",), ("needs-it",))
    assert (marks / "a.1.log").read_text() == "printed by a/1\n"
    assert (marks / "fails.log").read_text() == "printed by fails\n"
    printed = capfd.readouterr().out
    assert f"fails failed, see {marks / 'fails.log'}" in printed
    assert "printed by" not in printed
    Runner(marks).run([_step(log, "alone")])
    assert "printed by alone" in capfd.readouterr().out


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_running_commands_are_stopped_when_the_time_is_over(log: Path, jobs: int) -> None:
    runner = Runner(log.parent / "marks", minutes=0.02, jobs=jobs)
    steps = [_long("long"), _long("too"), _step(log, "later", "long")]
    outcome = runner.run(steps)
    assert (outcome.finished, outcome.failed, outcome.waiting) == ((), (), ("long", "too", "later"))
    assert _lines(log) == []


def test_when_the_time_is_over_nothing_begins(log: Path) -> None:
    outcome = Runner(log.parent / "marks", minutes=0).run([_step(log, "a")])
    assert outcome.waiting == ("a",)
    assert _lines(log) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_sigterm_ends_the_commands_too_and_leaves_no_mark(log: Path, jobs: int) -> None:
    """Each leaves its process number; the runner is asked to stop when it has as many as it may run."""
    code = f"""
from pathlib import Path
from training.runner import Runner, Step
stay = "import os, time; open(os.path.join({str(log.parent)!r}, str(os.getpid()) + '.pid'), 'w').close()"
command = ("timeit", "-n", "1", "-r", "1", stay + "; time.sleep(600)")
steps = [Step("one", command), Step("two", command)]
outcome = Runner(Path({str(log.parent / "marks")!r}), jobs={jobs}).run(steps)
print(outcome.waiting, flush=True)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        while len(started := list(log.parent.glob("*.pid"))) < jobs:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "('one', 'two')" in printed
    assert not list((log.parent / "marks").glob("*.json"))
    assert len(list(log.parent.glob("*.pid"))) == jobs
    for path in started:
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.stem), 0)
