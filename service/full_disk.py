"""A disk without room, however it shows."""

from __future__ import annotations

import errno
import sqlite3
from typing import Final

from service.errors import Unavailable, causes

_CODES: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def full_disk(error: BaseException) -> Unavailable | None:
    """What to tell a client of an exception that a full disk led to; None for any other exception."""
    if not any(map(_is_full, causes(error))):
        return None
    return Unavailable(
        "the disk of the data folder is full",
        where="RAINPOST_DATA_FOLDER",
        advice="make room; RAINPOST_MINIMUM_FREE_BYTES keeps some from the start",
    )


def _is_full(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in _CODES
