"""SIGKILL at every step, and several processes at the same work, on both databases."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from standardwebhooks import Webhook

from service.job import STAGES
from service.store import Store
from service.times import compact_time
from tests.service.sample_artefact import write_artefact
from tests.service.sample_collector import collecting
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_postgresql import new_database
from tests.service.sample_process import (
    ANNOUNCED,
    DELIVERED,
    RECORD,
    RENEWAL,
    Life,
    begin,
    end,
    stages_done,
    submission,
)
from tests.service.sample_receiver import SIGNING, addressed, receiving

KILLED_IN = (*STAGES[:4], RECORD, *STAGES[4:])


@pytest.fixture
def settings(database: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Which database."""
    return tuple(database.items())


def test_a_job_survives_a_kill_at_every_step_and_publishes_once(
    settings: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    write_artefact(tmp_path / "models")
    job = (submission(write_cycle(tmp_path / "cycle"), REFERENCE_TIME),)
    with receiving() as receiver:
        settings = (*settings, *addressed(receiver.url()).items())
        for stage in KILLED_IN:
            life = Life(tmp_path, job, killed_in=stage, settings=settings)
            assert end(begin(life)) == -signal.SIGKILL, stage
        assert end(begin(Life(tmp_path, job, settings=settings))) == 0
        told = {request.headers["webhook-id"]: request.body for request in receiver.requests}
    assert len(told) == 1, "the same event, however often the workflow began"
    done = Counter(stage for stage, _, _ in stages_done(tmp_path))
    assert done == dict.fromkeys(STAGES, 2), "nothing is done again but the step that was cut off"
    data = tmp_path / "data"
    assert len(Store(data / "products").revisions(REFERENCE_TIME)) == 1
    cycle_folder = data / "products" / compact_time(REFERENCE_TIME)
    assert sorted(path.name for path in cycle_folder.iterdir()) == [".lock", "r1.json", "r1.nc"]
    assert list((data / "work" / "jobs").iterdir()) == []


def test_an_event_survives_a_kill_and_is_delivered_with_the_same_identity(
    settings: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    write_artefact(tmp_path / "models")
    job = (submission(write_cycle(tmp_path / "cycle"), REFERENCE_TIME),)
    with receiving() as receiver:
        settings = (*settings, *addressed(receiver.url()).items())
        life = Life(tmp_path, job, killed_in=ANNOUNCED, settings=settings)
        assert end(begin(life)) == -signal.SIGKILL
        assert receiver.requests == []
        assert end(begin(replace(life, killed_in=DELIVERED))) == -signal.SIGKILL
        assert len(receiver.requests) == 1
        assert end(begin(replace(life, killed_in=None))) == 0
        first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    for request in (first, second):
        event = Webhook(SIGNING).verify(request.body, request.headers)
        assert event["id"] == request.headers["webhook-id"]
        assert (event["data"]["state"], event["data"]["revision"]) == ("published", 1)
    assert len(Store(tmp_path / "data" / "products").revisions(REFERENCE_TIME)) == 1


def test_a_kill_does_not_break_the_trace_of_a_cycle(tmp_path: Path) -> None:
    write_artefact(tmp_path / "models")
    job = (submission(write_cycle(tmp_path / "cycle"), REFERENCE_TIME),)
    with collecting() as collector:
        settings = (("otlp_endpoint", collector.endpoint),)
        life = Life(tmp_path, job, killed_in="check", settings=settings)
        assert end(begin(life)) == -signal.SIGKILL
        assert end(begin(replace(life, submissions=(), killed_in=None))) == 0
    assert {span.name for span in collector.spans} >= {"cycle", "check", "publish", "verify"}
    assert len({span.trace for span in collector.spans}) == 1
    (cycle,) = collector.named("cycle")
    assert cycle.parent, "of the span that queued it, before the kill"


def test_a_job_that_an_older_version_left_begins_anew(tmp_path: Path) -> None:
    write_artefact(tmp_path / "models")
    job = (submission(write_cycle(tmp_path / "cycle"), REFERENCE_TIME),)
    assert end(begin(Life(tmp_path, job, killed_in="infer", version="1"))) == -signal.SIGKILL
    assert end(begin(Life(tmp_path, killed_in=RENEWAL))) == -signal.SIGKILL
    assert end(begin(Life(tmp_path))) == 0
    done = Counter(stage for stage, _, _ in stages_done(tmp_path))
    assert done == dict.fromkeys(STAGES[:3], 2) | dict.fromkeys(STAGES[3:], 1)
    assert list((tmp_path / "data" / "work" / "renewals").iterdir()) == []
    assert len(Store(tmp_path / "data" / "products").revisions(REFERENCE_TIME)) == 1


def test_two_processes_share_the_work_and_the_survivor_finishes_it(server: str, tmp_path: Path) -> None:
    write_artefact(tmp_path / "models")
    settings = (("database_url", new_database(server)),)
    times = [REFERENCE_TIME + number * np.timedelta64(6, "h") for number in range(8)]
    jobs = tuple(
        submission(write_cycle(tmp_path / "cycle" / str(time), replaced(reference_time=time)), time)
        for time in times
    )
    survivor = begin(Life(tmp_path, jobs, settings=settings))
    victim = begin(Life(tmp_path, jobs, killed_in="verify", settings=settings))
    assert end(victim) == -signal.SIGKILL
    assert end(survivor) == 0
    done = stages_done(tmp_path)
    workers = {process for _, _, process in done}
    assert workers == {survivor.pid, victim.pid}
    twice = {key for key, count in Counter((stage, job) for stage, job, _ in done).items() if count > 1}
    assert [stage for stage, _ in twice] == ["verify"], "only what the kill cut off is done again"
    store = Store(tmp_path / "data" / "products")
    assert [len(store.revisions(time)) for time in times] == [1] * len(times)
    assert list((tmp_path / "data" / "processes").iterdir()) == []
