"""What lies under the rain on the map: coasts, borders, places and a graticule, on the grid of a product.

Everything is in columns and rows of the grid, so that a page can draw it without knowing the projection.
Natural Earth's shapes cover the region of ``borders.json``; elsewhere the graticule stays.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.assets import read_asset
from service.grids import Grid, LatitudeLongitudeGrid, product_index

LINE_LAYERS: Final = ("land", "lakes", "countries", "provinces")

_MARGIN_CELLS: Final = 60.0
"""Lines are kept as far beyond the grid: a map that is wider than the grid shows what is around it."""

_GRATICULE_STEPS_DEGREES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_LINES_ACROSS: Final = 8
_MESH_CELLS: Final = 8


@lru_cache(maxsize=8)
def map_lines(grid: Grid) -> dict[str, Any]:
    """Lines as column, row, column, row ...; the centre of the first cell is 0, 0.

    ``land`` and ``lakes`` are rings. ``mesh`` has the position of every eighth cell in degrees, from which
    that of any other follows within metres by linear interpolation.
    """
    borders = json.loads(read_asset("borders.json").body.content)
    lines = {name: _projected_lines(grid, borders[name]) for name in LINE_LAYERS}
    return {
        **lines,
        "parallels": _graticule(grid, of_latitude=True),
        "meridians": _graticule(grid, of_latitude=False),
        "places": _places(grid),
        "mesh": _mesh(grid),
    }


def cell_aspect(grid: Grid) -> float:
    """Height of a cell over its width: one on a projection, more on a grid of degrees."""
    if not isinstance(grid, LatitudeLongitudeGrid):
        return 1.0
    latitude, _ = grid.latitude_longitude()
    steps = abs(grid.latitude_step_degrees / grid.longitude_step_degrees)
    return float(steps / np.cos(np.radians(latitude.mean())))


def first_row_is_south(grid: Grid) -> bool:
    """Whether row 0 is the lower edge of the map."""
    latitude, _ = grid.latitude_longitude()
    return bool(latitude[0].mean() < latitude[-1].mean())


def _projected_lines(grid: Grid, lines: list[list[float]]) -> list[list[float]]:
    projected = (_project(grid, np.reshape(line, (-1, 2))) for line in lines)
    return [_flat(points) for points in projected if _is_near(grid, points)]


def _project(grid: Grid, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(point, [column, row]) of (point, [longitude, latitude])."""
    row, column = product_index(grid, points[:, 1], points[:, 0])
    return np.stack([column, row], axis=1)


def _is_near(grid: Grid, points: NDArray[np.float64]) -> bool:
    """Whether the box around the points meets the grid and its margin."""
    ny, nx = grid.shape
    low, high = points.min(axis=0), points.max(axis=0)
    return bool((high >= -_MARGIN_CELLS).all() and (low <= np.array([nx, ny]) + _MARGIN_CELLS).all())


def _flat(points: NDArray[np.float64]) -> list[float]:
    return [float(number) for number in np.round(points, 2).ravel()]


def _graticule(grid: Grid, *, of_latitude: bool) -> list[dict[str, Any]]:
    """Parallels or meridians, a little longer than the grid, with the degrees that label them."""
    latitude, longitude = grid.latitude_longitude()
    longitude = _continuous(longitude)
    along, across = (longitude, latitude) if of_latitude else (latitude, longitude)
    step = _step(max(float(np.ptp(latitude)), float(np.ptp(longitude))))
    span = np.linspace(along.min() - 2 * step, along.max() + 2 * step, 60)
    lines = []
    for value in np.arange(np.floor(across.min() / step) - 1, np.ceil(across.max() / step) + 2) * step:
        fixed = np.full_like(span, value)
        points = np.stack([span, fixed] if of_latitude else [fixed, span], axis=1)
        lines.append({"degrees": float(value), "line": _flat(_project(grid, points))})
    return lines


def _step(extent_degrees: float) -> float:
    return next((step for step in _GRATICULE_STEPS_DEGREES if extent_degrees / step <= _LINES_ACROSS), 30.0)


def _places(grid: Grid) -> list[dict[str, Any]]:
    ny, nx = grid.shape
    places = []
    for place in json.loads(read_asset("places.json").body.content):
        ((column, row),) = _project(grid, np.array([[place["longitude"], place["latitude"]]]))
        if 0 <= column < nx and 0 <= row < ny:
            places.append(
                {
                    **{name: place[name] for name in ("en", "ko", "rank")},
                    "column": round(float(column), 2),
                    "row": round(float(row), 2),
                }
            )
    return places


def _mesh(grid: Grid) -> dict[str, Any]:
    """Rows and columns of the mesh, and latitude and longitude (row, column) there."""
    latitude, longitude = grid.latitude_longitude()
    rows, columns = (_every(count) for count in grid.shape)
    at = np.ix_(rows, columns)
    return {
        "rows": rows,
        "columns": columns,
        "latitude": np.round(latitude[at], 5).tolist(),
        "longitude": np.round(_continuous(longitude)[at], 5).tolist(),
    }


def _every(count: int) -> list[int]:
    return sorted({*range(0, count, _MESH_CELLS), count - 1})


def _continuous(longitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitudes without a jump at the date line."""
    first = longitude.flat[0]
    return np.asarray(first + (longitude - first + 180.0) % 360.0 - 180.0)
