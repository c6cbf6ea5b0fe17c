"""Grids: positions, digests, angles, windows."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyproj
import pytest

from service.errors import WrongGrid
from service.grids import CurvilinearGrid, Grid, LambertGrid, LatitudeLongitudeGrid, grid_from_definition
from service.projections import LambertConformal
from service.specification import LambertDefinition, LatitudeLongitudeDefinition, Window

QPE = LambertDefinition(
    nx=149,
    ny=253,
    spacing_m=5000.0,
    standard_parallels_degrees=(30.0, 60.0),
    origin_latitude_degrees=38.0,
    origin_longitude_degrees=126.0,
    origin_x=42.0,
    origin_y=135.0,
    earth_radius_m=6371008.77,
)
RDAPS = LambertDefinition(
    nx=1050,
    ny=840,
    spacing_m=3000.0,
    standard_parallels_degrees=(30.0, 60.0),
    origin_latitude_degrees=38.0,
    origin_longitude_degrees=126.0,
    origin_x=524.5,
    origin_y=419.5,
    earth_radius_m=6370000.0,
)
CONE = LambertConformal((30.0, 60.0), 38.0, 126.0, 6371008.77, 6371008.77)
DEGREES = LatitudeLongitudeGrid(40, 30, 30.0, 120.0, 0.25, 0.5)


def _curvilinear() -> CurvilinearGrid:
    return CurvilinearGrid(*grid_from_definition(QPE).window(20, 30, 50, 40).latitude_longitude())


GRIDS: list[Grid] = [grid_from_definition(QPE), DEGREES, _curvilinear()]
KINDS = ["Lambert", "latitude-longitude", "curvilinear"]


def test_corners_of_the_qpe_grid() -> None:
    latitude, longitude = grid_from_definition(QPE).latitude_longitude()
    corners = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    published = [
        (31.79442, 123.76126),
        (31.65181, 131.64226),
        (43.39349, 123.31017),
        (43.21755, 132.77497),
    ]
    got = [(latitude[corner], longitude[corner]) for corner in corners]
    np.testing.assert_allclose(got, published, rtol=0, atol=6e-6)


def test_extents_of_rdaps() -> None:
    latitude, longitude = grid_from_definition(RDAPS).latitude_longitude()
    extents = [longitude.min(), longitude.max(), latitude.min(), latitude.max()]
    np.testing.assert_allclose(extents, [103.971, 148.029, 25.255, 49.697], rtol=0, atol=5e-4)


def test_rows_may_run_either_way() -> None:
    defined = grid_from_definition(QPE)
    latitude, longitude = defined.latitude_longitude()
    x, y = CONE.forward(latitude[-1, 0], longitude[-1, 0] + 360.0)
    downward = LambertGrid(CONE, 149, 253, float(x), float(y), 5000.0, -5000.0)
    np.testing.assert_allclose(
        downward.latitude_longitude(), (latitude[::-1], longitude[::-1]), rtol=0, atol=1e-9
    )
    assert downward != defined


@pytest.mark.parametrize("grid", GRIDS, ids=KINDS)
def test_positions_have_the_shape_and_are_read_only(grid: Grid) -> None:
    latitude, longitude = grid.latitude_longitude()
    assert latitude.shape == longitude.shape == grid.shape
    assert latitude.dtype == longitude.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        latitude[0, 0] = 0.0
    with pytest.raises(ValueError, match="read-only"):
        longitude[0, 0] = 0.0


@pytest.mark.parametrize("grid", GRIDS, ids=KINDS)
def test_window_holds_the_same_points(grid: Grid) -> None:
    part = grid.window(3, 5, 7, 11)
    assert part.shape == (7, 11)
    for whole, cut in zip(grid.latitude_longitude(), part.latitude_longitude(), strict=True):
        np.testing.assert_allclose(cut, whole[3:10, 5:16], rtol=0, atol=1e-9)
    assert part.digest != grid.digest


@pytest.mark.parametrize("grid", GRIDS, ids=KINDS)
@pytest.mark.parametrize("corner", [(-1, 0), (0, -1), (25, 0), (0, 35)])
def test_window_that_sticks_out_is_refused(grid: Grid, corner: tuple[int, int]) -> None:
    ny, nx = grid.shape
    with pytest.raises(WrongGrid, match="window"):
        grid.window(*corner, ny, nx)


@pytest.mark.parametrize("grid", GRIDS, ids=KINDS)
def test_equal_grids_have_equal_hash_and_digest_after_a_pickle(grid: Grid) -> None:
    grid.latitude_longitude()
    again = pickle.loads(pickle.dumps(grid))  # noqa: S301
    assert again == grid
    assert hash(again) == hash(grid)
    assert again.digest == grid.digest
    assert not again.latitude_longitude()[0].flags.writeable


def test_coordinates_do_not_travel_with_a_grid() -> None:
    grid = grid_from_definition(QPE)
    grid.latitude_longitude()
    assert len(pickle.dumps(grid)) < 2000


@pytest.mark.parametrize(
    "change",
    [
        {"nx": 148},
        {"ny": 252},
        {"spacing_m": 5001.0},
        {"origin_x": 42.5},
        {"origin_y": 134.0},
        {"earth_radius_m": 6.37e6},
        {"origin_latitude_degrees": 38.1},
        {"origin_longitude_degrees": 126.1},
        {"standard_parallels_degrees": (30.0, 60.1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_number_of_a_definition_counts(change: dict[str, object]) -> None:
    other = grid_from_definition(QPE.model_copy(update=change))
    assert other != grid_from_definition(QPE)
    assert other.digest != grid_from_definition(QPE).digest


def test_every_number_of_a_latitude_longitude_grid_counts() -> None:
    changed = [
        replace(DEGREES, nx=41),
        replace(DEGREES, ny=31),
        replace(DEGREES, first_latitude_degrees=30.1),
        replace(DEGREES, first_longitude_degrees=120.1),
        replace(DEGREES, latitude_step_degrees=0.2),
        replace(DEGREES, longitude_step_degrees=-0.5),
    ]
    assert len({grid.digest for grid in [DEGREES, *changed]}) == 7


def test_digest_is_the_same_in_another_process() -> None:
    code = (
        "from service.grids import LatitudeLongitudeGrid as G; print(G(40, 30, 30, 120.0, 0.25, 0.5).digest)"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert printed.stdout.strip() == DEGREES.digest


def test_signed_zero_has_one_digest() -> None:
    assert (
        replace(DEGREES, first_latitude_degrees=-0.0).digest
        == replace(DEGREES, first_latitude_degrees=0.0).digest
    )


def test_curvilinear_grid_is_independent_of_the_arrays_that_it_was_made_of() -> None:
    latitude, longitude = (np.array(values) for values in DEGREES.latitude_longitude())
    grid = CurvilinearGrid(latitude, longitude)
    same = CurvilinearGrid(latitude, longitude + 360.0)
    assert same == grid
    latitude[0, 0] = 12.0
    assert grid.latitude_longitude()[0][0, 0] == 30.0
    assert CurvilinearGrid(latitude, longitude) != grid


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        (np.zeros(4), np.zeros(4)),
        (np.zeros((4, 3)), np.zeros((3, 4))),
        (np.zeros((1, 4)), np.zeros((1, 4))),
        (np.full((3, 3), np.nan), np.zeros((3, 3))),
        (np.zeros((3, 3)), np.full((3, 3), np.inf)),
        (np.full((3, 3), 9999.0), np.zeros((3, 3))),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_impossible_curvilinear_grids_are_refused(latitude: np.ndarray, longitude: np.ndarray) -> None:
    with pytest.raises(WrongGrid):
        CurvilinearGrid(latitude, longitude)


@pytest.mark.parametrize(
    "numbers",
    [
        (40, 30, 30.0, 120.0, 0.0, 0.5),
        (0, 30, 30.0, 120.0, 0.25, 0.5),
        (40, 30, float("nan"), 120.0, 0.25, 0.5),
        (40, 30, 30.0, 120.0, 0.25, float("inf")),
        (40, 300, 30.0, 120.0, 0.25, 0.5),
    ],
)
def test_impossible_axes_are_refused(numbers: tuple[int, int, float, float, float, float]) -> None:
    with pytest.raises(WrongGrid):
        LatitudeLongitudeGrid(*numbers)


@pytest.mark.parametrize("grid", GRIDS[:2], ids=KINDS[:2])
def test_fractional_index_undoes_the_positions(grid: Grid) -> None:
    found = grid.fractional_index(*grid.latitude_longitude())
    assert found is not None
    np.testing.assert_allclose(found, np.indices(grid.shape), rtol=0, atol=1e-7)


@pytest.mark.parametrize("step", [0.5, -0.5])
def test_fractional_column_just_outside_a_regional_grid_is_just_outside(step: float) -> None:
    grid = replace(DEGREES, first_longitude_degrees=175.0, longitude_step_degrees=step)
    ends = 175.0 + step * np.array([-0.01, 39.01])
    _, column = grid.fractional_index([31.0, 31.0], np.mod(ends, 360.0) - 720.0)
    np.testing.assert_allclose(column, [-0.01, 39.01], rtol=0, atol=1e-9)


def test_wind_angle_of_a_lambert_grid_turns_its_own_axis_to_true_north() -> None:
    """A wind of 1 m/s along the grid's y axis moves a parcel along y: compare with the displacement."""
    grid = grid_from_definition(QPE)
    latitude, longitude = (np.radians(values) for values in grid.latitude_longitude())
    angle = grid.grid_north_angle()
    eastward, northward = np.sin(angle), np.cos(angle)  # of (u, v) = (0, 1) along the grid
    moved_east = (longitude[2:] - longitude[:-2]) * np.cos(latitude[1:-1])
    moved_north = latitude[2:] - latitude[:-2]
    length = np.hypot(moved_east, moved_north)
    np.testing.assert_allclose(moved_east / length, eastward[1:-1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(moved_north / length, northward[1:-1], rtol=0, atol=1e-6)
    assert angle[0, 0] < 0.0 < angle[0, -1]


def test_wind_angle_of_a_curvilinear_grid_equals_that_of_its_projection() -> None:
    lambert = grid_from_definition(RDAPS).window(0, 0, 200, 150)
    curvilinear = CurvilinearGrid(*lambert.latitude_longitude())
    difference = curvilinear.grid_north_angle() - lambert.grid_north_angle()
    assert np.abs(difference[:, 1:-1]).max() < 1e-6
    assert np.abs(difference).max() < 3e-4
    assert np.abs(lambert.grid_north_angle()).max() > 0.1


def test_wind_angle_of_degrees_is_zero_in_either_form() -> None:
    assert not DEGREES.grid_north_angle().any()
    curvilinear = CurvilinearGrid(*DEGREES.latitude_longitude())
    assert np.abs(curvilinear.grid_north_angle()[:, 1:-1]).max() < 1e-12


def test_projection_coordinates_are_the_plane() -> None:
    grid = grid_from_definition(QPE, Window(y_start=10, x_start=20, ny=100, nx=64))
    axes = grid.projection_coordinates()
    assert axes is not None
    x, y = CONE.forward(*grid.latitude_longitude())
    np.testing.assert_allclose(x, np.broadcast_to(axes[0], grid.shape), rtol=0, atol=1e-5)
    np.testing.assert_allclose(y, np.broadcast_to(axes[1][:, None], grid.shape), rtol=0, atol=1e-5)
    assert GRIDS[1].projection_coordinates() is None


def test_latitude_longitude_definition() -> None:
    definition = LatitudeLongitudeDefinition(
        nx=40,
        ny=30,
        first_latitude_degrees=30.0,
        first_longitude_degrees=120.0,
        latitude_step_degrees=0.25,
        longitude_step_degrees=0.5,
    )
    assert grid_from_definition(definition) == DEGREES


def test_nominal_spacing() -> None:
    assert grid_from_definition(QPE).spacing_m == 5000.0
    assert DEGREES.spacing_m == pytest.approx(27799, abs=1)
    scale = pyproj.Proj(proj="lcc", lat_1=30, lat_2=60, lat_0=38, lon_0=126).get_factors(126, 33.75)
    assert _curvilinear().spacing_m == pytest.approx(5000.0 / scale.parallel_scale, rel=2e-3)


@pytest.mark.parametrize(("grid", "kind"), list(zip(GRIDS, KINDS, strict=True)), ids=KINDS)
def test_description_names_kind_and_size(grid: Grid, kind: str) -> None:
    ny, nx = grid.shape
    assert kind in grid.describe()
    assert f"{nx} x {ny} (x by y)" in grid.describe()
