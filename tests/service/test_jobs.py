"""Jobs through faults of the service, and the files that they keep."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from service.durability import write_durably
from service.runtime import Runtime
from service.times import compact_time
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_service import Gate, ServiceClient, problem, reach, submit, submit_held


def test_faults_of_the_service_do_not_stick_to_the_submission(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = REFERENCE_TIME - np.timedelta64(6, "h")
    paths = write_cycle(tmp_path / "cycle", replaced(reference_time=earlier))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("service.store.write_durably", full)
        answer = submit(client, paths)
    document = problem(answer, 500, "internal-error")
    assert "No space" not in answer.text
    assert client.get(document["instance"]).json()["state"] == "failed"
    assert client.runtime.store.revisions(earlier) == []
    again = submit(client, paths)
    assert again.status_code == 200, again.text
    assert again.headers["location"] == document["instance"]

    # A product that was removed is made again.
    shutil.rmtree(client.runtime.store.folder / compact_time(earlier))
    assert submit(client, paths).status_code == 200
    assert len(client.runtime.store.revisions(earlier)) == 1


def crash(*_: object) -> str:
    """What a damaged file can make a C library do."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return "never"


def test_a_decoder_that_dies_fails_its_job_alone(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_cycle(tmp_path / "cycle", scale=2.0)
    published = client.runtime.store.revisions(REFERENCE_TIME)
    with monkeypatch.context() as patch:
        patch.setattr("service.stages.decode_to_file", crash)
        document = problem(submit(client, paths), 422, "worker-died")
    assert client.runtime.store.revisions(REFERENCE_TIME) == published
    again = submit(client, paths)
    assert again.status_code == 200, "sent again it runs again"
    assert again.headers["location"] == document["instance"]


def test_files_of_failed_jobs_are_removed_after_the_retention(client: ServiceClient, tmp_path: Path) -> None:
    document = problem(
        submit(client, write_cycle(tmp_path / "cycle", replaced(centre=7))), 422, "wrong-source"
    )
    work = client.runtime.settings.data_folder / "work"
    folder = work / document["instance"].removeprefix("/")
    client.runtime.jobs.sweep()
    assert folder.exists()
    os.utime(folder, (0, 0))
    client.runtime.jobs.sweep()
    assert not folder.exists()
    assert client.get(document["instance"]).json()["problem"] == document


def test_files_of_a_job_at_work_are_never_swept(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(client, monkeypatch)
    paths = write_cycle(tmp_path / "cycle", scale=3.0)
    job = submit_held(client, paths)
    folder = client.runtime.settings.data_folder / "work" / job.removeprefix("/")
    os.utime(folder, (0, 0))
    client.runtime.jobs.sweep()
    assert folder.exists()
    gate.open()
    assert submit(client, paths).status_code == 200


def test_a_file_that_changes_after_its_submission_is_noticed(
    client: ServiceClient, service_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = REFERENCE_TIME + np.timedelta64(6, "h")
    paths = write_cycle(service_folder / "inbox" / "later", replaced(reference_time=later))
    gate = Gate(client, monkeypatch)
    first = submit_held(client, write_cycle(tmp_path / "cycle", scale=4.0))
    job = client.post("/correct", json={"inputs": [{"uri": str(path)} for path in paths]}).json()["id"]
    content = paths[0].read_bytes()
    write_durably(paths[0], lambda path: path.write_bytes(b"GRIB"))
    gate.open()
    reach(lambda: bool(client.get(f"/jobs/{job}").json()["state"] == "failed"))
    document = client.get(f"/jobs/{job}").json()["problem"]
    assert (document["reason"], document["where"]) == ("digest-mismatch", paths[0].name)
    assert client.get(first).json()["state"] == "succeeded"
    write_durably(paths[0], lambda path: path.write_bytes(content))
    again = client.post("/correct", json={"inputs": [{"uri": str(path)} for path in paths]})
    assert again.json()["id"] == job, "as after a copy or a restore, which change times alone"
    reach(lambda: bool(client.get(f"/jobs/{job}").json()["state"] == "succeeded"))


def test_one_service_a_process(client: ServiceClient) -> None:
    other = Runtime(client.runtime.settings)
    with pytest.raises(RuntimeError, match="one service at a time"):
        other.start()
    other.stop()
    assert client.get("/livez").status_code == 200


def test_a_job_that_waits_is_cancelled_and_leaves_nothing(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(client, monkeypatch)
    running = submit_held(client, write_cycle(tmp_path / "running", scale=5.0))
    paths = write_cycle(tmp_path / "waiting", scale=6.0)
    waiting = submit(client, paths, prefer=None).headers["location"]
    folder = client.runtime.settings.data_folder / "work" / waiting.removeprefix("/")
    assert folder.exists()
    for _ in range(2):
        answer = client.delete(waiting)
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert not folder.exists()
    gate.open()
    reach(lambda: bool(client.get(running).json()["state"] == "succeeded"))
    assert client.get(waiting).json()["state"] == "cancelled"
    assert problem(client.delete(running), 409, "conflict")["got"] == "succeeded"
    problem(client.delete("/jobs/unknown"), 404, "not-found")
    again = submit(client, paths)
    assert (again.status_code, again.headers["location"]) == (200, waiting)


def test_a_job_at_work_is_cancelled_before_it_publishes(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = REFERENCE_TIME + np.timedelta64(12, "h")
    paths = write_cycle(tmp_path / "cycle", replaced(reference_time=time))
    gate = Gate(client, monkeypatch)
    job = submit_held(client, paths)
    assert client.delete(job).json()["state"] == "cancelled"
    again = submit(client, paths, prefer=None)
    assert again.headers["location"] == job, "sent again at once it waits for the one that is ending"
    gate.open()
    reach(lambda: bool(client.get(job).json()["state"] == "succeeded"))
    assert len(client.runtime.store.revisions(time)) == 1
    reach(lambda: not (client.runtime.settings.data_folder / "work" / job.removeprefix("/")).exists())


def test_a_full_queue_refuses_what_is_new(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(client, monkeypatch)
    submit_held(client, write_cycle(tmp_path / "running", scale=7.0))
    submit(client, write_cycle(tmp_path / "waiting", scale=8.0), prefer=None)
    jobs, settings = client.runtime.jobs, client.runtime.settings
    paths = write_cycle(tmp_path / "refused", scale=9.0)
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_settings", settings.model_copy(update={"max_queued_jobs": 1}))
        answer = submit(client, paths)
        document = problem(answer, 429, "queue-full")
    assert (document["expected"], document["got"]) == ("fewer than 1", "1")
    assert int(answer.headers["retry-after"]) > 0
    gate.open()
    assert submit(client, paths).status_code == 200


def test_a_service_that_cannot_work_for_a_while_says_so(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_cycle(tmp_path, scale=10.0)
    with monkeypatch.context() as patch:
        patch.setattr(
            client.runtime,
            "settings",
            client.runtime.settings.model_copy(update={"minimum_free_bytes": 2**62}),
        )
        answer = submit(client, paths)
        assert "nearly full" in problem(answer, 503, "unavailable")["detail"]
        assert int(answer.headers["retry-after"]) > 0

    def fail() -> None:
        raise OperationalError("SELECT 1", {}, ConnectionRefusedError())

    with monkeypatch.context() as patch:
        patch.setattr(client.runtime.ledger, "ping", fail)
        assert problem(submit(client, paths), 503, "unavailable")["got"] == "OperationalError"
        assert client.get("/readyz").status_code == 503
    assert submit(client, paths).status_code == 200
