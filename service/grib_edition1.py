"""Accumulated precipitation in GRIB edition 1, the form of many analyses of precipitation.

Messages are decoded by eccodes, positions included: the grid of a header is the positions of its points.
Call it where a crash of the C library does no harm (``service.worker``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import eccodes
import numpy as np
from numpy.typing import NDArray

from service.channels import LevelType
from service.errors import TruncatedInput, WrongGrid
from service.fields import FieldHeader, Values
from service.grids import CurvilinearGrid
from service.units import conversion

READER: Final = "message of edition 1"
"""First word of the locators of this reader."""

_EDITION_OCTET: Final = 7
_SURFACE: Final = 1
_MISSING: Final = 1e36
_PRECIPITATION: Final = "tp"
_MOST_POINTS: Final = 10_000_000
"""A constant field takes no bytes, so that a small file may claim a grid that takes minutes to lay out."""


def is_edition_1(head: bytes) -> bool:
    """Whether the first message in these bytes is of edition 1."""
    start = head.find(b"GRIB")
    return start >= 0 and head[start + _EDITION_OCTET : start + _EDITION_OCTET + 1] == b"\x01"


def scan(path: Path) -> list[FieldHeader]:
    """Headers of the accumulated precipitation at the surface, in file order; other fields are passed over.

    Raises TruncatedInput for messages that do not decode and WrongGrid for points in no order of rows.
    """
    with _decoded(path):
        return [header for number, handle in _messages(path) if (header := _header(handle, number, path))]


def read(header: FieldHeader) -> Values:
    """Amounts in the header's unit, (y, x), NaN where the bitmap has a hole. Raises TruncatedInput."""
    with _decoded(header.path):
        for number, handle in _messages(header.path):
            if number == header.locator[1]:
                eccodes.codes_set(handle, "missingValue", _MISSING)
                values = eccodes.codes_get_array(handle, "values")
                values = np.where(values == _MISSING, np.nan, values).reshape(header.grid.shape)
                change = conversion(header.unit, eccodes.codes_get_string(handle, "units"), header.label)
                return np.asarray(values * change.factor, np.float32)
    raise TruncatedInput("a message is gone", where=header.label, expected="an unchanged file")


def _messages(path: Path) -> Iterator[tuple[int, int]]:
    """Number from 1 and eccodes handle of every message; a handle lasts until the next one is asked for."""
    with path.open("rb") as file:
        number = 0
        while (handle := eccodes.codes_grib_new_from_file(file)) is not None:
            number += 1
            try:
                yield number, handle
            finally:
                eccodes.codes_release(handle)


@contextmanager
def _decoded(path: Path) -> Iterator[None]:
    """Errors of the library, and of octets without a meaning, as ours."""
    try:
        yield
    except (eccodes.CodesInternalError, ValueError, ArithmeticError) as error:
        raise TruncatedInput(
            "a GRIB message that does not decode",
            where=path.name,
            got=str(error),
            advice="send the file again; it was cut off or damaged",
        ) from error


def _header(handle: int, number: int, path: Path) -> FieldHeader | None:
    if eccodes.codes_get_string(handle, "shortName") != _PRECIPITATION or (
        eccodes.codes_get_long(handle, "indicatorOfTypeOfLevel"),
        eccodes.codes_get_string(handle, "stepType"),
    ) != (_SURFACE, "accum"):
        return None
    eccodes.codes_set(handle, "stepUnits", "h")
    date, clock = (eccodes.codes_get_long(handle, key) for key in ("dataDate", "dataTime"))
    day = f"{date // 10000:04d}-{date // 100 % 100:02d}-{date % 100:02d}"
    return FieldHeader(
        quantity="precipitation",
        level_type=LevelType.SURFACE,
        level=0.0,
        unit="mm",
        reference_time=np.datetime64(f"{day}T{clock // 100:02d}:{clock % 100:02d}", "s"),
        lead_start_hours=float(eccodes.codes_get_long(handle, "startStep")),
        lead_hours=float(eccodes.codes_get_long(handle, "endStep")),
        grid=_grid(handle, path),
        grid_relative_winds=None,
        centre=eccodes.codes_get_long(handle, "centre"),
        path=path,
        locator=(READER, number),
        packing_step=float(
            2.0 ** eccodes.codes_get_long(handle, "binaryScaleFactor")
            / 10.0 ** eccodes.codes_get_long(handle, "decimalScaleFactor")
        ),
    )


def _grid(handle: int, path: Path) -> CurvilinearGrid:
    nx, ny = (eccodes.codes_get_long(handle, key) for key in ("Ni", "Nj"))
    if nx * ny > _MOST_POINTS:
        raise WrongGrid(
            "a grid of more points than any analysis has",
            where=path.name,
            expected=f"at most {_MOST_POINTS} points",
            got=f"{nx} x {ny} points",
        )
    latitude, longitude = (
        np.asarray(eccodes.codes_get_double_array(handle, key)) for key in ("latitudes", "longitudes")
    )
    in_rows = not (
        eccodes.codes_get_long(handle, "jPointsAreConsecutive")
        or eccodes.codes_get_long(handle, "alternativeRowScanning")
    )
    if not in_rows or latitude.size != nx * ny:
        raise WrongGrid(
            "points that do not follow one another row by row",
            where=path.name,
            expected=f"{nx} x {ny} points, row by row",
            got=f"{latitude.size} points of {eccodes.codes_get_string(handle, 'gridType')}",
        )
    shape: NDArray[np.float64] = latitude.reshape(ny, nx)
    return CurvilinearGrid(shape, longitude.reshape(ny, nx))
