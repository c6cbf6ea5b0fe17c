"""Steps: once each, again when what they read has changed, stopped on time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.errors import InputError
from training.runner import Runner, Step

SCRIPT = """
import sys
from pathlib import Path

with Path(sys.argv[1]).open("a") as log:
    log.write(sys.argv[2] + "\\n")
if sys.argv[2] == "fails":
    sys.exit(3)
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the commands were called with; the module that writes it can be found by them."""
    (tmp_path / "recorded_command.py").write_text(SCRIPT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "log"


def _step(log: Path, name: str, *after: str, reads: tuple[Path, ...] = ()) -> Step:
    return Step(name, ("recorded_command", str(log), name), reads, after)


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


def test_the_running_command_is_stopped_when_the_time_is_over(log: Path) -> None:
    long = Step("long", ("timeit", "-n", "1", "-r", "1", "import time; time.sleep(600)"))
    runner = Runner(log.parent / "marks", minutes=0.02)
    begin = time.monotonic()
    outcome = runner.run([long, _step(log, "later")])
    assert time.monotonic() - begin < 60
    assert (outcome.failed, outcome.waiting) == ((), ("long", "later"))
    assert _lines(log) == []


def test_sigterm_ends_the_command_too_and_leaves_no_mark(log: Path) -> None:
    code = f"""
from pathlib import Path
from training.runner import Runner, Step
wait = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
outcome = Runner(Path({str(log.parent / "marks")!r})).run([Step("long", ("timeit", "-n1", "-r1", wait))])
print(outcome.waiting, flush=True)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        started = next(line for line in process.stdout if line.startswith("pid "))
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "('long',)" in rest
    assert not list((log.parent / "marks").glob("*"))
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.split()[1]), 0)
