"""Cells of a grid that a geometry asks for, given in longitude and latitude or in the grid's own plane.

A geometry is tested in the plane of its coordinates: an edge is straight there. Positions on a sphere and on
WGS 84 are not told apart, as is usual of forecast models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from service.errors import RequestError
from service.grids import Grid, product_index

ReferenceSystem = Literal["CRS84", "native"]
"""Longitude and latitude in degrees, or the axes of a projected grid in m."""

_LONGEST_ECHO: Final = 120


@dataclass(frozen=True, eq=False)
class Cells:
    """Some cells of a grid, row by row.

    rows, columns: (n,), of each cell. single: asked for by a point, and so one at most.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    single: bool = False

    @property
    def empty(self) -> bool:
        """Whether the geometry lies beside the grid."""
        return self.rows.size == 0

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the smallest rectangle that holds them; of none where there are none."""
        if self.empty:
            return slice(0, 0), slice(0, 0)
        return (
            slice(int(self.rows.min()), int(self.rows.max()) + 1),
            slice(int(self.columns.min()), int(self.columns.max()) + 1),
        )

    def mask(self) -> NDArray[np.bool_]:
        """Which cells of the window (y, x) are among them."""
        rows, columns = self.window
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.bool_)
        mask[self.rows - rows.start, self.columns - columns.start] = True
        return mask


def cell_at(grid: Grid, x: float, y: float, system: ReferenceSystem) -> Cells:
    """The cell that holds a point, x being the longitude where the system is CRS84."""
    row, column = (int(np.rint(part)) for part in _fractional_index(grid, x, y, system))
    inside = 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]
    found = ([row], [column]) if inside else ([], [])
    return Cells(np.array(found[0], np.intp), np.array(found[1], np.intp), single=True)


def cells_of_point(grid: Grid, text: str, system: ReferenceSystem) -> Cells:
    """The cell that holds the point of a WKT. Raises RequestError."""
    point = _geometry(text, ("POINT",), "coords", system)
    return cell_at(grid, point.x, point.y, system)


def cells_of_area(grid: Grid, text: str, system: ReferenceSystem) -> Cells:
    """Cells with their centre within the polygons of a WKT, see ``cells_within``. Raises RequestError."""
    return cells_within(grid, _geometry(text, ("POLYGON", "MULTIPOLYGON"), "coords", system), system)


def cells_of_box(grid: Grid, text: str, system: ReferenceSystem) -> Cells:
    """Cells with their centre in a box ``west,south,east,north``; of six numbers the vertical ones fall away.

    With CRS84 a box whose west lies east of its east goes over the date line. Raises RequestError.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 6:
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        raise RequestError(
            "not a box", where="bbox", expected="west,south,east,north", got=text[:_LONGEST_ECHO]
        )
    west, south, east, north = numbers
    if system == "CRS84" and west > east:
        east += 360.0
    if west > east or south > north:
        raise RequestError(
            "the box ends before it begins",
            where="bbox",
            expected="west,south,east,north with south <= north",
            got=text[:_LONGEST_ECHO],
        )
    box = shapely.box(west, south, east, north)
    _check_extent(box, "bbox", system)
    return cells_within(grid, box, system)


def cells_within(grid: Grid, shape: BaseGeometry, system: ReferenceSystem) -> Cells:
    """Cells with their centre within a shape or on its edge.

    A shape that lies between the centres, such as a small catchment, gets the one cell that holds its middle.
    """
    x, y = _centres(grid, system)
    if system == "CRS84":
        west, _, east, _ = shape.bounds
        # Whole turns alone: what lies on an edge stays there to the last bit.
        x = x + 360.0 * np.round(((west + east) / 2.0 - x) / 360.0)
    shapely.prepare(shape)
    rows, columns = np.nonzero(shapely.intersects_xy(shape, x, y))
    if rows.size:
        return Cells(rows, columns)
    point = shape.representative_point()
    return cell_at(grid, point.x, point.y, system)


def _centres(grid: Grid, system: ReferenceSystem) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y of every cell, (y, x) both."""
    if system == "CRS84":
        latitude, longitude = grid.latitude_longitude()
        return longitude, latitude
    x, y = np.meshgrid(*_axes(grid))
    return x, y


def _axes(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axes = grid.projection_coordinates()
    if axes is None:
        raise RequestError(
            "the product's own axes are longitude and latitude", where="crs", expected="CRS84", got="native"
        )
    return axes


def _fractional_index(grid: Grid, x: float, y: float, system: ReferenceSystem) -> tuple[float, float]:
    """Row and column of a point, which may lie outside."""
    if system == "CRS84":
        row, column = product_index(grid, y, x)
        return float(row), float(column)
    along_x, along_y = _axes(grid)
    return _position(along_y, y), _position(along_x, x)


def _position(axis: NDArray[np.float64], value: float) -> float:
    """Of a value along an axis of even steps."""
    return float((value - axis[0]) / ((axis[-1] - axis[0]) / (axis.size - 1)))


def _geometry(text: str, kinds: tuple[str, ...], where: str, system: ReferenceSystem) -> BaseGeometry:
    expected = f"WKT of a {' or '.join(kinds)}, longitude before latitude"
    try:
        shape = shapely.from_wkt(text)
    except shapely.errors.ShapelyError as error:
        raise RequestError(
            "not a geometry", where=where, expected=expected, got=text[:_LONGEST_ECHO]
        ) from error
    if shape is None or shape.geom_type.upper() not in kinds or shape.is_empty:
        raise RequestError(
            "another geometry than the query takes", where=where, expected=expected, got=text[:_LONGEST_ECHO]
        )
    if not shape.is_valid:
        raise RequestError(
            "the geometry is not valid", where=where, got=shapely.is_valid_reason(shape)[:_LONGEST_ECHO]
        )
    _check_extent(shape, where, system)
    return shape


def _check_extent(shape: BaseGeometry, where: str, system: ReferenceSystem) -> None:
    west, south, east, north = shape.bounds
    if system == "CRS84" and (
        south < -90.0 or north > 90.0 or west < -360.0 or east > 540.0 or east - west > 360.0
    ):
        raise RequestError(
            "the geometry does not lie on the Earth",
            where=where,
            expected="longitude before latitude, in degrees",
            got=f"{west:g} to {east:g} E, {south:g} to {north:g} N",
        )
