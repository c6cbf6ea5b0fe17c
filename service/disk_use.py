"""What lies in the data folder, how much room its disk has left, and for how many more cycles."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field

from service.settings import Settings
from service.store import Store
from service.times import compact_time

_COUNTED_FOR_SECONDS: Final = 60.0
"""To count an archive of years takes a second or so: not for every scrape and every request."""

DATABASES: Final = "databases"
"""What lies in the data folder itself and not in a folder of its own."""


class DiskDocument(BaseModel):
    """The disk of the data folder, in bytes, and what bounds its use."""

    used_bytes: dict[str, int] = Field(
        description="Of all files, by the folder of the data folder that they lie in: above all `products`, "
        "and `work`, which holds the files of jobs, uploads and copies from the inbox. `databases`: in none."
    )
    free_bytes: int = Field(description="Free on the file system, for others than root.")
    size_bytes: int = Field(description="Of the file system.")
    minimum_free_bytes: int = Field(
        description="RAINPOST_MINIMUM_FREE_BYTES: below it submissions are refused."
    )
    newest_cycle_bytes: int = Field(
        description="Of the newest cycle's products, all revisions; 0 without one."
    )
    cycles_left: int | None = Field(
        description="How many more cycles of this size there is room for before submissions are refused."
    )
    keep_days: float | None = Field(description="RAINPOST_KEEP_DAYS; null where everything is kept.")


class DiskUse:
    """Counts what is used. Safe to use from several threads."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._lock = threading.Lock()
        self._counted: tuple[float, dict[str, int]] | None = None

    def read(self) -> DiskDocument:
        """Free space as it is now; the files may have been counted up to a minute ago."""
        settings = self._settings
        usage = shutil.disk_usage(settings.data_folder)
        cycle_bytes = self._newest_cycle_bytes()
        room = max(usage.free - settings.minimum_free_bytes, 0)
        return DiskDocument(
            used_bytes=self._used_bytes(),
            free_bytes=usage.free,
            size_bytes=usage.total,
            minimum_free_bytes=settings.minimum_free_bytes,
            newest_cycle_bytes=cycle_bytes,
            cycles_left=room // cycle_bytes if cycle_bytes else None,
            keep_days=settings.keep_days,
        )

    def _newest_cycle_bytes(self) -> int:
        newest = self._store.newest()
        return 0 if newest is None else size_of_files(self._store.folder / compact_time(newest))

    def _used_bytes(self) -> dict[str, int]:
        with self._lock:
            now = time.monotonic()
            if self._counted is None or now - self._counted[0] > _COUNTED_FOR_SECONDS:
                self._counted = now, _by_folder(self._settings.data_folder)
            return dict(self._counted[1])


def size_of_files(folder: Path) -> int:
    """Of all below a folder, in bytes. What goes while they are counted is not there."""
    total = 0
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += _size(entry)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return total


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _by_folder(data_folder: Path) -> dict[str, int]:
    found = {DATABASES: 0}
    with os.scandir(data_folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                found[entry.name] = size_of_files(Path(entry.path))
            else:
                found[DATABASES] += _size(entry)
    return found
