"""The inbox: a folder or object store into which others put forecast files, seen through fsspec.

Files are left as they are. One that is still being written is not taken: see ``Settling``.
"""

from __future__ import annotations

import fnmatch
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from service.durability import TEMPORARY_SUFFIX
from service.errors import DigestMismatch, SettingsError, Unavailable

_logger = logging.getLogger(__name__)

_DONE: Final = ".done"
_UNFINISHED_SUFFIXES: Final = (TEMPORARY_SUFFIX, ".tmp", ".part", ".filepart")
_WILDCARDS: Final = frozenset("*?[")
_TIME_KEYS: Final = ("mtime", "LastModified", "last_modified", "updated", "created")
"""What file systems call the time of the last change."""


@dataclass(frozen=True)
class InboxFile:
    """A file as one look finds it.

    path: as its file system names it. modified: of the last change, s since 1970; None where unknown.
    complete: whether a marker says that nobody writes to it any more.
    """

    path: str
    size_bytes: int
    modified: float | None
    complete: bool

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def signature(self) -> tuple[str, int, float | None]:
        """What changes when the file does."""
        return self.path, self.size_bytes, self.modified


class Settling:
    """Tells files that have settled from those that somebody may still write to.

    A file has settled when a look before found it with the same size and time of change, and it has not
    changed
    for so many seconds: by its own time of change, or because it was watched for so long. A marker settles it
    at once. now: s since 1970.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._now = now
        self._since: dict[str, tuple[tuple[str, int, float | None], float]] = {}

    def has_settled(self, file: InboxFile) -> bool:
        """To be asked once for every look."""
        now = self._now()
        signature, since = self._since.get(file.path, (None, now))
        if signature != file.signature:
            self._since[file.path] = (file.signature, now)
            return file.complete
        aged = file.modified is not None and now - file.modified >= self._seconds
        return file.complete or aged or now - since >= self._seconds

    def forget(self, paths: Iterable[str]) -> None:
        """Nobody asks for these files any more."""
        for path in paths:
            self._since.pop(path, None)

    def is_old(self, file: InboxFile) -> bool:
        """Whether the time of change alone says so: enough for an archive, which nobody writes to."""
        return file.complete or (file.modified is not None and self._now() - file.modified >= self._seconds)


class Inbox:
    """The files below a folder or URL. Raises ``SettingsError`` for one that cannot be opened.

    pattern: as in ``RAINPOST_INBOX_PATTERN``.
    """

    def __init__(self, url: str, pattern: str) -> None:
        self._pattern = pattern
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise _unusable(str(error)) from error
        self._root = self._root.rstrip("/")
        self.is_local = isinstance(self._files, LocalFileSystem)
        if self.is_local and not Path(self._root).is_dir():
            raise _unusable(f"no such folder: {self._root}")

    def look(self) -> Look:
        """A new look, which finds what is there from now on."""
        # Object stores remember what they listed.
        self._files.invalidate_cache()
        return Look(self._root, self._pattern, self._listing)

    def fetch(self, file: InboxFile, target: Path) -> None:
        """Copy a file to this machine.

        Raises ``DigestMismatch`` where it is not the one that was listed, ``Unavailable``.
        """
        with self._answering():
            self._files.get_file(file.path, str(target))
        if (size_bytes := target.stat().st_size) != file.size_bytes:
            raise DigestMismatch(
                "a file of the inbox changed after it was listed",
                where=file.path,
                expected=f"{file.size_bytes} bytes",
                got=f"{size_bytes} bytes",
            )

    def _listing(self, folder: str) -> dict[str, dict[str, Any]]:
        with self._answering():
            try:
                found: dict[str, dict[str, Any]] = self._files.find(folder, detail=True)
            except FileNotFoundError:
                # A folder may come later; a bucket that is not there is a mistake.
                bucket = self._root.partition("/")[0]
                if bucket and not self._files.exists(bucket):
                    raise
                return {}
        return found

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Whatever a file system raises in its own words means the same here."""
        try:
            yield
        except Exception as error:
            raise Unavailable(
                "the inbox cannot be read",
                where=f"RAINPOST_INBOX, {self._root}",
                got=f"{type(error).__name__}: {str(error)[:200]}",
            ) from error


class Look:
    """The inbox at one time: a folder is listed once, however many cycles lie in it.

    listing: path to what the file system knows of each file below a folder.
    """

    def __init__(self, root: str, pattern: str, listing: Callable[[str], dict[str, dict[str, Any]]]) -> None:
        self._root = root
        self._pattern = pattern
        self._listing = listing
        self._listed: dict[str, dict[str, dict[str, Any]]] = {}

    def files(self, reference_time: np.datetime64) -> list[InboxFile]:
        """The files of a cycle, by path. Raises ``Unavailable``."""
        pattern = reference_time.astype(datetime).strftime(self._pattern)
        found = self._below(f"{self._root}/{_fixed_folder(pattern)}".rstrip("/"))
        inside = {path: path.removeprefix(f"{self._root}/") for path in found}
        return [
            InboxFile(
                path=path,
                size_bytes=int(found[path]["size"]),
                modified=_modified(found[path]),
                complete=path + _DONE in found or f"{path.rpartition('/')[0]}/{_DONE}" in found,
            )
            for path in sorted(found)
            if fnmatch.fnmatchcase(inside[path], pattern) and _is_for_us(path)
        ]

    def _below(self, folder: str) -> dict[str, dict[str, Any]]:
        if folder not in self._listed:
            self._listed[folder] = self._listing(folder)
        return self._listed[folder]


def _fixed_folder(pattern: str) -> str:
    """The folders at the beginning of a pattern that hold no wildcard: only they need to be listed."""
    fixed: list[str] = []
    for part in pattern.split("/")[:-1]:
        if _WILDCARDS & set(part):
            break
        fixed.append(part)
    return "/".join(fixed)


def _is_for_us(path: str) -> bool:
    name = path.rpartition("/")[2]
    # Without a name: what object stores keep in the place of an empty folder.
    return not (not name or name.startswith(".") or name.endswith((_DONE, *_UNFINISHED_SUFFIXES)))


def _modified(information: dict[str, Any]) -> float | None:
    value = next((information[key] for key in _TIME_KEYS if information.get(key) is not None), None)
    if isinstance(value, datetime):
        return value.timestamp()
    return float(value) if isinstance(value, int | float) else None


def _unusable(got: str) -> SettingsError:
    return SettingsError(
        "the inbox cannot be opened",
        where="RAINPOST_INBOX",
        expected="a folder that exists, or a URL that fsspec knows, such as s3://bucket/folder",
        got=got,
        advice="s3:// needs `pip install rainpost[s3]`",
    )
