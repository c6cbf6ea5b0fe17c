"""The inbox in an object store: a real S3 protocol, its costs, and its outages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from service.errors import DigestMismatch, Unavailable
from service.inbox import Inbox, Settling
from service.schedule import Schedule, now_utc
from service.times import iso_time
from tests.service.sample_cycle import replaced, write_cycle
from tests.service.sample_s3 import ObjectStore, object_store
from tests.service.sample_service import ServiceClient, problem, reach, running

HOUR = np.timedelta64(1, "h")
TIME = np.datetime64("2026-11-22T06", "s")
PATTERN = "*%Y%m%d%H*"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with object_store(monkeypatch) as found:
        yield found


@pytest.fixture
def sender(store: ObjectStore) -> Any:
    """Whoever puts files into the bucket."""
    return fsspec.filesystem("s3", skip_instance_cache=True)


def url(store: ObjectStore) -> str:
    return f"s3://{store.bucket}/rdaps"


def test_files_of_a_cycle(store: ObjectStore, sender: Any, tmp_path: Path) -> None:
    for name in ("a.gb2", "a.gb2.done", "b.gb2", "c.gb2.part", ""):
        sender.pipe_file(f"{store.bucket}/rdaps/2026112206/{name}", b"GRIB7777" if name else b"")
    sender.pipe_file(f"{store.bucket}/rdaps-old/2026112206/a.gb2", b"GRIB")
    inbox = Inbox(url(store), PATTERN)
    found = inbox.look().files(TIME)
    assert [(one.name, one.size_bytes, one.complete) for one in found] == [
        ("a.gb2", 8, True),
        ("b.gb2", 8, False),
    ], "no marker, no placeholder of a folder, nothing beside the inbox"
    assert all(abs((one.modified or 0) - now_utc().astype(float)) < 600 for one in found)
    inbox.fetch(found[0], tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"GRIB7777"


def test_an_upload_is_seen_when_it_is_whole(store: ObjectStore, sender: Any) -> None:
    inbox = Inbox(url(store), PATTERN)
    with sender.open(f"{store.bucket}/rdaps/2026112206.gb2", "wb", block_size=5 * 2**20) as upload:
        upload.write(bytes(6 * 2**20))
        assert any(query.startswith("uploads") for _, _, query in store.requests), "a part of it is there"
        assert inbox.look().files(TIME) == []
    (file,) = inbox.look().files(TIME)
    assert file.size_bytes == 6 * 2**20


def test_an_object_that_is_replaced_begins_to_settle_anew(
    store: ObjectStore, sender: Any, tmp_path: Path
) -> None:
    inbox, settling = Inbox(url(store), PATTERN), Settling(0)

    def settled() -> bool:
        (file,) = inbox.look().files(TIME)
        return settling.has_settled(file)

    sender.pipe_file(f"{store.bucket}/rdaps/2026112206.gb2", b"GRIB")
    assert [settled(), settled()] == [False, True]
    (listed,) = inbox.look().files(TIME)
    sender.pipe_file(f"{store.bucket}/rdaps/2026112206.gb2", b"GRIB and more")
    with pytest.raises(DigestMismatch, match="changed after it was listed"):
        inbox.fetch(listed, tmp_path / "copy")
    assert [settled(), settled()] == [False, True]


@pytest.mark.parametrize(("pattern", "requests"), [(PATTERN, 1), ("%Y%m%d/%Y%m%d%H*", 3)])
def test_a_look_lists_each_folder_once(store: ObjectStore, sender: Any, pattern: str, requests: int) -> None:
    schedule = Schedule((0, 6, 12, 18), 6 * HOUR, 48 * HOUR, expects=True)
    times = list(schedule.open_cycles(TIME))
    assert len(times) == 9
    for time in times:
        day, hour = iso_time(time)[:10].replace("-", ""), iso_time(time)[11:13]
        sender.pipe_file(f"{store.bucket}/rdaps/{day}/{day}{hour}.gb2", b"GRIB")
    inbox = Inbox(url(store), pattern)
    store.listings()
    for _ in range(2):
        look = inbox.look()
        assert [len(look.files(time)) for time in times] == [1] * 9
        assert len(store.listings()) == requests


def test_a_bucket_that_is_not_there_is_not_an_empty_one(store: ObjectStore) -> None:
    assert Inbox(url(store), PATTERN).look().files(TIME) == []
    with pytest.raises(Unavailable, match="bucket does not exist"):
        Inbox("s3://another/rdaps", PATTERN).look().files(TIME)


def test_an_outage_delays_a_cycle_and_harms_nothing(
    store: ObjectStore, sender: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    time = now_utc().astype("datetime64[D]").astype("datetime64[s]") - 24 * HOUR
    for path in write_cycle(tmp_path / "cycle", replaced(reference_time=time)):
        sender.put_file(str(path), f"{store.bucket}/rdaps/{iso_time(time)[:10]}T00/{path.name}")
    settings = {
        "inbox": url(store),
        "inbox_pattern": "*%Y-%m-%dT%H/*",
        "inbox_poll_seconds": 0.1,
        "inbox_settle_seconds": 0,
    }
    # Two looks, of which the second begins to fetch the files.
    store.fail_after(3)
    with running(tmp_path, **settings) as client:
        reach(lambda: "the inbox cannot be read" in caplog.text)
        store.stop()
        refused = client.post("/ingest", params={"reference_time": iso_time(time)})
        document = problem(refused, 503, "unavailable")
        assert "RAINPOST_INBOX" in document["where"]
        assert _state(client, time) == "late"
        assert client.get("/readyz").is_success, "what is posted is corrected all the same"
        store.start()
        reach(lambda: _state(client, time) == "published")
        (revision,) = client.get(f"/cycles/{iso_time(time)}").json()["revisions"]
        assert len(revision["inputs"]) == 3
    assert "Traceback" not in caplog.text
    assert not any((tmp_path / "data" / "work" / "inbox").iterdir())


def _state(client: ServiceClient, time: np.datetime64) -> str:
    state: str = client.get(f"/cycles/{iso_time(time)}").json()["state"]
    return state
