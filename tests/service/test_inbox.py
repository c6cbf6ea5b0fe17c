"""The inbox: which files belong to a cycle, and which of them have settled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from service.errors import SettingsError
from service.inbox import Inbox, InboxFile, Settling

TIME = np.datetime64("2026-11-22T06", "s")
SETTLE_SECONDS = 30


class Clock:
    """Stands still until it is moved on."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


def file(size_bytes: int = 10, modified: float | None = 0.0, *, complete: bool = False) -> InboxFile:
    return InboxFile("/inbox/h025.gb2", size_bytes, modified, complete)


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"GRIB")


def names(inbox: Inbox, time: np.datetime64 = TIME) -> list[str]:
    return [one.name for one in inbox.look().files(time)]


def test_a_file_settles_at_the_second_look_when_it_is_old() -> None:
    settling = Settling(SETTLE_SECONDS, Clock())
    assert not settling.has_settled(file())
    assert settling.has_settled(file())


def test_a_file_that_is_forgotten_is_a_new_one() -> None:
    settling = Settling(SETTLE_SECONDS, Clock())
    settling.has_settled(file())
    settling.forget([file().path, "another"])
    assert not settling.has_settled(file())


def test_a_file_that_grows_has_not_settled() -> None:
    settling = Settling(SETTLE_SECONDS, Clock())
    assert not settling.has_settled(file(10))
    assert not settling.has_settled(file(20))
    assert settling.has_settled(file(20))


def test_a_file_that_was_written_to_just_now_has_not_settled() -> None:
    clock = Clock()
    settling = Settling(SETTLE_SECONDS, clock)
    young = file(modified=clock.seconds - SETTLE_SECONDS + 1)
    assert not settling.has_settled(young)
    assert not settling.has_settled(young)
    clock.seconds += 1
    assert settling.has_settled(young)


@pytest.mark.parametrize("modified", [None, 2_000_000.0])
def test_without_a_time_that_tells_the_file_is_watched_for_as_long(modified: float | None) -> None:
    clock = Clock()
    settling = Settling(SETTLE_SECONDS, clock)
    assert not settling.has_settled(file(modified=modified))
    clock.seconds += SETTLE_SECONDS - 1
    assert not settling.has_settled(file(modified=modified))
    clock.seconds += 1
    assert settling.has_settled(file(modified=modified))


def test_a_marker_settles_at_once() -> None:
    assert Settling(SETTLE_SECONDS, Clock()).has_settled(file(modified=None, complete=True))


def test_age_alone_does_for_an_archive() -> None:
    clock = Clock()
    settling = Settling(SETTLE_SECONDS, clock)
    assert settling.is_old(file())
    assert not settling.is_old(file(modified=clock.seconds))
    assert not settling.is_old(file(modified=None))


def test_the_time_may_stand_in_the_name_or_in_a_folder(tmp_path: Path) -> None:
    put(
        tmp_path,
        "a.2026112206.gb2",
        "2026112206/b.gb2",
        "2026112206/deep/c.gb2",
        "a.2026112200.gb2",
        "readme",
    )
    inbox = Inbox(str(tmp_path), "*%Y%m%d%H*")
    assert sorted(names(inbox)) == ["a.2026112206.gb2", "b.gb2", "c.gb2"]
    assert names(inbox, TIME - np.timedelta64(6, "h")) == ["a.2026112200.gb2"]
    assert names(inbox, TIME + np.timedelta64(6, "h")) == []


def test_only_the_folders_of_the_cycle_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "2026/11/22/06/h025.gb2", "2026/11/22/06/other.txt", "2026/11/23/06/h025.gb2")
    inbox = Inbox(tmp_path.as_uri(), "%Y/%m/%d/%H/h*.gb2")
    listed: list[str] = []
    find = inbox._files.find

    def _recorded(path: str, **rest: Any) -> Any:
        listed.append(path)
        return find(path, **rest)

    monkeypatch.setattr(inbox._files, "find", _recorded)
    assert [one.path for one in inbox.look().files(TIME)] == [str(tmp_path / "2026/11/22/06/h025.gb2")]
    assert listed == [str(tmp_path / "2026/11/22/06")]
    assert names(inbox, TIME + np.timedelta64(6, "h")) == []


def test_hidden_and_temporary_files_are_not_for_us(tmp_path: Path) -> None:
    put(tmp_path, *(f"2026112206/{name}" for name in (".a", "a.gb2.partial", "a.gb2.tmp", "a.part", "a.gb2")))
    assert names(Inbox(str(tmp_path), "*%Y%m%d%H*")) == ["a.gb2"]


def test_markers_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "2026112206/a.gb2", "2026112206/a.gb2.done", "2026112206/b.gb2")
    inbox = Inbox(str(tmp_path), "*%Y%m%d%H*")
    assert {one.name: one.complete for one in inbox.look().files(TIME)} == {"a.gb2": True, "b.gb2": False}
    put(tmp_path, "2026112206/.done")
    assert {one.name: one.complete for one in inbox.look().files(TIME)} == {"a.gb2": True, "b.gb2": True}


def test_a_file_shows_its_size_and_time_of_change(tmp_path: Path) -> None:
    put(tmp_path, "2026112206.gb2")
    os.utime(tmp_path / "2026112206.gb2", (5, 7))
    (one,) = Inbox(str(tmp_path), "*%Y%m%d%H*").look().files(TIME)
    assert one.signature == (str(tmp_path / "2026112206.gb2"), 4, 7.0)


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """A file system that is not of this machine."""
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/rdaps", recursive=True)


def test_a_url_is_an_inbox_too(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    memory.pipe_file("/rdaps/2026112206/a.gb2", b"GRIB7777")
    inbox = Inbox("memory://rdaps", "*%Y%m%d%H*")
    (one,) = inbox.look().files(TIME)
    assert (inbox.is_local, one.name, one.size_bytes) == (False, "a.gb2", 8)
    assert one.modified is not None
    inbox.fetch(one, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"GRIB7777"
    memory.pipe_file("/rdaps/2026112206/b.gb2", b"GRIB")
    assert names(inbox) == ["a.gb2", "b.gb2"], "nothing is remembered from one look to the next"


@pytest.mark.parametrize("url", ["/no/such/folder", "nonsense://bucket/folder"])
def test_an_inbox_that_cannot_be_opened(url: str) -> None:
    with pytest.raises(SettingsError, match="RAINPOST_INBOX"):
        Inbox(url, "*%Y%m%d%H*")
