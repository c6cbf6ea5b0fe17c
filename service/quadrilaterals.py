"""In which quadrilateral of a grid does a point lie, and where in it.

The search of Kim, Shim and Shin (2019), Atmosphere 10(3), 123, doi:10.3390/atmos10030123: the source is put
into cells, and each target looks only into the neighbouring ones. The cells here are cubes in the space
around the unit sphere, which has neither poles nor a date line, and what they list are quadrilaterals, by
their middle. A cube is wider than the largest distance from a middle to its corners, hence the quadrilateral
that holds a target is always listed in one of the 27 cubes around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.grids import Grid, LatitudeLongitudeGrid
from service.projections import unit_vectors

Float64 = NDArray[np.float64]
Index = NDArray[np.int64]

EDGE_TOLERANCE: Final = 1e-4
"""Part of a cell by which a target may lie beyond the source: headers round to a millionth of a degree and
float32 coordinates to 4e-6 degrees, some 1e-4 of a cell of 3 km. Such a target is put on the edge."""

_ON_EDGE: Final = 1e-9
"""Part of a cell that is rounding: a target this near to an edge is on it, and takes nothing from beyond."""

_TARGETS_AT_ONCE: Final = 8192
_CUBE_WIDTH: Final = 1.1
"""In units of the largest distance from a middle to its corners. The excess over 1 finds targets between a
great circle and the grid's own curved edge."""


@dataclass(frozen=True)
class Placement:
    """Where targets lie in a grid, each array (target,).

    row, column: first corner of the quadrilateral, which extends to the next row and column (the first
    column again, where a grid closes around the globe).
    y, x: position in it, 0 to 1 along rows and columns.
    inside: False where no quadrilateral holds the target; the other arrays mean nothing there.
    """

    row: Index
    column: Index
    y: Float64
    x: Float64
    inside: NDArray[np.bool_]


def placed_targets(source: Grid, latitude: Float64, longitude: Float64) -> Placement:
    """Place the targets, 1-D arrays of degrees, in the source.

    In a grid with a closed form the position is exact in its own plane (projected metres, or degrees);
    elsewhere it is bilinear in the gnomonic projection at the target, where great circles are straight.
    """
    placement = _searched(source, latitude, longitude)
    return _placed_in_own_plane(source, latitude, longitude, placement)


def _placed_in_own_plane(source: Grid, latitude: Float64, longitude: Float64, found: Placement) -> Placement:
    exact = source.fractional_index(latitude, longitude)
    if exact is None:
        inside = found.inside & (_violation(found.x, found.y) <= EDGE_TOLERANCE)
        return Placement(found.row, found.column, _within(found.y), _within(found.x), inside)
    ny, nx = source.shape
    # The search sees great circles where the grid's own edges are curved: beside an edge it may name the
    # neighbour. It never names more than that unless a cell is dozens of times longer than it is wide.
    row = np.clip(found.row + _one_step(exact[0] - found.row), 0, ny - 2)
    if _cyclic(source):
        column = np.mod(found.column + _one_step(_around(exact[1] - found.column, nx)), nx)
        x = _around(exact[1] - column, nx)
    else:
        column = np.clip(found.column + _one_step(exact[1] - found.column), 0, nx - 2)
        x = exact[1] - column
    y = exact[0] - row
    inside = found.inside & (_violation(x, y) <= EDGE_TOLERANCE)
    return Placement(row, column, _within(y), _within(x), inside)


def _searched(source: Grid, latitude: Float64, longitude: Float64) -> Placement:
    """The quadrilateral of each target that holds it, or comes nearest to holding it, by linked cells."""
    corners = _Corners(source)
    targets = unit_vectors(latitude, longitude)
    row = np.zeros(len(targets), np.int64)
    column, y, x = row.copy(), np.zeros(len(targets)), np.zeros(len(targets))
    found = np.zeros(len(targets), np.bool_)
    cells = _LinkedCells.around(corners, targets)
    if cells is not None:
        for start in range(0, len(targets), _TARGETS_AT_ONCE):
            part = slice(start, start + _TARGETS_AT_ONCE)
            target, quadrilateral = cells.candidates(targets[part])
            flat = _gnomonic(
                corners.of(quadrilateral),
                targets[part][target],
                latitude[part][target],
                longitude[part][target],
            )
            candidate_x, candidate_y = _inverse_bilinear(flat)
            best = _best(target, _violation(candidate_x, candidate_y))
            place = start + target[best]
            row[place], column[place] = np.divmod(quadrilateral[best], corners.columns)
            y[place], x[place], found[place] = candidate_y[best], candidate_x[best], True
    return Placement(row, column, y, x, found)


class _Corners:
    """Unit vectors of a source's points, and its quadrilaterals by number (row major)."""

    def __init__(self, source: Grid) -> None:
        self.points = unit_vectors(*source.latitude_longitude())
        if _cyclic(source):
            self.points = np.concatenate([self.points, self.points[:, :1]], axis=1)
        self.columns = self.points.shape[1] - 1

    def of(self, quadrilateral: Index) -> Float64:
        """(n, 4, 3): first row's two corners, then the next row's."""
        row, column = np.divmod(quadrilateral, self.columns)
        return np.stack(
            [self.points[row + down, column + right] for down in (0, 1) for right in (0, 1)], axis=1
        )

    def middles(self) -> tuple[Float64, Float64]:
        """Middle (n, 3) of every quadrilateral and the largest distance (n,) to its corners."""
        p = self.points
        quarters = (p[:-1, :-1], p[:-1, 1:], p[1:, :-1], p[1:, 1:])
        middle = 0.25 * (quarters[0] + quarters[1] + quarters[2] + quarters[3])
        reach = np.zeros(middle.shape[:2])
        for corner in quarters:
            np.maximum(reach, _square_length(corner - middle), out=reach)
        return middle.reshape(-1, 3), np.sqrt(reach).ravel()


@dataclass(frozen=True)
class _LinkedCells:
    """Quadrilaterals sorted by the number of the cube that holds their middle."""

    cubes: Index
    quadrilaterals: Index
    width: float

    @classmethod
    def around(cls, corners: _Corners, targets: Float64) -> _LinkedCells | None:
        """Those quadrilaterals that can hold any target; None where there are none."""
        middle, reach = corners.middles()
        centre = targets.mean(axis=0)
        extent = np.sqrt(_square_length(targets - centre).max())
        near = np.flatnonzero(_square_length(middle - centre) <= (extent + _CUBE_WIDTH * reach) ** 2)
        if not near.size:
            return None
        width = _CUBE_WIDTH * float(reach[near].max())
        cubes = _number(*_cube(middle[near], width), width)
        order = np.argsort(cubes, kind="stable")
        return cls(cubes[order], near[order], width)

    def candidates(self, targets: Float64) -> tuple[Index, Index]:
        """Pairs (target, quadrilateral) of all quadrilaterals in the 27 cubes around each target."""
        a, b, c = _cube(targets, self.width)
        steps = (-1, 0, 1)
        # Cubes that follow each other along the third axis have consecutive numbers: one range of three.
        base = np.stack([_number(a + i, b + j, c, self.width) for i in steps for j in steps], axis=1)
        first = np.searchsorted(self.cubes, base - 1, side="left")
        count = np.searchsorted(self.cubes, base + 1, side="right") - first
        target = np.repeat(np.arange(len(targets)), count.sum(axis=1))
        count, first = count.ravel(), first.ravel()
        position = np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)
        return target, self.quadrilaterals[position]


def _cube(vectors: Float64, width: float) -> tuple[Index, Index, Index]:
    """Indices along the three axes, at least 1, so that neighbours are not negative."""
    index = np.floor((vectors + 1.0) / width).astype(np.int64) + 1
    return index[:, 0], index[:, 1], index[:, 2]


def _number(a: Index, b: Index, c: Index, width: float) -> Index:
    count = int(2.0 / width) + 4
    return (a * count + b) * count + c


def _gnomonic(corners: Float64, target: Float64, latitude: Float64, longitude: Float64) -> Float64:
    """Corners (n, 4, 3) in the plane that touches the sphere at each target: (n, 4, 2), target at (0, 0)."""
    north, east = np.radians(latitude), np.radians(longitude)
    along = np.stack([-np.sin(east), np.cos(east), np.zeros_like(east)], axis=1)
    up = np.stack([-np.sin(north) * np.cos(east), -np.sin(north) * np.sin(east), np.cos(north)], axis=1)
    depth = np.einsum("nij,nj->ni", corners, target)
    plane = np.stack([np.einsum("nij,nj->ni", corners, axis) for axis in (along, up)], axis=2)
    # A corner on the far hemisphere has no image.
    return plane / np.where(depth > 0.0, depth, np.nan)[:, :, np.newaxis]


def _inverse_bilinear(corners: Float64) -> tuple[Float64, Float64]:
    """(x, y) with corners (n, 4, 2) interpolated to (0, 0) at them; NaN where there is none.

    With A the first corner, B and C the edges along columns and rows and D what a parallelogram lacks,
    A + x B + y C + x y D = 0. The cross product with B + y D leaves a quadratic in y.
    """
    first = corners[:, 0]
    along, up = corners[:, 1] - first, corners[:, 2] - first
    twist = corners[:, 3] - corners[:, 1] - up
    a, b, c = _cross(twist, up), _cross(along, up) - _cross(first, twist), _cross(along, first)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = -0.5 * (b + np.copysign(np.sqrt(b * b - 4.0 * a * c), b))
        # One root is that of the parallelogram when there is no twist; the other then lies at infinity.
        roots = (np.where(c == 0.0, 0.0, c / half), half / a)
        places = [(_along_edge(first + y[:, None] * up, along + y[:, None] * twist), y) for y in roots]
    worse = ~(_violation(*places[0]) <= _violation(*places[1]))
    return np.where(worse, places[1][0], places[0][0]), np.where(worse, places[1][1], places[0][1])


def _within(position: Float64) -> Float64:
    """Position along an edge, from 0 to 1, both of them exact."""
    return np.where(position < _ON_EDGE, 0.0, np.where(position > 1.0 - _ON_EDGE, 1.0, position))


def _along_edge(start: Float64, edge: Float64) -> Float64:
    """The x at which start + x edge is nearest to (0, 0); 0 on an edge without length."""
    length = (edge * edge).sum(axis=1)
    return np.where(length == 0.0, 0.0, -(start * edge).sum(axis=1) / length)


def _violation(x: Float64, y: Float64) -> Float64:
    """How far a position lies outside the unit square, negative inside, infinite for NaN."""
    violation = np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)) - 0.5
    return np.where(np.isnan(violation), np.inf, violation)


def _best(target: Index, violation: Float64) -> Index:
    """Position of the candidate with the least violation of each target."""
    order = np.lexsort((violation, target))
    order = order[np.isfinite(violation[order])]
    ordered = target[order]
    return order[np.flatnonzero(np.diff(ordered, prepend=-1))]


def _cross(first: Float64, second: Float64) -> Float64:
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def _square_length(vectors: Float64) -> Float64:
    length: Float64 = np.einsum("...i,...i->...", vectors, vectors)
    return length


def _cyclic(grid: Grid) -> bool:
    return isinstance(grid, LatitudeLongitudeGrid) and grid.cyclic


def _one_step(offset: Float64) -> Index:
    return np.clip(np.floor(offset), -1, 1).astype(np.int64)


def _around(offset: Float64, period: int) -> Float64:
    return np.mod(offset + period / 2, period) - period / 2
