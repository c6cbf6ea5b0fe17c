"""A full disk while files are received, indexed and queued, and SQLite without room for a page."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.cycle_index import CycleIndex
from service.full_disk import full_disk
from service.jobs import Jobs
from service.times import iso_time
from service.uploads import UploadedFile
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_full_disk import full_database
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_service import ServiceClient, problem, submit

NO_ROOM = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refused(answer: httpx.Response) -> None:
    """As for a disk that the service found full before."""
    document = problem(answer, 503, "unavailable")
    assert document["where"] == "RAINPOST_DATA_FOLDER"
    assert int(answer.headers["retry-after"]) > 0


def left(client: ServiceClient) -> list[Path]:
    """Files of submissions that have not become a job."""
    return list((client.runtime.settings.data_folder / "work" / "uploads").rglob("*"))


@pytest.mark.parametrize("step", ["__init__", "write", "finish"])
def test_no_room_for_an_upload(
    step: str, client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_cycle(tmp_path / "cycle")
    original = getattr(UploadedFile, step)
    calls = 0

    def at_the_second(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise NO_ROOM
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(UploadedFile, step, at_the_second)
        refused(submit(client, paths))
    assert left(client) == []
    assert submit(client, paths).status_code == 200


def test_no_room_for_an_observation(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dfs(tmp_path, REFERENCE_TIME + np.timedelta64(2, "h"), sample_rain_mm(1))

    def post() -> httpx.Response:
        return client.post("/observations", files=[("files", (path.name, path.read_bytes()))])

    def no_room(*_: Any) -> None:
        raise NO_ROOM

    for place in ("service.uploads.UploadedFile.write", "service.observation_store.write_durably"):
        with monkeypatch.context() as patch:
            patch.setattr(place, no_room)
            refused(post())
        assert left(client) == []
    assert post().status_code == 201


@pytest.mark.parametrize("kind", ["index", "queue"])
def test_no_room_between_upload_and_queue(
    kind: str, client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = REFERENCE_TIME + {"index": 6, "queue": 12}[kind] * np.timedelta64(1, "h")
    paths = write_cycle(tmp_path / "cycle", replaced(reference_time=time))
    place, error = {
        "index": ((CycleIndex, "note"), NO_ROOM),
        "queue": ((Jobs, "_enqueue"), full_database(tmp_path)),
    }[kind]

    def no_room(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(*place, no_room)
        refused(submit(client, paths, reference_time=iso_time(time)))
    assert left(client) == []
    assert client.runtime.jobs.unfinished() == []
    assert submit(client, paths, reference_time=iso_time(time)).status_code == 200
    assert len(client.runtime.store.revisions(time)) == 1


def test_no_room_in_the_index_while_a_job_is_at_work(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = REFERENCE_TIME + np.timedelta64(18, "h")
    paths = write_cycle(tmp_path / "cycle", replaced(reference_time=time))

    def no_room(*_: Any) -> None:
        raise NO_ROOM

    with monkeypatch.context() as patch:
        patch.setattr(CycleIndex, "note", no_room)
        problem(submit(client, paths), 500, "internal-error")
    assert submit(client, paths).status_code == 200
    assert [job.reference_time for job in client.runtime.jobs.of_cycle(iso_time(time))] == [iso_time(time)]


def test_which_exceptions_a_full_disk_leads_to(tmp_path: Path) -> None:
    assert full_disk(NO_ROOM) is not None
    assert full_disk(OSError(errno.EDQUOT, "of this user")) is not None
    assert full_disk(full_database(tmp_path)) is not None
    assert full_disk(OSError(errno.EACCES, "no")) is None
    assert full_disk(ValueError("No space left on device")) is None
    wrapped = RuntimeError("a file could not be written")
    wrapped.__cause__ = NO_ROOM
    assert full_disk(wrapped) is not None
