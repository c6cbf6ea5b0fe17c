"""GRIB2 messages for tests, written by eccodes; message surgery by the octets of the WMO manual."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyproj
from numpy.typing import NDArray

import eccodes  # isort: skip  # pyproj first: see service/__init__.py

EARTH_RADIUS_M = 6371229.0
REFERENCE_TIME = np.datetime64("2022-08-09T18:00:00", "s")
NX, NY, SPACING_M = 9, 7, 5000.0

Keys = dict[str, int | float | str]


def lambert(
    nx: int = NX, ny: int = NY, spacing_m: float = SPACING_M
) -> tuple[pyproj.Proj, NDArray[np.float64], NDArray[np.float64]]:
    """PROJ's projection and the coordinates x (nx,) and y (ny,) of the sample grid, in m."""
    projection = pyproj.Proj(f"+proj=lcc +lat_1=30 +lat_2=60 +lat_0=38 +lon_0=126 +R={EARTH_RADIUS_M}")
    columns, rows = np.arange(nx, dtype=np.float64), np.arange(ny, dtype=np.float64)
    return projection, spacing_m * columns - 20_000.0, spacing_m * rows - 15_000.0


@dataclass(frozen=True)
class Scan:
    """The four flags of flag table 3.4 that have a meaning for a grid without staggering."""

    x_decreases: bool = False
    y_increases: bool = True
    columns_first: bool = False
    alternating: bool = False

    def order(self, ny: int, nx: int) -> Iterator[tuple[int, int]]:
        """(row, column), row 0 in the south and column 0 in the west, in the order of the file."""
        rows = list(range(ny)) if self.y_increases else list(range(ny - 1, -1, -1))
        columns = list(range(nx - 1, -1, -1)) if self.x_decreases else list(range(nx))
        outer, inner = (columns, rows) if self.columns_first else (rows, columns)
        for count, first in enumerate(outer):
            for second in reversed(inner) if self.alternating and count % 2 else inner:
                yield (second, first) if self.columns_first else (first, second)


SCANS = [Scan(*(bool(bits & (1 << bit)) for bit in range(4))) for bits in range(16)]


@dataclass(frozen=True)
class Sample:
    """A message to be.

    values: (y, x), south to north and west to east, NaN for the bitmap's holes.
    keys: further keys of eccodes, set last; with ``gridType`` among them they replace the sample grid.
    """

    values: NDArray[np.float64]
    code: tuple[int, int, int] = (0, 0, 0)
    surface: tuple[int, int] = (100, 85000)
    lead_hours: int = 24
    start_hours: int | None = None
    packing: str = "grid_simple"
    scan: Scan = field(default_factory=Scan)
    grid_relative: bool = False
    reference_time: np.datetime64 = REFERENCE_TIME
    centre: int = 40
    bits: int = 20
    spacing_m: float = SPACING_M
    keys: Keys = field(default_factory=dict)

    def message(self) -> bytes:
        """As eccodes writes it."""
        handle = eccodes.codes_grib_new_from_samples("GRIB2")
        try:
            grid = {} if "gridType" in self.keys else self._grid()
            for key, value in (self._head() | grid | self._time() | self.keys).items():
                eccodes.codes_set(handle, key, value)
            ny, nx = self.values.shape
            points = self.values.ravel()
            if self.scan != Scan():
                points = np.array([self.values[place] for place in self.scan.order(ny, nx)])
            holes = np.isnan(points)
            if holes.any():
                eccodes.codes_set(handle, "bitmapPresent", 1)
                eccodes.codes_set(handle, "missingValue", 1e34)
            eccodes.codes_set(handle, "packingType", self.packing)
            eccodes.codes_set(handle, "bitsPerValue", self.bits)
            eccodes.codes_set_values(handle, np.where(holes, 1e34, points))
            message: bytes = eccodes.codes_get_message(handle)
        finally:
            eccodes.codes_release(handle)
        return message

    def _head(self) -> Keys:
        text = str(self.reference_time)
        return {
            "centre": self.centre,
            "significanceOfReferenceTime": 1,
            "dataDate": int(text[:10].replace("-", "")),
            "dataTime": int(text[11:13]) * 100,
        }

    def _grid(self) -> Keys:
        ny, nx = self.values.shape
        projection, x, y = lambert(nx, ny, self.spacing_m)
        first = next(self.scan.order(ny, nx))
        longitude, latitude = projection(x[first[1]], y[first[0]], inverse=True)
        return {
            "gridType": "lambert",
            "shapeOfTheEarth": 6,
            "Nx": nx,
            "Ny": ny,
            "latitudeOfFirstGridPointInDegrees": latitude,
            "longitudeOfFirstGridPointInDegrees": longitude,
            "LaDInDegrees": 38.0,
            "LoVInDegrees": 126.0,
            "DxInMetres": self.spacing_m,
            "DyInMetres": self.spacing_m,
            "Latin1InDegrees": 30.0,
            "Latin2InDegrees": 60.0,
            "iScansNegatively": int(self.scan.x_decreases),
            "jScansPositively": int(self.scan.y_increases),
            "jPointsAreConsecutive": int(self.scan.columns_first),
            "alternativeRowScanning": int(self.scan.alternating),
            "uvRelativeToGrid": int(self.grid_relative),
        }

    def _time(self) -> Keys:
        interval = self.start_hours is not None
        keys: Keys = {
            "discipline": self.code[0],
            "productDefinitionTemplateNumber": 8 if interval else 0,
            "parameterCategory": self.code[1],
            "parameterNumber": self.code[2],
            "indicatorOfUnitOfTimeRange": 1,
            "typeOfFirstFixedSurface": self.surface[0],
            "scaleFactorOfFirstFixedSurface": 0,
            "scaledValueOfFirstFixedSurface": self.surface[1],
            "forecastTime": self.lead_hours if self.start_hours is None else self.start_hours,
        }
        if self.start_hours is not None:
            keys |= {
                "typeOfStatisticalProcessing": 1,
                "typeOfTimeIncrement": 2,
                "indicatorOfUnitForTimeRange": 1,
                "lengthOfTimeRange": self.lead_hours - self.start_hours,
                **end_of_interval(self.reference_time + np.timedelta64(self.lead_hours, "h")),
            }
        return keys


def end_of_interval(moment: np.datetime64) -> Keys:
    """The keys of the end of an overall time interval."""
    time = moment.astype("datetime64[s]").item()
    names = ("year", "month", "day", "hour", "minute", "second")
    return {f"{name}OfEndOfOverallTimeInterval": getattr(time, name) for name in names}


def smooth(
    seed: int = 0, low: float = 260.0, high: float = 290.0, ny: int = NY, nx: int = NX
) -> NDArray[np.float64]:
    """Values (y, x) that all differ."""
    generator = np.random.default_rng(seed)
    steps = generator.permutation(ny * nx).reshape(ny, nx) / (ny * nx - 1)
    return low + (high - low) * steps


def sections(message: bytes) -> list[tuple[int, bytes]]:
    """Numbers and octets of sections 1 to 7."""
    found, offset = [], 16
    while message[offset : offset + 4] != b"7777" or offset < len(message) - 4:
        length = int.from_bytes(message[offset : offset + 4], "big")
        found.append((message[offset + 4], message[offset : offset + length]))
        offset += length
    return found


def joined(discipline: int, parts: list[bytes]) -> bytes:
    """Sections 1 to 7 as one message."""
    body = b"".join(parts)
    return b"GRIB\0\0" + bytes((discipline, 2)) + (20 + len(body)).to_bytes(8, "big") + body + b"7777"


def multi_field(first: bytes, *others: bytes, repeat_from: int = 4) -> bytes:
    """One message of several fields: of the others only the sections from ``repeat_from`` on."""
    parts = [octets for _, octets in sections(first)]
    for other in others:
        parts += [octets for number, octets in sections(other) if number >= repeat_from]
    return joined(first[6], parts)


def write(path: Path, *messages: bytes | Sample) -> Path:
    """Messages one after another."""
    path.write_bytes(b"".join(one.message() if isinstance(one, Sample) else one for one in messages))
    return path
