"""QPE in the forms of the digital forecast (DFS) of the Korea Meteorological Administration.

Text: comma-separated values, twenty a line, with or without the two integers nx and ny before them. Binary:
a header of 256 bytes and one plane of little-endian float32. Both run from south to north, say neither where
their points lie nor when they are from, and write -99 where nothing was observed: the grid is that of the
model, the hour is in the name of the file, in Korea Standard Time, and the amount is that of one hour.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.errors import PhysicalLimit, TruncatedInput, WrongGrid, WrongPeriod

MISSING_MM: Final = -99.0
HEADER_BYTES: Final = 256
PERIOD_HOURS: Final = 1
KOREA_STANDARD_TIME: Final = np.timedelta64(9, "h")

_TEXT: Final = re.compile(rb"\s*[-+.\d][-+.,eE\d\s]*")
_SEPARATORS: Final = re.compile(r"[,\s]+")
_STAMP: Final = re.compile(r"(?<!\d)\d{10}(?:\d\d)?(?!\d)")
_VALUE_BYTES: Final = 4
_LEAST_AMOUNT_MM: Final = 1e-6
"""Nothing measures less than this and more than nothing, but bytes in the wrong order look so."""


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are numbers and commas."""
    return _TEXT.fullmatch(head) is not None


def is_binary(size_bytes: int, shape: tuple[int, int]) -> bool:
    """Whether a file is as long as a header and whole planes of a grid of shape (ny, nx)."""
    planes, rest = divmod(size_bytes - HEADER_BYTES, _VALUE_BYTES * shape[0] * shape[1])
    return planes > 0 and rest == 0


def read_text(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Amounts in mm, (y, x) of this shape, NaN where nothing was observed.

    Raises TruncatedInput for fewer values or for what is not a number, WrongGrid for another grid.
    """
    ny, nx = shape
    words = _SEPARATORS.split(path.read_text("ascii").strip(" ,\r\n\t"))
    try:
        values = np.array(words, np.float64)
    except ValueError as error:
        raise TruncatedInput(
            "a value of a DFS grid is not a number", where=path.name, got=str(error)[:100]
        ) from error
    headed = values.size != ny * nx and words[:2] == [str(nx), str(ny)]
    if headed:
        values = values[2:]
    if values.size != ny * nx:
        kind = TruncatedInput if headed or values.size < ny * nx else WrongGrid
        raise kind(
            "a DFS grid with another number of values than the grid of the model",
            where=path.name,
            expected=f"{ny * nx} values, {nx} x {ny} (x by y), with or without nx and ny before them",
            got=f"{values.size} values, beginning with {', '.join(words[:3])}",
            advice="fetch the file again, over the whole grid",
        )
    return _amounts(values, shape)


def read_binary(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """As ``read_text``. Raises WrongGrid for more than one plane and PhysicalLimit for big-endian values."""
    values = np.fromfile(path, "<f4", offset=HEADER_BYTES)
    if values.size != shape[0] * shape[1]:
        raise WrongGrid(
            "a DFS file with more than one plane",
            where=path.name,
            expected=f"{HEADER_BYTES} bytes and one plane of {shape[1]} x {shape[0]} values (x by y)",
            got=f"{values.size // (shape[0] * shape[1])} planes",
            advice="fetch the hourly rain (RN1) of one hour alone",
        )
    tiny = (values > 0.0) & (values < _LEAST_AMOUNT_MM)
    if tiny.any():
        raise PhysicalLimit(
            "values of a DFS file that nothing measures",
            where=path.name,
            expected="little-endian float32, in mm",
            got=f"{int(tiny.sum())} values, the first {values[tiny][0]:g}, which in the other byte order is "
            f"{values[tiny][:1].byteswap()[0]:g}",
        )
    return _amounts(values, shape)


def named_time(name: str) -> np.datetime64 | None:
    """The time in a file's name, YYYYMMDDHH or YYYYMMDDHHMM in KST, as UTC; None where there is none.

    Raises WrongPeriod for a name with more than one.
    """
    found = {moment for text in _STAMP.findall(name) if (moment := _moment(text)) is not None}
    if len(found) > 1:
        raise WrongPeriod(
            "the name of a DFS file holds more than one time",
            where=name,
            expected="the end of the hour as YYYYMMDDHH, KST",
            got=", ".join(str(moment) for moment in sorted(found)),
            advice="an observation has one time; a forecast has two, and is none",
        )
    return found.pop() - KOREA_STANDARD_TIME if found else None


def _moment(text: str) -> np.datetime64 | None:
    try:
        return np.datetime64(datetime.strptime(text.ljust(12, "0"), "%Y%m%d%H%M"), "s")  # noqa: DTZ007
    except ValueError:
        return None


def _amounts(values: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.float32]:
    amounts = np.where(np.isclose(values, MISSING_MM, rtol=0.0, atol=1e-3), np.nan, values)
    return amounts.astype(np.float32).reshape(shape)
