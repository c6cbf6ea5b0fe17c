"""Cycles that are late and jobs that were given up are told, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from service import cycle_watch as module
from service.announcer import Announcer
from service.cycle_watch import CycleWatch
from service.jobs import Jobs
from service.outbox import Outbox
from service.schedule import Schedule, now_utc
from service.times import iso_time
from tests.service.sample_service import reach
from tests.service.test_cycle_states import HOUR, LEADS, NOON, Desk, job


class Heard:
    """Stands in the place of the announcer."""

    is_silent = False

    def __init__(self) -> None:
        self.late_cycles: list[tuple[str, str]] = []
        self.failures: list[tuple[str, str, str]] = []

    def late(self, *what: str) -> None:
        self.late_cycles.append(what)  # type: ignore[arg-type]

    def failed(self, cycle: str, job_id: str, run: str, *_: Any) -> None:
        self.failures.append((cycle, job_id, run))


class GivenUp:
    """Stands in the place of the queue."""

    def __init__(self, *jobs: Any) -> None:
        self.jobs = list(jobs)
        self.asked: list[str] = []

    def given_up(self, moment: str) -> list[Any]:
        self.asked.append(moment)
        return self.jobs


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "products")


def watch(desk: Desk, heard: Heard, folder: Path, jobs: GivenUp, *known: Any) -> CycleWatch:
    outbox = Outbox(f"sqlite:///{folder / 'outbox.sqlite'}")
    outbox.open()
    schedule = Schedule((0, 6, 12, 18), 6 * HOUR, 24 * HOUR, expects=True)
    return CycleWatch(
        desk.states(*known),
        cast("Jobs", jobs),
        schedule,
        cast("Announcer", heard),
        outbox,
        lambda: True,
    )


def test_late_cycles_are_told_with_their_deadline(desk: Desk, tmp_path: Path) -> None:
    desk.now = NOON + 7 * HOUR
    desk.publish(LEADS, NOON - 6 * HOUR)
    heard = Heard()
    jobs = (job("running", NOON), job("failed", NOON - 12 * HOUR))
    watch(desk, heard, tmp_path, GivenUp(), *jobs).round()
    assert heard.late_cycles == []
    watch(desk, heard, tmp_path, GivenUp()).round()
    assert heard.late_cycles == [
        ("2026-11-22T12:00:00Z", "2026-11-22T18:00:00Z"),
        ("2026-11-22T00:00:00Z", "2026-11-22T06:00:00Z"),
    ]


def test_nobody_is_late_where_nothing_is_expected(desk: Desk, tmp_path: Path) -> None:
    desk.now, desk.expects = NOON + 7 * HOUR, False
    heard = Heard()
    watch(desk, heard, tmp_path, GivenUp()).round()
    assert heard.late_cycles == []


def test_jobs_that_were_given_up_are_failures(desk: Desk, tmp_path: Path) -> None:
    given_up = replace(job("failed"), run="the run")
    nowhere = replace(given_up, cycle=None)
    heard, jobs = Heard(), GivenUp(given_up, nowhere)
    watch(desk, heard, tmp_path, jobs).round()
    assert heard.failures == [(iso_time(NOON), given_up.id, "the run")]
    (asked,) = jobs.asked
    assert abs(np.datetime64(asked[:-1], "s") - (now_utc() - 24 * HOUR)) < np.timedelta64(60, "s")


def test_a_look_that_fails_is_not_the_last(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    heard, jobs = Heard(), GivenUp(job("failed"))
    found = watch(desk, heard, tmp_path, jobs)
    broken = [True]

    def given_up(moment: str) -> list[Any]:
        if broken:
            broken.pop()
            raise OSError("no connection")
        return jobs.jobs

    monkeypatch.setattr(jobs, "given_up", given_up)
    found.start()
    reach(lambda: bool(heard.failures))
    found.stop()
    found.join()
    assert "the next look tries again" in caplog.text


def test_where_nobody_listens_nothing_is_looked_for(desk: Desk, tmp_path: Path) -> None:
    heard, jobs = Heard(), GivenUp()
    heard.is_silent = True
    found = watch(desk, heard, tmp_path, jobs)
    found.start()
    found.stop()
    found.join()
    assert jobs.asked == []
