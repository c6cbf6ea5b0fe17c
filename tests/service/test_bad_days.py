"""Bad days: what the user sees, what is kept, how it recovers. The table is in ``service/RELIABILITY.md``."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest

from service import durability
from service.times import compact_time, iso_time
from service.worker import Workers
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_full_disk import filled, mounted
from tests.service.sample_postgresql import new_database, start_server, stop_server
from tests.service.sample_service import Gate, ServiceClient, problem, reach, running, submit, submit_held

HOUR = np.timedelta64(1, "h")
TIME = REFERENCE_TIME


def cycle(folder: Path, number: int = 0) -> tuple[np.datetime64, list[Path]]:
    """A cycle of its own for each number."""
    time = TIME + number * 6 * HOUR
    return time, write_cycle(folder / f"cycle{number}", replaced(reference_time=time))


class FullDisk:
    """Lets so many writes pass and refuses the next one."""

    def __init__(self, passes: int) -> None:
        self.passes = passes
        self.refused = False

    def sync(self, path: Path) -> None:
        """In the place of ``service.durability.sync``, which every write that has to last goes through."""
        if self.passes == 0 and not self.refused:
            self.refused = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        self.passes -= 1


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No decoding processes, no OpenAPI document, short pauses: they take longer than what is tested here."""
    monkeypatch.setattr("service.app._openapi", lambda _: {})
    for pause in ("_QUEUE_POLL_SECONDS", "_WAIT_POLL_SECONDS"):
        monkeypatch.setattr(f"service.jobs.{pause}", 0.01)
    monkeypatch.setattr(Workers, "warm", lambda *_: [])
    monkeypatch.setattr(Workers, "run", read_here)
    monkeypatch.setattr(
        Workers, "run_told", lambda _, told, function, *rest, **named: function(*rest, **named)
    )


def read_here(_: Workers, function: Any, *arguments: Any, **named: Any) -> Any:
    """Its writes are counted too."""
    return function(*arguments, **named)


def test_a_full_disk_at_every_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = unqueued = 0
    with running(tmp_path) as client:
        store = client.runtime.store
        assert submit(client, cycle(tmp_path)[1]).status_code == 200
        for number in range(1, 40):
            time, paths = cycle(tmp_path, number)
            disk = FullDisk(number - 1)
            with monkeypatch.context() as patch:
                patch.setattr(durability, "sync", disk.sync)
                patch.setattr("service.stages.sync", disk.sync)
                answer = submit(client, paths)
            if not disk.refused:
                assert answer.status_code == 200
                break
            refused += 1
            if answer.status_code == 503:
                assert problem(answer, 503, "unavailable")["where"] == "RAINPOST_DATA_FOLDER"
                unqueued += 1
            else:
                assert "No space" not in str(problem(answer, 500, "internal-error"))
            # The last sync is that of the folder: the record is there, and the cycle is published already.
            assert len(store.revisions(time)) <= 1
            again = submit(client, paths)
            assert again.status_code == 200, again.text
            assert len(store.revisions(time)) == 1
            assert client.get(f"/cycles/{iso_time(time)}/product").status_code == 200
        assert unqueued >= 1, "the job's folder, before there is a job"
        assert refused >= 10, "uploads, decoded cycle, probabilities, health, product, record"
    assert list((tmp_path / "data").rglob("*.partial")) == []
    assert list((tmp_path / "data" / "work" / "jobs").iterdir()) == []


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    time, paths = cycle(tmp_path, 1)
    with (
        mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=16m", "none") as disk,
        running(tmp_path, data_folder=disk / "data", minimum_free_bytes=4_000_000) as client,
    ):
        assert submit(client, cycle(tmp_path)[1]).status_code == 200
        with filled(disk):
            answer = submit(client, paths)
            assert "nearly full" in problem(answer, 503, "unavailable")["detail"]
            assert int(answer.headers["retry-after"]) > 0
            assert client.get(f"/cycles/{iso_time(TIME)}/product").status_code == 200, "it is served"
            assert client.get("/livez").status_code == 200
        assert submit(client, paths).status_code == 200
        assert len(client.runtime.store.revisions(time)) == 1


def test_a_disk_that_fills_up_while_a_job_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite cannot say what became of the job: it must not stay at work for ever."""
    monkeypatch.setattr("service.jobs._CARE_SECONDS", 0.2)
    (first, paths), (second, more) = cycle(tmp_path, 0), cycle(tmp_path, 1)
    with (
        mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=16m", "none") as disk,
        running(tmp_path, data_folder=disk / "data", minimum_free_bytes=0) as client,
    ):
        gate = Gate(client, monkeypatch)
        job = submit_held(client, paths)
        with filled(disk):
            gate.open()
            answer = submit(client, more)
            assert "disk" in problem(answer, 503, "unavailable")["detail"]
            assert int(answer.headers["retry-after"]) > 0
            assert client.get("/livez").status_code == 200
            assert list((disk / "data" / "products").rglob("*.nc")) == []
        reach(lambda: client.get(job).json()["state"] in {"succeeded", "failed"})
        assert submit(client, paths).status_code == 200
        assert submit(client, more).status_code == 200
        store = client.runtime.store
        assert [len(store.revisions(time)) for time in (first, second)] == [1, 1]
        assert list((disk / "data" / "work" / "uploads").iterdir()) == []


class Clock:
    """The time of the schedule."""

    def __init__(self, client: ServiceClient, now: np.datetime64) -> None:
        self.now = now
        assert client.runtime.ingest is not None
        client.runtime.ingest._now = lambda: self.now


INBOX = {"inbox_poll_seconds": 0.02, "inbox_settle_seconds": 0, "inbox_pattern": "%Y%m%d%H/*"}


def put(inbox: Path, time: np.datetime64, paths: list[Path]) -> None:
    place = inbox / compact_time(time)[:11].replace("T", "")
    place.mkdir(parents=True, exist_ok=True)
    for path in paths:
        shutil.copyfile(path, place / path.name)


def test_an_inbox_that_can_only_be_read(tmp_path: Path) -> None:
    time, paths = cycle(tmp_path)
    put(tmp_path / "source", time, paths)
    with mounted(tmp_path / "inbox", "--bind", "-o", "ro", str(tmp_path / "source")) as inbox:
        with pytest.raises(OSError, match="Read-only"):
            (inbox / "file").touch()
        with running(tmp_path, inbox=str(inbox), **INBOX) as client:
            Clock(client, time + 3 * HOUR)
            reach(lambda: len(client.runtime.store.revisions(time)) == 1)
        assert len(list(inbox.rglob("*.gb2"))) == 3


def test_a_clock_that_jumps_publishes_nothing_twice(tmp_path: Path) -> None:
    (first, paths), (second, later) = cycle(tmp_path, 0), cycle(tmp_path, 1)
    inbox = tmp_path / "inbox"
    put(inbox, first, paths)
    with running(tmp_path, inbox=str(inbox), **INBOX) as client:
        store = client.runtime.store
        clock = Clock(client, first + 3 * HOUR)
        reach(lambda: len(store.revisions(first)) == 1)
        for jump in (365 * 24 * HOUR, -365 * 24 * HOUR, 48 * HOUR, np.timedelta64(0, "h")):
            clock.now = first + 3 * HOUR + jump
            # Asked by hand too, as the watch may not look again within this moment.
            if jump >= np.timedelta64(0, "h"):
                assert client.post("/ingest", params={"reference_time": iso_time(first)}).is_success
        put(inbox, second, later)
        clock.now = second + 3 * HOUR
        reach(lambda: len(store.revisions(second)) == 1)
        assert len(store.revisions(first)) == 1


def test_a_cycle_that_comes_thirty_hours_late_and_after_its_successor(tmp_path: Path) -> None:
    (old, paths), (new, later) = cycle(tmp_path, 0), cycle(tmp_path, 5)
    assert new - old == 30 * HOUR
    inbox = tmp_path / "inbox"
    put(inbox, new, later)
    with running(tmp_path, inbox=str(inbox), **INBOX) as client:
        Clock(client, new + HOUR)
        store = client.runtime.store
        reach(lambda: len(store.revisions(new)) == 1)
        put(inbox, old, paths)
        reach(lambda: len(store.revisions(old)) == 1)
        assert len(store.revisions(new)) == 1
        assert client.get("/cycles/latest").json()["reference_time"] == iso_time(new)


def test_a_cycle_that_comes_twice_and_in_two_forms(tmp_path: Path) -> None:
    from tests.torture.hostile_seeds import netcdf_cycle

    time, paths = cycle(tmp_path)
    other = []
    for name, content in netcdf_cycle(tmp_path, "NETCDF4").files:
        other.append(tmp_path / name)
        other[-1].write_bytes(content)
    with running(tmp_path) as client:
        store = client.runtime.store
        first = submit(client, paths)
        assert first.status_code == 200
        assert submit(client, paths).headers["location"] == first.headers["location"], "the same job"
        assert len(store.revisions(time)) == 1
        assert submit(client, other).status_code == 200, "the other form is a new revision"
        assert [record.revision for record in store.revisions(time)] == [1, 2]
        # One says Lambert, the other gives the position of every point: which is right is not for us to say.
        problem(submit(client, [*paths, *other]), 422, "wrong-grid")
        records = store.revisions(time)
        assert [record.revision for record in records] == [1, 2]
        values = []
        for record in records:
            with netCDF4.Dataset(store.product_path(record)) as product:
                values.append(np.asarray(product["class_probability"][:]))
    np.testing.assert_allclose(values[1], values[0], atol=1e-3)


def test_postgresql_that_goes_away_and_comes_back(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (time, paths), (other, more) = cycle(tmp_path, 0), cycle(tmp_path, 1)
    with running(tmp_path, database_url=new_database(server)) as client:
        assert submit(client, cycle(tmp_path, 2)[1]).status_code == 200
        gate = Gate(client, monkeypatch)
        job = submit_held(client, paths)
        stop_server(server)
        try:
            answer = submit(client, more)
            assert problem(answer, 503, "unavailable")["where"] == "RAINPOST_DATABASE_URL"
            assert int(answer.headers["retry-after"]) > 0
            assert client.get("/readyz").status_code == 503
            assert client.get("/livez").status_code == 200
            assert client.get("/cycles/latest/product").status_code == 200, "what is there is served"
        finally:
            start_server(server)
        gate.open()
        reach(lambda: client.get("/readyz").status_code == 200)
        reach(lambda: bool(client.get(job).json()["state"] == "succeeded"))
        assert submit(client, more).status_code == 200
        store = client.runtime.store
        assert [len(store.revisions(one)) for one in (time, other)] == [1, 1]


def test_a_gpu_that_is_lost_in_the_middle_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time, paths = cycle(tmp_path)

    class LostDevice:
        """What ONNX Runtime raises when the driver has lost the card."""

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider"]

        def run(self, *_: object) -> object:
            raise RuntimeError("CUDA failure 719: unspecified launch failure")

    with running(tmp_path) as client:
        with monkeypatch.context() as patch:
            patch.setattr(client.runtime.inference, "_session", LostDevice())
            document = problem(submit(client, paths), 500, "inference-failed")
            assert "CUDA failure 719" in document["got"]
            assert client.runtime.store.revisions(time) == []
            assert client.get("/livez").status_code == 200
        aside = list((tmp_path / "data" / "quarantine").rglob("problem.json"))
        assert len(aside) == 1, "the decoded cycle is kept for a look"
        assert submit(client, paths).status_code == 200, "the same files again, with the card back"
        assert len(client.runtime.store.revisions(time)) == 1
