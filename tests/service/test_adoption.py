"""Jobs that nobody works on, though the database has them at work."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOS
from dbos._sys_db import SystemDatabase

from service import jobs as jobs_module
from service.stages import Stages
from service.worker import Workers
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle
from tests.service.sample_full_disk import full_database
from tests.service.sample_service import Gate, problem, reach, running, submit, submit_held


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks in quick succession, and no decoding processes, whose start takes long."""
    monkeypatch.setattr(jobs_module, "_CARE_SECONDS", 0.1)
    monkeypatch.setattr(Workers, "warm", lambda *_: [])
    monkeypatch.setattr(Workers, "run", lambda _, function, *rest, **named: function(*rest, **named))


def test_a_job_whose_end_was_not_kept_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infer, keep = Stages.infer, SystemDatabase.update_workflow_outcome
    refused: list[str] = []

    def no_room(stages: Stages, *arguments: Any) -> None:
        if not refused:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        infer(stages, *arguments)

    def keep_the_second(database: SystemDatabase, workflow_id: str, *rest: Any, **named: Any) -> bool:
        if not refused:
            refused.append(workflow_id)
            raise full_database(tmp_path)
        return keep(database, workflow_id, *rest, **named)

    monkeypatch.setattr(Stages, "infer", no_room)
    monkeypatch.setattr(SystemDatabase, "update_workflow_outcome", keep_the_second)
    paths = write_cycle(tmp_path / "cycle")
    with running(tmp_path) as client:
        # The error of the step was kept, and so it is the job's; what was lost is that the job has ended.
        answer = submit(client, paths)
        problem(answer, 500, "internal-error")
        assert refused == [answer.headers["location"].rpartition("/")[2]]
        assert submit(client, paths).status_code == 200
        assert len(client.runtime.store.revisions(REFERENCE_TIME)) == 1


def test_a_job_at_work_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as client:
        rounds: list[float] = []
        resumed: list[str] = []
        monkeypatch.setattr(DBOS, "resume_workflow", lambda job, **_: resumed.append(job))
        adopt = client.runtime.jobs.adopt

        def look() -> None:
            adopt()
            rounds.append(time.monotonic())

        monkeypatch.setattr(client.runtime.jobs, "adopt", look)
        gate = Gate(client, monkeypatch)
        job = submit_held(client, write_cycle(tmp_path / "cycle"))
        reach(lambda: len(rounds) > 4)
        assert client.get(job).json()["state"] == "running"
        assert not resumed
        gate.open()
        reach(lambda: client.get(job).json()["state"] == "succeeded")
        assert [stage["name"] for stage in client.get(job).json()["stages"]].count("infer") == 1
