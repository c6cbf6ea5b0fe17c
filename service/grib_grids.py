"""Section 3 of GRIB2: the grid and the order of its points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.errors import WrongGrid
from service.fields import Region
from service.grib_sections import scaled, signed, unsigned
from service.grids import CurvilinearGrid, Grid, LambertGrid, LatitudeLongitudeGrid
from service.projections import LambertConformal

LATITUDE_LONGITUDE, LAMBERT = 0, 30
_DEGREE: Final = 1e-6
_MILLIMETRE: Final = 1e-3
_SPHERES_M: Final = {0: 6367470.0, 6: 6371229.0, 8: 6371200.0}
_ELLIPSOIDS_M: Final = {
    2: (6378160.0, 6356775.0),
    4: (6378137.0, 6356752.314140356),
    5: (6378137.0, 6356752.314245179),
    9: (6377563.396, 6356256.909),
}
"""Code table 3.2: semi-major and semi-minor axis."""

_FLAGS_AND_SCANNING: Final = {
    0: (55, 72),
    1: (55, 72),
    10: (47, 60),
    20: (47, 65),
    30: (47, 65),
    40: (55, 72),
}
"""Template to the octets of its component flags and scanning mode."""

_PROJECTED_BY_ECCODES: Final = (10, 20)
_MOST_POINTS: Final = 50_000_000
"""A constant field takes no bytes, so that a small file may claim a grid that fills the memory."""

PointReader = Callable[[], tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Scanning:
    """Order in which the points follow one another (flag table 3.4)."""

    ny: int
    nx: int
    x_decreases: bool
    y_increases: bool
    columns_first: bool
    alternating: bool

    def arranged(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points in file order as (y, x) with x growing along columns and y along rows."""
        shape = (self.nx, self.ny) if self.columns_first else (self.ny, self.nx)
        rows = points.reshape(shape)
        if self.alternating:
            rows = rows.copy()
            rows[1::2] = rows[1::2, ::-1]
        grid = rows.T if self.columns_first else rows
        return grid[:: 1 if self.y_increases else -1, :: -1 if self.x_decreases else 1]

    def positions(self, region: Region) -> NDArray[np.int64]:
        """Where the points of a region, (y, x), stand in the order of the file.

        ``points[positions(region)]`` is ``arranged(points)`` in the region.
        """
        rows = np.arange(region.rows.start, region.rows.stop)[:, None]
        columns = np.arange(region.columns.start, region.columns.stop)[None, :]
        if not self.y_increases:
            rows = self.ny - 1 - rows
        if self.x_decreases:
            columns = self.nx - 1 - columns
        line, place, length = (columns, rows, self.ny) if self.columns_first else (rows, columns, self.nx)
        if self.alternating:
            place = np.where(line % 2, length - 1 - place, place)
        return np.asarray(line * length + place, np.int64)


@dataclass(frozen=True)
class GridSection:
    """grid: row 0 has the smallest y, column 0 the smallest x, whatever the order in the file."""

    grid: Grid
    scanning: Scanning
    grid_relative_winds: bool


def grid_section(section: bytes, where: str, read_points: PointReader) -> GridSection:
    """Of section 3, whole.

    read_points: latitudes and longitudes in file order, asked for where the template has no closed form here.
    Raises WrongGrid for lists of points, reduced grids, spectral coefficients and staggered points.
    """
    template = unsigned(section, 13, 2)
    order = scanning(section, where)
    if template == LAMBERT:
        grid: Grid = _lambert(section, order, where)
    elif template == LATITUDE_LONGITUDE:
        grid = _latitude_longitude(section, order, where)
    else:
        _check_iterator(template, order, where)
        latitude, longitude = read_points()
        grid = CurvilinearGrid(order.arranged(latitude), order.arranged(longitude))
    return GridSection(grid, order, bool(unsigned(section, _FLAGS_AND_SCANNING[template][0], 1) & 0x08))


def scanning(section: bytes, where: str) -> Scanning:
    """The order of points of section 3, whole; raises WrongGrid as ``grid_section`` does."""
    template = unsigned(section, 13, 2)
    if unsigned(section, 6, 1) != 0 or unsigned(section, 11, 1) != 0 or template not in _FLAGS_AND_SCANNING:
        raise WrongGrid(
            "A field does not lie on a grid of rows and columns",
            where=where,
            expected=f"template 3.n with n one of {sorted(_FLAGS_AND_SCANNING)}, not reduced",
            got=f"template 3.{template}",
        )
    flags = unsigned(section, _FLAGS_AND_SCANNING[template][1], 1)
    nx, ny = unsigned(section, 31, 4), unsigned(section, 35, 4)
    points = unsigned(section, 7, 4)
    if flags & 0x0F or nx * ny != points or min(nx, ny) < 2 or points > _MOST_POINTS:
        raise WrongGrid(
            "The points of a grid are staggered, too many or do not fill its rows",
            where=where,
            expected=f"{points} points in rows of equal length, without offsets, {_MOST_POINTS} at most",
            got=f"{nx} x {ny} points, scanning mode {flags:#04x}",
        )
    return Scanning(ny, nx, bool(flags & 0x80), bool(flags & 0x40), bool(flags & 0x20), bool(flags & 0x10))


def _check_iterator(template: int, scanning: Scanning, where: str) -> None:
    """eccodes walks the points of a projected grid eastward and northward whatever the scanning mode says,
    and knows no alternating rows: any other order would put the values in the wrong places.
    """
    projected = template in _PROJECTED_BY_ECCODES
    reversed_axis = scanning.x_decreases or not scanning.y_increases
    if scanning.alternating or scanning.columns_first or (projected and reversed_axis):
        raise WrongGrid(
            "A scanning mode that is not supported for this projection",
            where=where,
            expected=f"rows from south to north, points from west to east, for template 3.{template}",
            got=f"{scanning}",
            advice="Convert the file to a Lambert or latitude-longitude grid.",
        )


def _lambert(section: bytes, scanning: Scanning, where: str) -> LambertGrid:
    if unsigned(section, 64, 1) & 0x40:
        raise WrongGrid(
            "A Lambert grid on two cones at once",
            where=where,
            expected="a projection centre flag without the bit for a bipolar projection",
            got=f"{unsigned(section, 64, 1):#04x}",
        )
    semi_major, semi_minor = _earth(section, where)
    projection = LambertConformal(
        (signed(section, 66, 4) * _DEGREE, signed(section, 70, 4) * _DEGREE),
        signed(section, 48, 4) * _DEGREE,
        signed(section, 52, 4) * _DEGREE,
        semi_major,
        semi_minor,
    )
    x_step = unsigned(section, 56, 4) * _MILLIMETRE
    y_step = unsigned(section, 60, 4) * _MILLIMETRE
    latitude, longitude = signed(section, 39, 4) * _DEGREE, signed(section, 43, 4) * _DEGREE
    if abs(latitude) > 90.0:
        raise WrongGrid(
            "The first point of a grid is not on the Earth",
            where=where,
            expected="a latitude within -90 to 90",
            got=f"{latitude:g}",
        )
    x, y = projection.forward(np.array(latitude), np.array(longitude))
    x_first = float(x) - (scanning.nx - 1) * x_step * scanning.x_decreases
    y_first = float(y) - (scanning.ny - 1) * y_step * (not scanning.y_increases)
    return LambertGrid(projection, scanning.nx, scanning.ny, x_first, y_first, x_step, y_step)


def _earth(section: bytes, where: str) -> tuple[float, float]:
    """Semi-major and semi-minor axis in m, code table 3.2."""
    shape = unsigned(section, 15, 1)
    if shape in _SPHERES_M:
        return _SPHERES_M[shape], _SPHERES_M[shape]
    if shape in _ELLIPSOIDS_M:
        return _ELLIPSOIDS_M[shape]
    if shape == 1:
        radius = scaled(section, 16)
        return radius, radius
    if shape in {3, 7}:
        unit_m = 1000.0 if shape == 3 else 1.0
        return scaled(section, 21) * unit_m, scaled(section, 26) * unit_m
    raise WrongGrid(
        "The shape of the Earth is not known",
        where=where,
        expected="code 0 to 9 of code table 3.2",
        got=str(shape),
    )


def _latitude_longitude(section: bytes, scanning: Scanning, where: str) -> LatitudeLongitudeGrid:
    basic, divisions = unsigned(section, 39, 4), unsigned(section, 43, 4)
    custom = basic not in {0, 0xFFFFFFFF} and divisions not in {0, 0xFFFFFFFF}
    unit = basic / divisions if custom else _DEGREE
    first_latitude, first_longitude = signed(section, 47, 4) * unit, signed(section, 51, 4) * unit
    last_latitude, last_longitude = signed(section, 56, 4) * unit, signed(section, 60, 4) * unit
    south, north = sorted((first_latitude, last_latitude))
    west, east = (
        (last_longitude, first_longitude) if scanning.x_decreases else (first_longitude, last_longitude)
    )
    extent = (east - west) % 360.0
    if north == south or extent == 0.0 or (first_latitude < last_latitude) != scanning.y_increases:
        raise WrongGrid(
            "First and last point of a latitude-longitude grid contradict its scanning mode",
            where=where,
            expected="first and last point at opposite corners",
            got=f"{first_latitude} N {first_longitude} E to {last_latitude} N {last_longitude} E",
        )
    # The corners are exact; the increments are rounded to a millionth of a degree or missing.
    return LatitudeLongitudeGrid(
        scanning.nx,
        scanning.ny,
        south,
        west,
        (north - south) / (scanning.ny - 1),
        extent / (scanning.nx - 1),
    )
