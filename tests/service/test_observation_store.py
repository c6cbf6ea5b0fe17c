"""Observations are stored whole, once, with revisions side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service import observation_store
from service.artefact import digest_file
from service.grids import grid_from_definition
from service.observation import Observation
from service.observation_store import ObservationRecord, ObservationStore
from service.submission import InputFile
from tests.service.sample_artefact import SAMPLE_SPECIFICATION
from tests.service.sample_observation import sample_rain_mm, window_of

TIME = np.datetime64("2026-11-22T02", "s")


def publish(
    store: ObservationStore, content: bytes, time: np.datetime64 = TIME
) -> tuple[ObservationRecord, bool]:
    path = store.folder.parent / "came.txt"
    path.write_bytes(content)
    file = InputFile(name="rn1.txt", sha256=digest_file(path), size_bytes=len(content))
    observation = Observation(time, window_of(sample_rain_mm(len(content))).astype(np.float32))
    return store.publish(observation, file, path, SAMPLE_SPECIFICATION)


@pytest.fixture
def store(tmp_path: Path) -> ObservationStore:
    return ObservationStore(tmp_path / "observations")


def test_an_observation_is_stored_with_its_file_and_record(store: ObservationStore) -> None:
    record, new = publish(store, b"rain")
    assert (record.revision, new, record.valid_time) == (1, True, "2026-11-22T02:00:00Z")
    assert (store.folder / "20261122T020000Z" / "r1.original").read_bytes() == b"rain"
    values = window_of(sample_rain_mm(4)).astype(np.float32)
    np.testing.assert_array_equal(store.rain_mm(record), values)
    assert record.observed_cells == int((~np.isnan(values)).sum())
    assert store.newest(TIME) == record
    assert record.grid == grid_from_definition(SAMPLE_SPECIFICATION.target, SAMPLE_SPECIFICATION.window)


def test_another_file_is_a_revision_and_the_same_is_not(store: ObservationStore) -> None:
    first, _ = publish(store, b"rain")
    second, new = publish(store, b"more rain")
    assert (second.revision, new) == (2, True)
    assert publish(store, b"rain") == (first, False)
    assert store.revisions(TIME) == [first, second]
    assert store.newest(TIME) == second
    np.testing.assert_array_equal(store.rain_mm(first), window_of(sample_rain_mm(4)).astype(np.float32))


def test_the_same_file_on_another_grid_is_a_revision(store: ObservationStore) -> None:
    first, _ = publish(store, b"rain")
    path = store.folder.parent / "came.txt"
    file = InputFile(name="rn1.txt", sha256=first.sha256, size_bytes=4)
    for change in (
        {"precipitation_hours": 2},
        {"window": SAMPLE_SPECIFICATION.window.model_copy(update={"ny": 7})},
    ):
        specification = SAMPLE_SPECIFICATION.model_copy(update=change)
        _, new = store.publish(Observation(TIME, store.rain_mm(first)), file, path, specification)
        assert new


def test_hours_are_listed_newest_first(store: ObservationStore) -> None:
    assert store.times() == []
    assert store.newest(TIME) is None
    assert store.newest_time() is None
    later = TIME + np.timedelta64(1, "h")
    publish(store, b"rain")
    publish(store, b"rain", later)
    assert store.times() == [later, TIME]
    assert store.newest_time() == later


def test_what_has_no_record_is_not_stored_and_is_swept_away(
    store: ObservationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(observation_store, "_save", fail)
        with pytest.raises(OSError, match="disk full"):
            publish(store, b"rain")
    folder = store.folder / "20261122T020000Z"
    assert (folder / "r1.original").exists()
    assert store.times() == []
    (folder / "r9.npy").write_bytes(b"")
    record, new = publish(store, b"more rain")
    assert (record.revision, new) == (1, True)
    assert {path.name for path in folder.iterdir()} == {".lock", "r1.original", "r1.npy", "r1.json"}
