"""How a cycle stands, for every mixture of products, jobs and time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from service.cycle_states import STATES, CycleStates
from service.job import Job
from service.job import State as JobState
from service.jobs import Jobs
from service.problems import internal_problem
from service.schedule import Schedule
from service.stages import Task
from service.store import ModelIdentity, Origin, Store
from service.submission import Submission
from service.times import iso_time

HOUR = np.timedelta64(1, "h")
NOON = np.datetime64("2026-11-22T12", "s")
LEADS = (2, 3)
MODEL = ModelIdentity(name="sample", version="0.1.0", sha256="0" * 64, manifest_sha256="1" * 64)


def job(state: JobState, cycle: np.datetime64 = NOON, minute: int = 0) -> Job:
    """A job that came in at this minute after noon."""
    moment = datetime(2026, 11, 22, 12, minute, tzinfo=UTC)
    task = Task(submission=Submission(reference_time=None, inputs=()), model=MODEL)
    problem = internal_problem("none") if state == "failed" else None
    return Job(f"{state}-{minute}", state, task, "request", moment, moment, iso_time(cycle), problem=problem)


def _write(path: Path, _: int) -> None:
    path.write_bytes(b"product")


class KnownJobs:
    """Stands in the place of the queue."""

    def __init__(self, *jobs: Job) -> None:
        self._jobs = sorted(jobs, key=lambda one: one.created, reverse=True)

    def of_cycle(self, reference_time: str) -> list[Job]:
        return [one for one in self._jobs if one.cycle == reference_time]

    def since(self, _: str) -> list[Job]:
        return self._jobs


class Desk:
    """The states over a store of its own, at a time of its own."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.now = NOON
        self.expects = True

    def states(self, *jobs: Job) -> CycleStates:
        schedule = Schedule((0, 6, 12, 18), 6 * HOUR, 24 * HOUR, expects=self.expects)
        return CycleStates(
            self.store, cast("Jobs", KnownJobs(*jobs)), lambda: LEADS, schedule, lambda: self.now
        )

    def state(self, *jobs: Job, time: np.datetime64 = NOON) -> str | None:
        found = self.states(*jobs).of(time)
        return None if found is None else found.state

    def publish(self, leads_hours: tuple[int, ...], time: np.datetime64 = NOON) -> None:
        origin = Origin(key=f"{time} {leads_hours}", model=MODEL, inputs=(), leads_hours=leads_hours)
        self.store.publish(time, origin, _write)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_without_anything_time_alone_decides(desk: Desk) -> None:
    assert desk.state() == "expected"
    assert desk.state(time=NOON + 6 * HOUR) == "expected", "the next one is expected already"
    desk.now = NOON + 7 * HOUR
    assert desk.state() == "late"
    desk.now = NOON + 25 * HOUR
    assert desk.state() is None, "nobody looks for it any more"
    desk.now, desk.expects = NOON, False
    assert desk.state() is None


def test_jobs_decide_as_long_as_there_is_no_product(desk: Desk) -> None:
    assert desk.state(job("queued")) == "running"
    assert desk.state(job("running")) == "running"
    assert desk.state(job("failed")) == "failed"
    assert desk.state(job("failed", minute=1), job("running")) == "running"
    assert desk.state(job("failed"), job("succeeded", minute=1)) == "expected", "its product was removed"
    assert desk.state(job("failed"), job("cancelled", minute=1)) == "failed"
    assert desk.state(job("cancelled")) == "expected"
    desk.now, desk.expects = NOON + 7 * HOUR, False
    assert desk.state(job("failed")) == "failed"
    assert desk.state(job("cancelled")) is None


def test_the_newest_product_decides_once_there_is_one(desk: Desk) -> None:
    desk.publish((3,))
    assert desk.state(job("failed"), job("running")) == "partial"
    found = desk.states().of(NOON)
    assert found is not None
    assert (found.expected_leads, found.present_leads, found.missing_leads) == (LEADS, (3,), (2,))
    assert (found.revision, found.deadline) == (1, NOON + 6 * HOUR)
    desk.publish(LEADS)
    assert desk.state(job("failed")) == "published"
    found = desk.states().of(NOON)
    assert found is not None
    assert [record.origin.leads_hours for record in found.records] == [(3,), LEADS]
    assert (found.revision, found.missing_leads) == (2, ())


def test_a_record_knows_its_delay(desk: Desk) -> None:
    desk.publish(LEADS)
    (record,) = desk.store.revisions(NOON)
    published = record.created.replace(tzinfo=None) - datetime(2026, 11, 22, 12)  # noqa: DTZ001
    assert record.delay_seconds == published.total_seconds()


def test_late_cycles_are_those_that_are_looked_for_and_have_nothing(desk: Desk) -> None:
    desk.now = NOON + 7 * HOUR
    desk.publish((2,), NOON - 6 * HOUR)
    found = desk.states(job("running", NOON - 12 * HOUR)).late()
    assert [iso_time(one.reference_time)[:13] for one in found] == ["2026-11-22T12"]
    desk.expects = False
    assert desk.states().late() == []


def test_recent_cycles_are_those_of_which_anything_is_known(desk: Desk) -> None:
    desk.publish((2,), NOON - 12 * HOUR)
    desk.publish(LEADS, NOON - 240 * HOUR)
    jobs = (job("failed", NOON - 18 * HOUR), job("running", NOON + 3 * HOUR))
    found = [(iso_time(one.reference_time)[:13], one.state) for one in desk.states(*jobs).recent(100)]
    assert found == [
        ("2026-11-22T15", "running"),
        ("2026-11-22T12", "expected"),
        ("2026-11-22T06", "expected"),
        ("2026-11-22T00", "partial"),
        ("2026-11-21T18", "failed"),
        ("2026-11-21T12", "late"),
        ("2026-11-12T12", "published"),
    ]
    assert len(desk.states(*jobs).recent(3)) == 3
    desk.expects = False
    assert len(desk.states(*jobs).recent(100)) == 4


def test_cycles_are_counted_as_long_as_they_can_be_caught_up_with(desk: Desk) -> None:
    desk.publish((2,), NOON - 12 * HOUR)
    desk.publish(LEADS, NOON - 24 * HOUR)
    desk.publish(LEADS, NOON - 25 * HOUR)
    jobs = (job("failed", NOON - 18 * HOUR), job("failed", NOON - 30 * HOUR), job("running", NOON + 3 * HOUR))
    assert desk.states(*jobs).counts() == {
        "expected": 2,
        "running": 1,
        "partial": 1,
        "published": 1,
        "late": 0,
        "failed": 1,
    }
    desk.now = NOON + 7 * HOUR
    assert desk.states().counts() == dict.fromkeys(STATES, 0) | {"expected": 1, "partial": 1, "late": 2}
    desk.expects = False
    assert desk.states().counts() == dict.fromkeys(STATES, 0) | {"partial": 1}
