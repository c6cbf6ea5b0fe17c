"""One process at a time writes an archive or a run; two would take work from one another unseen."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import InputError


def claim(path: Path) -> int:
    """A descriptor that keeps other writers of a file or folder away as long as it is open.

    The kernel lets go of it when its process dies, however it dies.

    Raises:
        InputError: another writer has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise InputError(
            "Another process writes here",
            where=str(path),
            advice="two writers would spoil one another's work: wait until it is done, end it, or choose "
            "another place",
        ) from error
    return descriptor


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """``claim`` for the length of a block."""
    descriptor = claim(path)
    try:
        yield
    finally:
        os.close(descriptor)
