"""How a folder of revisions goes: out of sight in one step, and from the disk when nobody can be at it.

::

    products/20261122T000000Z/.expired      from now on the folder counts as not there
    products/.removed-<time>-<random>/      what is being deleted

Between the two there is time for whoever has read a record and is about to open its file. A file that is open
stays readable until it is closed. A kill at any moment leaves one of the two, and the next round goes on.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from service.durability import exclusive, sync, write_durably

MARK: Final = ".expired"
LOCK: Final = ".lock"
_REMOVED: Final = ".removed-"


def is_expired(folder: Path) -> bool:
    """Whether the folder counts as not there."""
    return (folder / MARK).exists()


def expire(folder: Path) -> None:
    """Take a folder out of sight; whoever calls holds it."""
    write_durably(folder / MARK, lambda path: path.touch())


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder alone, among all threads and processes; made anew where it is not there or expired."""
    with ExitStack() as stack:
        while True:
            folder.mkdir(exist_ok=True)
            try:
                stack.enter_context(exclusive(folder / LOCK))
            except FileNotFoundError:
                # Somebody put the folder away in between.
                continue
            if not is_expired(folder):
                break
            put_away(folder)
            stack.close()
        yield


@contextmanager
def held_as_it_is(folder: Path) -> Iterator[bool]:
    """Hold a folder alone; whether it is there."""
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(folder / LOCK))
            there = True
        except FileNotFoundError:
            there = False
        yield there


def put_away(folder: Path) -> None:
    """Delete a folder that nobody may see any more, in one step for whoever looks."""
    doomed = folder.with_name(f"{_REMOVED}{folder.name}-{uuid.uuid4().hex}")
    folder.rename(doomed)
    sync(doomed.parent)
    shutil.rmtree(doomed, ignore_errors=True)


def clear(parent: Path, pattern: str, grace_seconds: float) -> int:
    """Delete the folders that expired so long ago, and what a kill left half deleted; how many expired."""
    cleared = 0
    for doomed in parent.glob(f"{_REMOVED}*"):
        shutil.rmtree(doomed, ignore_errors=True)
    for folder in parent.glob(pattern):
        try:
            age = time.time() - (folder / MARK).stat().st_mtime
        except FileNotFoundError:
            continue
        # A clock that was put back leaves marks of the future.
        if age >= grace_seconds or age < -grace_seconds:
            with held_as_it_is(folder) as there:
                if there and is_expired(folder):
                    put_away(folder)
                    cleared += 1
    return cleared
