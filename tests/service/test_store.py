"""Publication: atomic, once per computation, revisions side by side."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from service.artefact import digest_file
from service.errors import NotFound
from service.store import InputIdentity, ModelIdentity, Origin, Store

CYCLE = np.datetime64("2026-11-22T00", "s")
LATER = np.datetime64("2026-11-22T06", "s")


def origin(key: str) -> Origin:
    model = ModelIdentity(name="sample", version="0.1.0", sha256="a" * 64, manifest_sha256="b" * 64)
    inputs = (InputIdentity(name="h024.gb2", sha256="c" * 64, size_bytes=1),)
    return Origin(key=key, model=model, inputs=inputs, leads_hours=(2, 3))


def write_text(path: Path, revision: int) -> None:
    path.write_text(f"product of revision {revision}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "products")


def test_a_product_is_published_with_its_record(store: Store) -> None:
    record = store.publish(CYCLE, origin("one"), write_text)
    path = store.product_path(record)
    assert record.revision == 1
    assert path.read_text() == "product of revision 1"
    assert (record.sha256, record.size_bytes) == (digest_file(path), path.stat().st_size)
    assert store.record(CYCLE) == record
    assert record.reference_time == "2026-11-22T00:00:00Z"


def test_the_newest_cycle_is_one_with_a_record(store: Store) -> None:
    assert store.newest() is None
    store.publish(LATER, origin("one"), write_text)
    store.publish(CYCLE, origin("two"), write_text)
    assert store.newest() == store.latest() == LATER
    (store.folder / "20261122T060000Z" / "r1.json").unlink()
    assert store.newest() == CYCLE


def test_a_record_from_before_there_were_summaries_is_read(store: Store) -> None:
    record = store.publish(CYCLE, origin("one"), write_text)
    path = store.folder / "20261122T000000Z" / "r1.json"
    document = json.loads(path.read_text())
    assert document.pop("summary") is None
    path.write_text(json.dumps(document))
    assert store.record(CYCLE) == record


def test_new_input_is_a_new_revision_and_the_old_one_stays(store: Store) -> None:
    first = store.publish(CYCLE, origin("one"), write_text)
    second = store.publish(CYCLE, origin("two"), write_text)
    assert store.record(CYCLE) == second
    assert store.record(CYCLE, 1) == first
    assert store.product_path(first).read_text() == "product of revision 1"
    assert [record.revision for record in store.revisions(CYCLE)] == [1, 2]


def test_the_same_computation_is_published_once(store: Store) -> None:
    first = store.publish(CYCLE, origin("one"), write_text)

    def fail(path: Path, revision: int) -> None:
        pytest.fail("written again")

    assert store.publish(CYCLE, origin("one"), fail) == first


def test_cycles_are_listed_newest_first(store: Store) -> None:
    assert store.cycles() == []
    store.publish(CYCLE, origin("one"), write_text)
    store.publish(LATER, origin("two"), write_text)
    assert store.cycles() == [LATER, CYCLE]
    assert store.cycles_since(CYCLE) == [LATER, CYCLE]
    assert store.cycles_since(LATER) == [LATER]
    assert store.latest() == LATER


def test_what_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="no cycle is published"):
        store.latest()
    with pytest.raises(NotFound, match="2026-11-22T00"):
        store.record(CYCLE)
    store.publish(CYCLE, origin("one"), write_text)
    with pytest.raises(NotFound, match="expected: one of 1; got: 7"):
        store.record(CYCLE, 7)


def test_a_failed_write_publishes_nothing(store: Store) -> None:
    def fail(path: Path, revision: int) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.publish(CYCLE, origin("one"), fail)
    assert store.cycles() == []
    assert store.publish(CYCLE, origin("one"), write_text).revision == 1


def test_a_product_without_a_record_is_not_published_and_is_replaced(store: Store) -> None:
    # What a kill between the two renames leaves.
    store.publish(CYCLE, origin("one"), write_text)
    folder = store.folder / "20261122T000000Z"
    (folder / "r2.nc").write_text("no record")
    (folder / "r3.nc.partial").write_text("half")
    assert [record.revision for record in store.revisions(CYCLE)] == [1]
    second = store.publish(CYCLE, origin("two"), write_text)
    assert store.product_path(second).read_text() == "product of revision 2"
    assert sorted(path.name for path in folder.glob("r*")) == ["r1.json", "r1.nc", "r2.json", "r2.nc"]


def write_slowly(path: Path, revision: int) -> None:
    with path.open("wb") as file:
        for _ in range(50):
            file.write(bytes([revision]) * 1000)


def publish_eight(store: Store, name: str) -> None:
    for number in range(8):
        store.publish(CYCLE, origin(f"{name}{number}"), write_slowly)


def test_readers_see_whole_products_while_others_publish(store: Store) -> None:
    publishers = [threading.Thread(target=publish_eight, args=(store, name)) for name in "ab"]
    for thread in publishers:
        thread.start()
    seen = 0
    while any(thread.is_alive() for thread in publishers):
        for record in store.revisions(CYCLE):
            assert digest_file(store.product_path(record)) == record.sha256
            seen += 1
    assert seen > 0
    assert [record.revision for record in store.revisions(CYCLE)] == list(range(1, 17))
