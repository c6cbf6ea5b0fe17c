"""Jobs through stops and kills of the service."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.__main__ import main
from service.store import Store
from tests.service.sample_artefact import write_artefact, write_other_artefact
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_server import Server, command_line
from tests.service.sample_service import Gate, reach, running, submit, submit_held

DECODED = 'rainpost_stage_duration_seconds_count{stage="decode"} '


def test_a_job_that_a_stop_interrupts_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_cycle(tmp_path / "cycle")
    with running(tmp_path, shutdown_grace_seconds=0) as client:
        gate = Gate(client, monkeypatch)
        job = submit_held(client, paths)
        broken_upload = client.runtime.new_upload_folder()
        still = submit(client, paths, prefer="wait=0")
        assert (still.status_code, still.headers["preference-applied"]) == (202, "wait=0")
        assert still.headers["location"] == job
        assert client.get("/livez").status_code == 200
    gate.open()
    with running(tmp_path) as client:
        assert not broken_upload.exists()
        answer = submit(client, paths)
        assert answer.status_code == 200, answer.text
        assert answer.headers["location"] == job
        assert DECODED + "0.0" in client.get("/metrics").text, "decoding was not done again"
        assert len(client.get("/cycles/latest").json()["revisions"]) == 1


def test_a_stop_waits_for_a_job_within_the_grace_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_cycle(tmp_path / "cycle")
    with running(tmp_path, shutdown_grace_seconds=60) as client:
        gate = Gate(client, monkeypatch)
        submit_held(client, paths)
        opener = threading.Timer(0.2, gate.open)
        opener.start()
    opener.join()
    assert len(client.runtime.store.revisions(REFERENCE_TIME)) == 1


def test_a_job_ends_with_the_model_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_cycle(tmp_path / "cycle")
    with running(tmp_path, shutdown_grace_seconds=0) as client:
        gate = Gate(client, monkeypatch)
        at_work = submit_held(client, paths)
        waiting = submit(client, write_cycle(tmp_path / "waiting", scale=2.0), prefer=None)
    gate.open()
    write_artefact(tmp_path / "models", version="0.2.0")
    with running(tmp_path) as client:
        assert client.get("/version").json()["model"] == "sample-0.2.0", "nobody has chosen: the highest one"
        for job in (at_work, waiting.headers["location"]):
            reach(lambda job=job: bool(client.get(job).json()["state"] == "succeeded"))  # type: ignore[misc]
            assert client.get(job).json()["model"]["version"] == "0.1.0"
        records = client.runtime.store.revisions(REFERENCE_TIME)
        assert [record.origin.model.version for record in records] == ["0.1.0", "0.1.0"]
        assert submit(client, paths).headers["location"] != at_work, "sent again it is a job of the new model"


def test_a_job_whose_model_is_gone_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path, shutdown_grace_seconds=0) as client:
        gate = Gate(client, monkeypatch)
        submit_held(client, write_cycle(tmp_path / "cycle"))
        waiting = write_cycle(tmp_path / "waiting", scale=2.0)
        job = submit(client, waiting, prefer=None).headers["location"]
    gate.open()
    write_artefact(tmp_path / "models", version="0.2.0")
    shutil.rmtree(tmp_path / "models" / "sample-0.1.0")
    with running(tmp_path) as client:
        reach(lambda: bool(client.get(job).json()["state"] == "failed"))
        document = client.get(job).json()["problem"]
        assert (document["reason"], document["expected"]) == ("bad-artefact", "sample-0.1.0")
        assert submit(client, waiting).status_code == 200, "sent again it is a job of the new model"


def hang(_: object) -> None:
    """A run of the shadow that a stop finds at work."""
    time.sleep(600)


def test_a_shadow_that_a_stop_interrupts_goes_on_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_artefact(tmp_path / "models")
    write_other_artefact(tmp_path / "models", version="0.2.0")
    settings = {"model": "sample-0.1.0", "shadow_model": "sample-0.2.0"}
    with monkeypatch.context() as patch:
        patch.setattr("service.shadow_jobs.run_shadow", hang)
        with running(tmp_path, **settings) as client:
            assert submit(client, write_cycle(tmp_path / "cycle")).status_code == 200
            workers = client.runtime._shadow_workers
            reach(lambda: any(executor._pending_work_items for executor in workers._executors))
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    store = Store(tmp_path / "data" / "shadow")
    assert store.revisions(REFERENCE_TIME) == []
    with running(tmp_path, **settings) as client:
        reach(lambda: not client.runtime.shadows.waiting())
        assert len(store.revisions(REFERENCE_TIME)) == 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the module, with two jobs at once; a test that ends it starts it again."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc to find the worker process")
    folder = tmp_path_factory.mktemp("server")
    write_artefact(folder / "models")
    server = Server(folder, RAINPOST_JOBS_AT_ONCE="2")
    server.start()
    yield server
    if server.process.poll() is None:
        server.stop(signal.SIGKILL)
    server.client.close()


def test_a_job_survives_the_death_of_the_server(server: Server, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path)
    workers, (job,) = server.post_held(paths)
    server.stop(signal.SIGKILL)
    for worker in workers:
        os.kill(worker, signal.SIGCONT)
    reach(lambda: all(command_line(worker) == b"" for worker in workers))
    server.start()
    answer = server.post(paths, "wait=60")
    assert answer.status_code == 200, answer.text
    assert answer.headers["location"] == job
    document = server.client.get("/cycles/latest").json()
    assert [revision["revision"] for revision in document["revisions"]] == [1]
    assert list((server.folder / "data" / "work" / "jobs").iterdir()) == []


def test_a_decoding_process_that_dies_fails_its_job_and_not_the_one_beside_it(
    server: Server, tmp_path: Path
) -> None:
    times = [REFERENCE_TIME + number * np.timedelta64(6, "h") for number in (1, 2)]
    cycles = [write_cycle(tmp_path / str(time), replaced(reference_time=time)) for time in times]
    service = server.process.pid
    (victim, survivor), jobs = server.post_held(*cycles)
    os.kill(victim, signal.SIGKILL)
    documents: list[dict[str, Any]] = []

    def look() -> list[str]:
        documents[:] = [server.client.get(job).json() for job in jobs]
        return sorted(document["state"] for document in documents)

    # The other one stands still yet: nothing but the death ends the job.
    reach(lambda: look() == ["failed", "running"])
    os.kill(survivor, signal.SIGCONT)
    reach(lambda: look() == ["failed", "succeeded"])

    failed = [document["state"] for document in documents].index("failed")
    problem = documents[failed]["problem"]
    assert (problem["reason"], problem["status"]) == ("worker-died", 422)
    store = Store(server.folder / "data" / "products")
    assert [len(store.revisions(time)) for time in times] == [int(failed == 1), int(failed == 0)]
    assert server.client.get("/readyz").is_success
    assert (server.process.pid, server.process.poll()) == (service, None)
    assert survivor in server.workers(), "one of two is new"

    again = server.post(cycles[failed], "wait=60")
    assert (again.status_code, again.headers["location"]) == (200, jobs[failed]), "sent again it runs again"
    assert [len(store.revisions(time)) for time in times] == [1, 1]


@pytest.mark.usefixtures("kept_logging")
def test_a_second_server_on_the_same_data_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in server.settings.items():
        monkeypatch.setenv(name, value)
    assert main(["serve"]) == 1
    assert "another service process uses this data folder" in capsys.readouterr().err
    assert server.client.get("/readyz").is_success


def test_a_stop_is_clean(server: Server) -> None:
    workers = server.workers()
    assert server.stop(signal.SIGTERM) in {0, -signal.SIGTERM}
    assert "Traceback" not in server.log.read_text()
    assert [command_line(worker) for worker in workers] == [b"", b""]
