"""What lies in the data folder, and for how many cycles there is room."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service import disk_use
from service.disk_use import DiskUse, size_of_files
from service.settings import Settings
from service.store import Store

GIGABYTE = 10**9


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def disk(folder: Path, **settings: Any) -> DiskUse:
    return DiskUse(Settings.model_validate({"data_folder": folder} | settings), Store(folder / "products"))


def put(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten gigabytes of a hundred."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100 * GIGABYTE, 90 * GIGABYTE, 10 * GIGABYTE))


@pytest.mark.usefixtures("free")
def test_files_are_counted_by_folder(tmp_path: Path) -> None:
    put(tmp_path / "products" / "20261122T000000Z" / "r1.nc", 1000)
    put(tmp_path / "products" / "20261122T060000Z" / "r1.nc", 300)
    put(tmp_path / "products" / "20261122T060000Z" / "r2.nc", 400)
    put(tmp_path / "products" / "20261122T060000Z" / "r2.json", 5)
    for folder in ("products/20261122T000000Z", "products/20261122T060000Z"):
        put(tmp_path / folder / "r1.json", 5)
    put(tmp_path / "work" / "inbox" / "20261122T120000Z" / "file", 70)
    put(tmp_path / "work" / "jobs" / "one" / "cycle.npz", 7)
    put(tmp_path / "jobs.sqlite", 11)
    (tmp_path / "work" / "elsewhere").symlink_to(tmp_path / "products")
    found = disk(tmp_path, minimum_free_bytes=GIGABYTE, keep_days=30).read()
    link = len(str((tmp_path / "work" / "elsewhere").readlink()))
    assert found.used_bytes == {"databases": 11, "products": 1715, "work": 77 + link}
    assert (found.free_bytes, found.size_bytes) == (10 * GIGABYTE, 100 * GIGABYTE)
    assert found.newest_cycle_bytes == 710
    assert found.cycles_left == 9 * GIGABYTE // 710, "up to the minimum, not to the last byte"
    assert found.keep_days == 30


@pytest.mark.usefixtures("free")
def test_without_room_or_without_a_cycle(tmp_path: Path) -> None:
    assert disk(tmp_path).read().cycles_left is None, "nobody knows how large one is"
    assert disk(tmp_path).read().keep_days is None
    put(tmp_path / "products" / "20261122T000000Z" / "r1.json", 5)
    assert disk(tmp_path, minimum_free_bytes=11 * GIGABYTE).read().cycles_left == 0


def test_files_are_counted_once_a_minute_and_free_space_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = disk(tmp_path)
    put(tmp_path / "work" / "file", 10)
    assert counted.read().used_bytes["work"] == 10
    put(tmp_path / "work" / "other", 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(3, 2, 1))
    assert (counted.read().used_bytes["work"], counted.read().free_bytes) == (10, 1)
    monkeypatch.setattr(disk_use, "_COUNTED_FOR_SECONDS", -1.0)
    assert counted.read().used_bytes["work"] == 20


def test_what_goes_while_it_is_counted_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "folder" / "inner" / "file", 10)
    put(tmp_path / "file", 3)
    scandir = os.scandir

    def too_late(path: str) -> Any:
        if path.endswith("inner"):
            Path(path).rename(tmp_path / "gone")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", too_late)
    assert size_of_files(tmp_path) == 3
    assert size_of_files(tmp_path / "nowhere") == 0
