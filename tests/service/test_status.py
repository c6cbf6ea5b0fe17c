"""What ``rainpost status`` shows, and what its exit status says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from service.__main__ import main
from service.cycle_states import State
from service.disk_use import DiskDocument
from service.documents import CycleSummary, LeadsDocument
from service.schedule import Schedule, now_utc
from service.settings import Settings
from service.status import CycleScore, CycleStatus, Status, latest_due, render
from service.times import iso_time
from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_service import ServiceClient, running, submit

HOUR = np.timedelta64(1, "h")

DISK = DiskDocument(
    used_bytes={"databases": 100_000_000, "observations": 200_000_000, "products": 12_340_000_000, "work": 0},
    free_bytes=30_000_000_000,
    size_bytes=50_000_000_000,
    minimum_free_bytes=1_000_000_000,
    newest_cycle_bytes=29_000_000,
    cycles_left=1000,
    keep_days=None,
)
DISK_LINES = [
    "Disk: 30.0 of 50.0 GB free, room for 1000 more cycles.",
    "Used: 12.3 GB by products, 0.0 by work, 0.3 by the rest. Kept: everything.",
]


def cycle(state: State, hour: int = 0) -> CycleSummary:
    return CycleSummary(
        reference_time=f"2026-11-22T{hour:02d}:00:00Z",
        cycle="",
        state=state,
        revision=None,
        leads=LeadsDocument(expected=(2, 3), present=(), missing=(2, 3)),
        delay_seconds=None,
        model=None,
    )


@pytest.mark.parametrize(
    ("states", "due"),
    [
        ([], None),
        (["expected"], None),
        (["published", "late"], "published"),
        (["expected", "running", "late", "published"], "late"),
        (["failed", "published"], "failed"),
        (["expected", "partial", "late"], "partial"),
    ],
)
def test_the_latest_cycle_that_is_due(states: Sequence[State], due: str | None) -> None:
    found = latest_due([cycle(state) for state in states])
    assert (None if found is None else found.state) == due


def table(*cycles: CycleStatus) -> list[str]:
    """Lines of the table for a terminal of 80 columns."""
    text = StringIO()
    status = Status(source="a test", latest_due=None, needs_a_look=False, cycles=cycles, disk=DISK)
    render(status, Console(file=text, width=80, highlight=False, emoji=False))
    return [line.rstrip() for line in text.getvalue().splitlines()]


def row(**members: object) -> CycleStatus:
    base = {
        "reference_time": "2026-11-22T06:00:00Z",
        "state": "published",
        "present_leads": 6,
        "expected_leads": 6,
        "revision": 12,
        "delay_seconds": 5 * 3600 + 720.0,
        "model": "nano-0.2.0",
        "scores": [
            CycleScore(source=source, threshold_mm=threshold, critical_success_index=value)
            for source, threshold, value in (
                ("model", 0.1, 0.5231),
                ("model", 10.0, None),
                ("raw", 0.1, 0.297),
                ("raw", 10.0, 0.0),
            )
        ],
    }
    return CycleStatus.model_validate(base | members)


def test_a_table_fits_a_terminal_and_shows_all_there_is() -> None:
    lines = table(row())
    assert all(len(line) <= 80 for line in lines)
    (head,) = [line for line in lines if line.startswith("cycle")]
    assert head.split() == [
        "cycle",
        "state",
        "leads",
        "revision",
        "delay",
        *("CSI", "0.1", "mm", "raw", "CSI", "10", "mm", "raw"),
    ]
    (shown,) = [line for line in lines if line.startswith("2026")]
    assert shown.split() == [
        "2026-11-22T06Z",
        "published",
        "6/6",
        "12",
        "5:12",
        "h",
        "0.523",
        "0.297",
        "-",
        "0.000",
    ]
    assert lines[-3:] == [*DISK_LINES, "From a test."]


def test_what_is_not_there_is_a_dash_and_a_failure_says_why() -> None:
    failed = row(
        state="failed", revision=None, delay_seconds=None, scores=[], problem="missing-lead: no [lead]"
    )
    lines = table(failed)
    (shown,) = [line for line in lines if line.startswith("2026-11-22T06Z")]
    assert shown.split() == ["2026-11-22T06Z", "failed", "6/6", "-", "-"]
    assert "2026-11-22T06:00:00Z missing-lead: no [lead]" in lines
    assert "None of them was compared with observations yet." in lines
    assert table() == ["No cycle is known.", *DISK_LINES, "From a test."]


def test_a_backfill_is_counted_in_days() -> None:
    assert "30 d" in "\n".join(table(row(delay_seconds=30 * 86400.0)))


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Of a command beside no service."""
    for setting in Settings.describe():
        monkeypatch.delenv(setting.variable, raising=False)
    write_artefact(tmp_path / "models")
    monkeypatch.setenv("RAINPOST_MODELS_FOLDER", str(tmp_path / "models"))
    monkeypatch.setenv("RAINPOST_DATA_FOLDER", str(tmp_path / "data"))
    # Nobody can listen there.
    monkeypatch.setenv("RAINPOST_PORT", "0")
    return monkeypatch


def shown(capsys: pytest.CaptureFixture[str]) -> Status:
    text = capsys.readouterr().out
    return Status.model_validate(json.loads(text))


def work(client: ServiceClient, folder: Path) -> None:
    """A cycle with scores, and one that fails."""
    assert submit(client, write_cycle(folder / "cycle")).status_code == 200
    path = write_dfs(folder, REFERENCE_TIME + 2 * HOUR, sample_rain_mm(2))
    client.post("/observations", files=[("files", (path.name, path.read_bytes()))])
    later = write_cycle(folder / "later", replaced(reference_time=REFERENCE_TIME + 6 * HOUR))
    failed = submit(client, later[:1], reference_time=iso_time(REFERENCE_TIME + 6 * HOUR))
    assert failed.status_code == 422


def test_a_service_and_what_it_leaves_tell_the_same(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path) as client:
        work(client, tmp_path)
        url = str(client.base_url)
        assert main(["status", "--json", "--url", url]) == 3
        by_url = shown(capsys)
        environment.setenv("RAINPOST_PORT", url.rpartition(":")[2].strip("/"))
        assert main(["status", "--json"]) == 3
        assert shown(capsys).cycles == by_url.cycles
        assert main(["status"]) == 3
        assert "missing-lead" in capsys.readouterr().out
        scores = client.get("/verification").json()["scores"]
    failed, published = by_url.cycles
    assert by_url.latest_due == failed.reference_time == iso_time(REFERENCE_TIME + 6 * HOUR)
    assert failed.state == "failed"
    assert (failed.problem or "").startswith("missing-lead: ")
    assert (published.state, published.present_leads, published.revision) == ("published", 2, 1)
    assert published.delay_seconds == pytest.approx(
        (now_utc() - REFERENCE_TIME) / np.timedelta64(1, "s"), abs=600
    )
    expected = {
        (one["source"], one["threshold_mm"]): one["critical_success_index"]
        for one in scores
        if one["lead_hours"] is None
    }
    assert len(expected) == 4
    assert {
        (one.source, one.threshold_mm): one.critical_success_index for one in published.scores
    } == expected
    environment.setenv("RAINPOST_PORT", "0")
    assert main(["status", "--json"]) == 3
    local = shown(capsys)
    assert local == by_url.model_copy(update={"source": local.source, "disk": local.disk})
    for disk in (by_url.disk, local.disk):
        assert disk.newest_cycle_bytes <= disk.used_bytes["products"]
        assert disk.used_bytes.keys() >= {"products", "work", "observations", "databases"}
    assert local.disk.newest_cycle_bytes == by_url.disk.newest_cycle_bytes > 0
    assert str(tmp_path / "data") in local.source


def test_a_late_cycle_needs_a_look_and_an_expected_one_does_not(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "inbox").mkdir()
    environment.setenv("RAINPOST_INBOX", str(tmp_path / "inbox"))
    with running(tmp_path, inbox=str(tmp_path / "inbox")):
        pass
    assert main(["status", "--cycles", "1", "--json"]) == 3, "what is not shown counts all the same"
    found = shown(capsys)
    assert len(found.cycles) == 1
    environment.setenv("RAINPOST_CYCLE_DEADLINE_HOURS", "100")
    assert main(["status", "--json", "--cycles", "20"]) == 0
    found = shown(capsys)
    assert (found.latest_due, {one.state for one in found.cycles}) == (None, {"expected"})
    schedule = Schedule.of(Settings.load())
    assert len(found.cycles) == len(list(schedule.open_cycles(now_utc())))


def test_where_nothing_can_be_told(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == 1
    assert "none has run with this data folder yet" in capsys.readouterr().err
    assert not (tmp_path / "data").exists(), "to look leaves nothing behind"
    assert main(["status", "--url", "http://127.0.0.1:1"]) == 1
    assert "the service does not answer" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["status", "--cycles", "0"])
