"""Horizontal grids.

A grid is a value: frozen, hashable, equal by its defining numbers, and cheap to make, to compare and to send
to another process; coordinates are computed when asked for and shared between equal grids.

Convention of all grids: arrays are (y, x); row 0 and column 0 are the grid's first point. Steps carry their
sign, so that rows may run north to south. Readers bring the values of a file to this shape: they undo
column-major and alternating scanning, and may leave the direction of either axis to the sign of the step.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.errors import WrongGrid
from service.projections import LambertConformal, normalised_longitude, unit_vectors
from service.specification import GridDefinition, LambertDefinition, Window

Coordinates = tuple[NDArray[np.float64], NDArray[np.float64]]
Attributes = dict[str, str | float | list[float]]

MEAN_EARTH_RADIUS_M = 6371229.0
"""Sphere of GRIB2 code table 3.2, value 6; used for nominal distances only."""


class Grid(Protocol):
    """A horizontal grid of (y, x) points."""

    def __hash__(self) -> int: ...

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""

    @property
    def digest(self) -> str:
        """sha256 of the defining numbers, the same in every process."""

    @property
    def spacing_m(self) -> float:
        """Nominal distance between neighbours: exact in the plane of a projected grid."""

    def latitude_longitude(self) -> Coordinates:
        """Degrees north and east in [-180, 180), each (y, x) float64, read-only."""

    def grid_north_angle(self) -> NDArray[np.float64]:
        """Radians (y, x) by which the grid's y axis points east of true north.

        Winds along the grid become winds along parallels and meridians by
        u_earth = u cos(angle) + v sin(angle), v_earth = v cos(angle) - u sin(angle).
        """

    def fractional_index(self, latitude: ArrayLike, longitude: ArrayLike) -> Coordinates | None:
        """(row, column) of points in degrees, not limited to the grid; None without a closed form."""

    def projection_coordinates(self) -> Coordinates | None:
        """x (nx,) and y (ny,) in m of a projected grid, None for any other."""

    def cf_grid_mapping(self) -> Attributes:
        """Attributes of a CF grid mapping variable; empty where the grid has none."""

    def window(self, y_start: int, x_start: int, ny: int, nx: int) -> Grid:
        """The rectangle of ny by nx points from row y_start and column x_start, or WrongGrid."""

    def describe(self) -> str:
        """One line for people."""


def product_index(grid: Grid, latitude: ArrayLike, longitude: ArrayLike) -> Coordinates:
    """As ``Grid.fractional_index``. Raises WrongGrid without a closed form, which grids of products have."""
    index = grid.fractional_index(latitude, longitude)
    if index is None:
        raise WrongGrid("the place of a point is not known in this grid", got=grid.describe())
    return index


@dataclass(frozen=True)
class LambertGrid:
    """Equidistant points in the plane of a Lambert conformal projection; lengths in m, steps signed."""

    projection: LambertConformal
    nx: int
    ny: int
    x_first_m: float
    y_first_m: float
    x_step_m: float
    y_step_m: float

    def __post_init__(self) -> None:
        _check_axis("x", self.nx, self.x_first_m, self.x_step_m)
        _check_axis("y", self.ny, self.y_first_m, self.y_step_m)

    @property
    def shape(self) -> tuple[int, int]:
        return self.ny, self.nx

    @property
    def digest(self) -> str:
        (parallels, *projection), *axes = astuple(self)
        return _digest("lambert_conformal_conic", *parallels, *projection, *axes)

    @property
    def spacing_m(self) -> float:
        return abs(self.x_step_m)

    def latitude_longitude(self) -> Coordinates:
        return _lambert_coordinates(self)

    def grid_north_angle(self) -> NDArray[np.float64]:
        return self.projection.convergence(self.latitude_longitude()[1])

    def fractional_index(self, latitude: ArrayLike, longitude: ArrayLike) -> Coordinates:
        x, y = self.projection.forward(_float64(latitude), _float64(longitude))
        return (y - self.y_first_m) / self.y_step_m, (x - self.x_first_m) / self.x_step_m

    def projection_coordinates(self) -> Coordinates:
        return _axis(self.x_first_m, self.x_step_m, self.nx), _axis(self.y_first_m, self.y_step_m, self.ny)

    def cf_grid_mapping(self) -> Attributes:
        return self.projection.cf_grid_mapping()

    def window(self, y_start: int, x_start: int, ny: int, nx: int) -> LambertGrid:
        _check_window(self.shape, y_start, x_start, ny, nx)
        x_first = self.x_first_m + x_start * self.x_step_m
        y_first = self.y_first_m + y_start * self.y_step_m
        return LambertGrid(self.projection, nx, ny, x_first, y_first, self.x_step_m, self.y_step_m)

    def describe(self) -> str:
        latitude, longitude = self.projection.inverse(np.array(self.x_first_m), np.array(self.y_first_m))
        return (
            f"Lambert conformal {self.nx} x {self.ny} (x by y), {abs(self.x_step_m):g} m, "
            f"first point {latitude:.4f} N {longitude:.4f} E"
        )


@dataclass(frozen=True)
class LatitudeLongitudeGrid:
    """Equidistant points in latitude and longitude; degrees, steps signed."""

    nx: int
    ny: int
    first_latitude_degrees: float
    first_longitude_degrees: float
    latitude_step_degrees: float
    longitude_step_degrees: float

    def __post_init__(self) -> None:
        _check_axis("longitude", self.nx, self.first_longitude_degrees, self.longitude_step_degrees)
        _check_axis("latitude", self.ny, self.first_latitude_degrees, self.latitude_step_degrees)
        last = self.first_latitude_degrees + (self.ny - 1) * self.latitude_step_degrees
        if max(abs(self.first_latitude_degrees), abs(last)) > 90.0 + 1e-6:
            raise WrongGrid(
                "A latitude axis passes a pole",
                where="grid header",
                expected="latitudes within -90 to 90",
                got=f"{self.first_latitude_degrees:g} to {last:g}",
            )

    @property
    def shape(self) -> tuple[int, int]:
        return self.ny, self.nx

    @property
    def digest(self) -> str:
        return _digest("latitude_longitude", *astuple(self))

    @property
    def spacing_m(self) -> float:
        return MEAN_EARTH_RADIUS_M * float(np.radians(abs(self.latitude_step_degrees)))

    @property
    def cyclic(self) -> bool:
        """Whether the first column follows the last one around the globe."""
        step = abs(self.longitude_step_degrees)
        return abs(self.nx * step - 360.0) < 1e-3 * step

    def latitude_longitude(self) -> Coordinates:
        return _latitude_longitude_coordinates(self)

    def grid_north_angle(self) -> NDArray[np.float64]:
        return np.zeros(self.shape)

    def fractional_index(self, latitude: ArrayLike, longitude: ArrayLike) -> Coordinates:
        row = (_float64(latitude) - self.first_latitude_degrees) / self.latitude_step_degrees
        step = abs(self.longitude_step_degrees)
        offset = _float64(longitude) - self.first_longitude_degrees
        # The gap of a regional grid is shared between its two ends, so that points just outside either end
        # are seen as just outside.
        gap = 0.0 if self.cyclic else max(0.0, (360.0 - (self.nx - 1) * step) / 2.0)
        eastward = offset if self.longitude_step_degrees > 0 else -offset
        return row, (np.mod(eastward + gap, 360.0) - gap) / step

    def projection_coordinates(self) -> None:
        return None

    def cf_grid_mapping(self) -> Attributes:
        return {"grid_mapping_name": "latitude_longitude", "earth_radius": MEAN_EARTH_RADIUS_M}

    def window(self, y_start: int, x_start: int, ny: int, nx: int) -> LatitudeLongitudeGrid:
        _check_window(self.shape, y_start, x_start, ny, nx)
        latitude = self.first_latitude_degrees + y_start * self.latitude_step_degrees
        longitude = self.first_longitude_degrees + x_start * self.longitude_step_degrees
        steps = self.latitude_step_degrees, self.longitude_step_degrees
        return LatitudeLongitudeGrid(nx, ny, latitude, longitude, *steps)

    def describe(self) -> str:
        return (
            f"latitude-longitude {self.nx} x {self.ny} (x by y), "
            f"{self.longitude_step_degrees:g} by {self.latitude_step_degrees:g} degrees, "
            f"first point {self.first_latitude_degrees:.4f} N {self.first_longitude_degrees:.4f} E"
        )


class CurvilinearGrid:
    """Points given one by one, neighbours in the array being neighbours on the Earth.

    latitude, longitude: degrees, (y, x) both; copied, so that a later change cannot reach the grid.
    Raises WrongGrid for arrays that are not two-dimensional, differ in shape or hold NaN.
    """

    def __init__(self, latitude: ArrayLike, longitude: ArrayLike) -> None:
        north = np.array(latitude, dtype=np.float64)
        east = normalised_longitude(np.array(longitude, dtype=np.float64))
        if north.ndim != 2 or north.shape != east.shape or min(north.shape, default=0) < 2:
            raise WrongGrid(
                "Latitude and longitude do not make a grid",
                expected="two arrays (y, x) of one shape, at least 2 x 2",
                got=f"{north.shape} and {east.shape}",
            )
        outside = ~(np.isfinite(north) & np.isfinite(east)) | (np.abs(north) > 90.0 + 1e-6)
        if outside.any():
            row, column = np.argwhere(outside)[0]
            raise WrongGrid(
                "The coordinates of a grid are not all positions on the Earth",
                where=f"row {row}, column {column}; {outside.sum()} points in all",
                expected="finite latitude within -90 to 90 and finite longitude",
                got=f"{north[row, column]} N, {east[row, column]} E",
            )
        self._latitude, self._longitude = _read_only(north, east)
        self._digest = hashlib.sha256(
            f"curvilinear {north.shape}".encode() + north.tobytes() + east.tobytes()
        ).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CurvilinearGrid) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __reduce__(self) -> tuple[object, ...]:
        return CurvilinearGrid, (self._latitude, self._longitude)  # an unpickled array is writable

    def __repr__(self) -> str:
        return f"CurvilinearGrid({self.describe()})"

    @property
    def shape(self) -> tuple[int, int]:
        ny, nx = self._latitude.shape
        return ny, nx

    @property
    def digest(self) -> str:
        return self._digest

    @property
    def spacing_m(self) -> float:
        ny, nx = self.shape
        rows, columns = slice(ny // 2 - 1, ny // 2 + 1), slice(nx // 2 - 1, nx // 2 + 1)
        point = unit_vectors(self._latitude[rows, columns], self._longitude[rows, columns])
        return MEAN_EARTH_RADIUS_M * float(np.linalg.norm(point[:, 1] - point[:, 0], axis=-1).mean())

    def latitude_longitude(self) -> Coordinates:
        return self._latitude, self._longitude

    def grid_north_angle(self) -> NDArray[np.float64]:
        """From central differences along x on the unit sphere, one-sided at the first and last column."""
        latitude, longitude = np.radians(self._latitude), np.radians(self._longitude)
        along_x = np.gradient(unit_vectors(self._latitude, self._longitude), axis=1)
        zero = np.zeros_like(longitude)
        east = np.stack([-np.sin(longitude), np.cos(longitude), zero], axis=-1)
        north = np.stack(
            [-np.sin(latitude) * np.cos(longitude), -np.sin(latitude) * np.sin(longitude), np.cos(latitude)],
            axis=-1,
        )
        angle: NDArray[np.float64] = -np.arctan2((along_x * north).sum(-1), (along_x * east).sum(-1))
        return angle

    def fractional_index(self, latitude: ArrayLike, longitude: ArrayLike) -> None:  # noqa: ARG002
        return None

    def projection_coordinates(self) -> None:
        return None

    def cf_grid_mapping(self) -> Attributes:
        return {}

    def window(self, y_start: int, x_start: int, ny: int, nx: int) -> CurvilinearGrid:
        _check_window(self.shape, y_start, x_start, ny, nx)
        rows, columns = slice(y_start, y_start + ny), slice(x_start, x_start + nx)
        return CurvilinearGrid(self._latitude[rows, columns], self._longitude[rows, columns])

    def describe(self) -> str:
        ny, nx = self.shape
        return (
            f"curvilinear {nx} x {ny} (x by y), about {self.spacing_m:.0f} m, "
            f"first point {self._latitude[0, 0]:.4f} N {self._longitude[0, 0]:.4f} E"
        )


def grid_from_definition(definition: GridDefinition, window: Window | None = None) -> Grid:
    """The grid of a manifest, or the part of it that the network sees."""
    grid: Grid
    if isinstance(definition, LambertDefinition):
        projection = LambertConformal(
            definition.standard_parallels_degrees,
            definition.origin_latitude_degrees,
            definition.origin_longitude_degrees,
            definition.earth_radius_m,
            definition.earth_radius_m,
        )
        spacing = definition.spacing_m
        x_first, y_first = -definition.origin_x * spacing, -definition.origin_y * spacing
        grid = LambertGrid(projection, definition.nx, definition.ny, x_first, y_first, spacing, spacing)
    else:
        grid = LatitudeLongitudeGrid(**definition.model_dump(exclude={"kind"}))
    if window is None:
        return grid
    return grid.window(window.y_start, window.x_start, window.ny, window.nx)


@lru_cache(maxsize=8)
def _lambert_coordinates(grid: LambertGrid) -> Coordinates:
    x, y = grid.projection_coordinates()
    return _read_only(*grid.projection.inverse(x[np.newaxis, :], y[:, np.newaxis]))


@lru_cache(maxsize=8)
def _latitude_longitude_coordinates(grid: LatitudeLongitudeGrid) -> Coordinates:
    latitude = _axis(grid.first_latitude_degrees, grid.latitude_step_degrees, grid.ny)
    longitude = _axis(grid.first_longitude_degrees, grid.longitude_step_degrees, grid.nx)
    north, east = np.meshgrid(latitude, normalised_longitude(longitude), indexing="ij")
    return _read_only(north, east)


def _axis(first: float, step: float, count: int) -> NDArray[np.float64]:
    return first + step * np.arange(count, dtype=np.float64)


def _read_only(latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> Coordinates:
    latitude.setflags(write=False)
    longitude.setflags(write=False)
    return latitude, longitude


def _float64(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def _digest(kind: str, *numbers: float) -> str:
    # Adding zero turns -0.0, which equals 0.0, into 0.0.
    text = " ".join([kind, *(repr(float(number) + 0.0) for number in numbers)])
    return hashlib.sha256(text.encode()).hexdigest()


def _check_axis(name: str, count: int, first: float, step: float) -> None:
    if count < 1 or not np.isfinite(first) or not np.isfinite(step) or step == 0.0:
        raise WrongGrid(
            f"The {name} axis of a grid is not an axis",
            where="grid header",
            expected="at least one point, a finite first point, a finite step other than 0",
            got=f"{count} points from {first} by {step}",
        )


def _check_window(shape: tuple[int, int], y_start: int, x_start: int, ny: int, nx: int) -> None:
    inside = 0 <= y_start < y_start + ny <= shape[0] and 0 <= x_start < x_start + nx <= shape[1]
    if not inside:
        raise WrongGrid(
            "A window does not lie inside its grid",
            expected=f"rows within 0-{shape[0]}, columns within 0-{shape[1]}",
            got=f"rows {y_start}-{y_start + ny}, columns {x_start}-{x_start + nx}",
        )
