"""Folders of revisions go in two steps, and a kill between any of them leaves nothing half."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from service import expiry
from service.expiry import clear, expire, held, is_expired

PATTERN = "[0-9]*"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "20261122"
    with held(place):
        (place / "r1.nc").write_text("one")
        (place / "r1.json").write_text("{}")
    return place


def test_an_expired_folder_keeps_its_files_for_the_grace(folder: Path) -> None:
    expire(folder)
    assert is_expired(folder)
    assert clear(folder.parent, PATTERN, 3600.0) == 0
    assert (folder / "r1.nc").read_text() == "one", "for who has read the record already"
    with (folder / "r1.nc").open() as reader:
        assert clear(folder.parent, PATTERN, 0.0) == 1
        assert reader.read() == "one"
    assert list(folder.parent.iterdir()) == []


def test_what_is_not_expired_stays(folder: Path) -> None:
    assert clear(folder.parent, PATTERN, 0.0) == 0
    assert (folder / "r1.json").exists()


def test_a_mark_of_the_future_does_not_last(folder: Path) -> None:
    expire(folder)
    os.utime(folder / expiry.MARK, (2**32, 2**32))
    assert clear(folder.parent, PATTERN, 3600.0) == 1


def test_an_expired_folder_is_empty_for_who_writes_anew(folder: Path) -> None:
    expire(folder)
    with held(folder):
        assert [path.name for path in folder.iterdir()] == [expiry.LOCK]
    assert not is_expired(folder)


def test_who_waits_for_a_folder_that_goes_gets_a_new_one(folder: Path) -> None:
    done = threading.Event()

    def publish() -> None:
        with held(folder):
            (folder / "r1.json").write_text("new")
        done.set()

    with held(folder):
        waiting = threading.Thread(target=publish)
        waiting.start()
        expire(folder)
        expiry.put_away(folder)
    waiting.join(60)
    assert done.is_set()
    assert (folder / "r1.json").read_text() == "new"


def test_what_a_kill_left_half_deleted_goes_in_the_next_round(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire(folder)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        clear(folder.parent, PATTERN, 0.0)
    (left,) = folder.parent.iterdir()
    assert left.name.startswith(".removed-"), "no pattern of a store finds it"
    clear(folder.parent, PATTERN, 3600.0)
    assert list(folder.parent.iterdir()) == []
