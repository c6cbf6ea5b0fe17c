"""Reference times as text: what users write, what the service writes, what folders are called."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import numpy as np

from service.errors import RequestError

_COMPACT: Final = re.compile(r"\d{10}(\d{2})?")
_WITH_HOUR: Final = re.compile(r".*[T ]\d{2}.*")


def parse_time(text: str, *, where: str = "reference_time") -> np.datetime64:
    """A reference time in UTC, second resolution.

    Accepts ISO 8601 with an hour (``2026-11-22T00:00Z``, ``20261122T00Z``; another offset is converted, no
    offset means UTC, as all times of this service do) and the compact ``YYYYMMDDHH`` or ``YYYYMMDDHHMM`` of
    file names. A date alone is refused, for it does not name a cycle. Raises ``RequestError``.
    """
    text = text.strip()
    try:
        if _COMPACT.fullmatch(text):
            moment = datetime.strptime(text.ljust(12, "0"), "%Y%m%d%H%M").replace(tzinfo=UTC)
        else:
            moment = datetime.fromisoformat(text if _WITH_HOUR.fullmatch(text) else "")
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        # The second: in UTC it would lie before the year 1 or after 9999.
        raise RequestError(
            "not a reference time",
            where=where,
            expected="ISO 8601 with the hour, such as 2026-11-22T00:00Z, or YYYYMMDDHH",
            got=repr(text[:40]),
        ) from error
    return np.datetime64(moment.replace(tzinfo=None), "s")


def iso_time(time: np.datetime64) -> str:
    """``2026-11-22T00:00:00Z``."""
    return f"{np.datetime_as_string(time, unit='s')}Z"


def compact_time(time: np.datetime64) -> str:
    """``20261122T000000Z``: sorts as the times do and is safe in a file name."""
    return iso_time(time).replace("-", "").replace(":", "")
