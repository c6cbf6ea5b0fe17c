"""Arrays that are kept under a key: what comes back is what was kept, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.early_results import EarlyResults, early_key

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_an_array_comes_back_from_any_of_the_folders(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    EarlyResults(other).put("a", VALUES)
    results = EarlyResults(own, other)
    results.put("b", VALUES + 1)
    found = results.get("a"), results.get("b")
    np.testing.assert_array_equal(found[0], VALUES)
    np.testing.assert_array_equal(found[1], VALUES + 1)
    assert results.get("c") is None
    assert [path.name for path in own.iterdir()] == ["b"]


@pytest.mark.parametrize("length", [0, 10, 32, 60, -1])
def test_what_was_cut_short_is_not_there(tmp_path: Path, length: int) -> None:
    EarlyResults(tmp_path).put("a", VALUES)
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[:length])
    assert EarlyResults(tmp_path).get("a") is None


def test_a_single_other_bit_is_noticed(tmp_path: Path) -> None:
    EarlyResults(tmp_path).put("a", VALUES)
    content = bytearray((tmp_path / "a").read_bytes())
    content[-3] ^= 1
    (tmp_path / "a").write_bytes(content)
    assert EarlyResults(tmp_path).get("a") is None


def test_no_room_for_it_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    EarlyResults(tmp_path / "file").put("a", VALUES)
    assert EarlyResults(tmp_path / "file").get("a") is None


def test_other_keys_and_remains_are_removed(tmp_path: Path) -> None:
    results = EarlyResults(tmp_path)
    for key in "abc":
        results.put(key, VALUES)
    (tmp_path / "a.1-2.partial").touch()
    results.keep_only({"b"})
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_keys_tell_apart_what_they_are_made_of() -> None:
    assert early_key("a", [1, "b"]) == early_key("a", (1, "b"))
    assert len({early_key("a", 1), early_key("a", "1"), early_key(["a"], 1), early_key("a1")}) == 4
