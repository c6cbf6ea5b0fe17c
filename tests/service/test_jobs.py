"""Jobs through interruptions and faults of the service, within one process."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.durability import write_durably
from service.errors import SettingsError
from service.runtime import Runtime, select_model
from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_service import ServiceClient, problem, running, submit

DECODED = 'rainpost_stage_duration_seconds_count{stage="decode"} '


def reach(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


class Gate:
    """Holds every inference until it is opened."""

    def __init__(self, client: ServiceClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self._opened = threading.Event()
        self._passed = threading.Event()
        infer = client.runtime.inference.infer

        def held(values: NDArray[np.float32]) -> NDArray[np.float32]:
            assert self._opened.wait(60)
            try:
                return infer(values)
            finally:
                self._passed.set()

        monkeypatch.setattr(client.runtime.inference, "infer", held)

    def open(self) -> None:
        """Let the inference go on and wait until it is through."""
        self._opened.set()
        assert self._passed.wait(60)


def submit_held(client: ServiceClient, paths: list[Path]) -> str:
    """Submit and wait until the job stands before its inference; the path of the job."""
    job: str = submit(client, paths, prefer=None).headers["location"]
    reach(lambda: client.get(job).json()["stage"] == "infer")
    return job


def test_a_job_that_a_stop_interrupts_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_cycle(tmp_path / "cycle")
    with running(tmp_path, shutdown_grace_seconds=0) as client:
        gate = Gate(client, monkeypatch)
        job = submit_held(client, paths)
        still = submit(client, paths, prefer="wait=0")
        assert (still.status_code, still.headers["preference-applied"]) == (202, "wait=0")
        assert still.headers["location"] == job
        assert client.get("/livez").status_code == 200
    gate.open()
    with running(tmp_path) as client:
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
    with running(tmp_path) as client:
        assert len(client.get("/cycles/latest").json()["revisions"]) == 1


def test_a_job_of_another_model_is_not_done_by_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_cycle(tmp_path / "cycle")
    with running(tmp_path, shutdown_grace_seconds=0) as client:
        gate = Gate(client, monkeypatch)
        submit_held(client, paths)
        waiting = write_cycle(tmp_path / "waiting", scale=2.0)
        job = submit(client, waiting, prefer=None).headers["location"]
    gate.open()
    write_artefact(tmp_path / "models", version="0.2.0")
    with running(tmp_path) as client:
        assert client.get("/version").json()["model"] == "sample-0.2.0"
        reach(lambda: bool(client.get(job).json()["state"] == "failed"))
        document = client.get(job).json()["problem"]
        assert (document["reason"], document["expected"]) == ("bad-artefact", "sample-0.1.0")
        assert submit(client, waiting).status_code == 200, "sent again it is a job of the new model"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[ServiceClient]:
    with running(tmp_path) as client:
        yield client


def test_faults_of_the_service_do_not_stick_to_the_submission(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_cycle(tmp_path / "cycle")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("service.store.write_durably", full)
        answer = submit(client, paths)
    document = problem(answer, 500, "internal-error")
    assert "No space" not in answer.text
    assert client.get(document["instance"]).json()["state"] == "failed"
    assert client.get("/cycles").json() == {"cycles": []}
    again = submit(client, paths)
    assert again.status_code == 200, again.text
    assert again.headers["location"] == document["instance"]

    # A product that was removed is made again.
    shutil.rmtree(client.runtime.store.folder / "20261122T000000Z")
    assert submit(client, paths).status_code == 200
    assert len(client.get("/cycles/latest").json()["revisions"]) == 1


def test_files_of_failed_jobs_are_removed_after_the_retention(client: ServiceClient, tmp_path: Path) -> None:
    document = problem(
        submit(client, write_cycle(tmp_path / "cycle", replaced(centre=7))), 422, "wrong-source"
    )
    work = client.runtime.settings.data_folder / "work"
    folder = work / document["instance"].removeprefix("/")
    broken_upload = client.runtime.new_upload_folder()
    client.runtime.jobs.sweep()
    assert folder.exists()
    assert broken_upload.exists()
    for old in (folder, broken_upload):
        os.utime(old, (0, 0))
    client.runtime.jobs.sweep()
    assert not folder.exists()
    assert not broken_upload.exists()
    assert client.get(document["instance"]).json()["problem"] == document


def test_files_of_a_job_at_work_are_never_swept(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(client, monkeypatch)
    paths = write_cycle(tmp_path / "cycle")
    job = submit_held(client, paths)
    folder = client.runtime.settings.data_folder / "work" / job.removeprefix("/")
    os.utime(folder, (0, 0))
    client.runtime.jobs.sweep()
    assert folder.exists()
    gate.open()
    assert submit(client, paths).status_code == 200


def test_a_file_that_changes_after_its_submission_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = tmp_path / "inbox"
    paths = write_cycle(inbox / "a", replaced(reference_time=REFERENCE_TIME + np.timedelta64(6, "h")))
    with running(tmp_path, input_folders=(inbox.resolve(),)) as client:
        gate = Gate(client, monkeypatch)
        first = submit_held(client, write_cycle(tmp_path / "cycle"))
        job = client.post("/correct", json={"inputs": [{"uri": str(path)} for path in paths]}).json()["id"]
        write_durably(paths[0], lambda path: path.write_bytes(b"GRIB"))
        gate.open()
        reach(lambda: client.get(f"/jobs/{job}").json()["state"] == "failed")
        document = client.get(f"/jobs/{job}").json()["problem"]
        assert (document["reason"], document["where"]) == ("digest-mismatch", paths[0].name)
        assert client.get(first).json()["state"] == "succeeded"


def test_one_service_a_process(client: ServiceClient) -> None:
    other = Runtime(client.runtime.settings)
    with pytest.raises(RuntimeError, match="one service at a time"):
        other.start()
    other.stop()
    assert client.get("/livez").status_code == 200


def test_the_model_is_chosen_by_name_or_version(tmp_path: Path) -> None:
    for version in ("0.9.0", "0.10.0"):
        write_artefact(tmp_path, version=version)
    assert select_model(tmp_path, None).name == "sample-0.10.0"
    assert select_model(tmp_path, "sample").name == "sample-0.10.0"
    assert select_model(tmp_path, "sample-0.9.0").name == "sample-0.9.0"
    with pytest.raises(SettingsError, match=r"expected: sample-0\.10\.0, sample-0\.9\.0; got: other"):
        select_model(tmp_path, "other")
    write_artefact(tmp_path, name="other")
    with pytest.raises(SettingsError, match="more than one model"):
        select_model(tmp_path, None)
    with pytest.raises(SettingsError, match="no model"):
        select_model(tmp_path / "absent", None)
