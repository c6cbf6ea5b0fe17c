"""A folder kept as a copy of another one that is written to all the while.

What is copied is whole: files that take their place in one step, and of a folder with records (``*.json``,
which are written last) no record without the files that it is about.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from service.durability import TEMPORARY_SUFFIX, write_durably

_RECORD: Final = ".json"


def mirror(source: Path, target: Path, leave_out: Callable[[Path], bool] = lambda _: False) -> int:
    """Copy what is new or has changed below a folder; how many files. What is gone stays in the copy.

    leave_out: asked for the path of every file and folder, relative to the source. A file that vanishes in
    between is passed over.
    """
    copied = 0
    for folder in _folders(source, leave_out):
        # Listed first and copied last: what a record is about was there before it.
        records = [path for path in _files(folder) if path.suffix == _RECORD]
        others = [path for path in _files(folder) if path.suffix != _RECORD]
        for path in (*others, *records):
            if not leave_out(path.relative_to(source)):
                copied += _copy(path, target / path.relative_to(source))
    return copied


def replace_folder(source: Path, target: Path) -> None:
    """Put a copy of a folder in the place of the copy before, or remove that if the folder is gone."""
    fresh = target.with_name(f"{target.name}{TEMPORARY_SUFFIX}")
    shutil.rmtree(fresh, ignore_errors=True)
    mirror(source, fresh)
    shutil.rmtree(target, ignore_errors=True)
    # It goes away as a whole: what is still there was there while it was copied.
    if source.is_dir() and fresh.is_dir():
        fresh.rename(target)
    else:
        shutil.rmtree(fresh, ignore_errors=True)


def _folders(folder: Path, leave_out: Callable[[Path], bool]) -> Iterator[Path]:
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        yield here
        with suppress(FileNotFoundError):
            waiting += [
                path for path in here.iterdir() if path.is_dir() and not leave_out(path.relative_to(folder))
            ]


def _files(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return sorted(path for path in folder.iterdir() if path.is_file() and _is_kept(path))
    return []


def _is_kept(path: Path) -> bool:
    """Neither a lock nor half a file."""
    return not path.name.startswith(".") and path.suffix != TEMPORARY_SUFFIX


def _copy(source: Path, target: Path) -> bool:
    """Whether there was anything to copy; the copy keeps the time of change."""
    try:
        status = source.stat()
        if target.is_file():
            there = target.stat()
            if (there.st_size, there.st_mtime_ns) == (status.st_size, status.st_mtime_ns):
                return False
        target.parent.mkdir(parents=True, exist_ok=True)
        write_durably(target, lambda path: shutil.copy2(source, path))
    except FileNotFoundError:
        if source.exists():
            raise
        return False
    return True
