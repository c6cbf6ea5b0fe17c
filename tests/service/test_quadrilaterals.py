"""The linked-cell search: against analytic indices, and by what it must reproduce."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.grids import CurvilinearGrid, Grid, LambertGrid, LatitudeLongitudeGrid
from service.projections import LambertConformal, normalised_longitude, unit_vectors
from service.quadrilaterals import EDGE_TOLERANCE, Placement, _searched, placed_targets

Float64 = NDArray[np.float64]
CONE = LambertConformal((30.0, 60.0), 38.0, 126.0, 6.37e6, 6.37e6)
LAMBERT = LambertGrid(CONE, 120, 90, -180e3, -135e3, 3000.0, 3000.0)


def _corners(source: Grid, placement: Placement) -> Float64:
    """Unit vectors (target, 4, 3) of the quadrilaterals that were found."""
    points = unit_vectors(*source.latitude_longitude())
    nx = source.shape[1]
    pairs = [(down, right) for down in (0, 1) for right in (0, 1)]
    return np.stack(
        [points[placement.row + down, (placement.column + right) % nx] for down, right in pairs], axis=1
    )


def _position_error(source: Grid, latitude: Float64, longitude: Float64) -> tuple[Placement, Float64]:
    """Distance (radians) of the bilinear mean of the corners from the target, in its tangent plane."""
    placement = placed_targets(source, latitude, longitude)
    corners = _corners(source, placement)
    targets = unit_vectors(latitude, longitude)
    flat = corners / np.einsum("nij,nj->ni", corners, targets)[..., None]
    y, x = placement.y, placement.x
    weights = np.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x], axis=1)
    return placement, np.linalg.norm(np.einsum("ni,nij->nj", weights, flat) - targets, axis=1)


def _inner_points(grid: Grid, seed: int, count: int = 300) -> tuple[Float64, Float64]:
    """Random points inside random quadrilaterals of the grid, by weights that are positive and sum to one."""
    generator = np.random.default_rng(seed)
    points = unit_vectors(*grid.latitude_longitude())
    ny, nx = grid.shape
    row, column = generator.integers(0, ny - 1, count), generator.integers(0, nx - 1, count)
    y, x = generator.uniform(0, 1, (2, count, 1))
    lower = (1 - x) * points[row, column] + x * points[row, column + 1]
    upper = (1 - x) * points[row + 1, column] + x * points[row + 1, column + 1]
    mean = (1 - y) * lower + y * upper
    north = np.degrees(np.arctan2(mean[:, 2], np.hypot(mean[:, 0], mean[:, 1])))
    return north, np.degrees(np.arctan2(mean[:, 1], mean[:, 0]))


@st.composite
def curvilinear_grids(draw: st.DrawFn) -> CurvilinearGrid:
    """Rotated, stretched, curved and jittered grids anywhere on the Earth, poles and date line included."""
    ny, nx = draw(st.integers(4, 20)), draw(st.integers(4, 20))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y, x = np.indices((ny, nx), dtype=np.float64)
    shake = draw(st.floats(0.0, 0.2))
    bend = draw(st.floats(-0.01, 0.01))
    y = y - ny / 2 + generator.uniform(-shake, shake, (ny, nx)) + bend * (x - nx / 2) ** 2
    x = (x - nx / 2 + generator.uniform(-shake, shake, (ny, nx))) * draw(st.floats(0.5, 2.0))
    if draw(st.booleans()):
        x = -x
    step = np.radians(draw(st.sampled_from([0.01, 0.1, 1.0])))
    turn = draw(st.floats(0.0, 2 * np.pi))
    east = step * (x * np.cos(turn) - y * np.sin(turn))
    north = step * (x * np.sin(turn) + y * np.cos(turn))
    latitude, longitude = draw(st.floats(-90.0, 90.0)), draw(st.floats(-180.0, 180.0))
    (middle,) = unit_vectors(np.array([latitude]), np.array([longitude]))
    (along,) = unit_vectors(np.array([0.0]), np.array([longitude + 90.0]))
    vectors = middle + east[..., None] * along + north[..., None] * np.cross(middle, along)
    return CurvilinearGrid(
        np.degrees(np.arctan2(vectors[..., 2], np.hypot(vectors[..., 0], vectors[..., 1]))),
        np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0])),
    )


@st.composite
def latitude_longitude_grids(draw: st.DrawFn) -> LatitudeLongitudeGrid:
    """Regional grids anywhere, with either direction of both axes."""
    latitude_step = draw(st.sampled_from([-5.0, -0.25, 0.1, 1.0, 5.0]))
    ny = draw(st.integers(2, 15))
    extent = (ny - 1) * abs(latitude_step)
    south = draw(st.floats(-85.0, 85.0 - extent))
    return LatitudeLongitudeGrid(
        nx=draw(st.integers(2, 15)),
        ny=ny,
        first_latitude_degrees=south if latitude_step > 0 else south + extent,
        first_longitude_degrees=draw(st.floats(-360.0, 360.0)),
        latitude_step_degrees=latitude_step,
        longitude_step_degrees=abs(latitude_step) * draw(st.sampled_from([-5.0, -1.2, 0.5, 1.0, 2.0])),
    )


@settings(deadline=None, max_examples=60)
@given(curvilinear_grids(), st.integers(0, 1000))
def test_every_point_inside_a_curvilinear_grid_is_found_and_reproduced(
    grid: CurvilinearGrid, seed: int
) -> None:
    placement, error = _position_error(grid, *_inner_points(grid, seed))
    assert placement.inside.all()
    assert error.max() < 2 * EDGE_TOLERANCE * np.radians(2.0)
    well_inside = (np.minimum(placement.x, placement.y) > 0) & (np.maximum(placement.x, placement.y) < 1)
    assert error[well_inside].max(initial=0.0) < 1e-12


@settings(deadline=None, max_examples=60)
@given(latitude_longitude_grids(), st.integers(0, 1000))
def test_latitude_longitude_grids_are_placed_by_their_own_degrees(
    grid: LatitudeLongitudeGrid, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    row, column = generator.uniform(0, grid.ny - 1, 300), generator.uniform(0, grid.nx - 1, 300)
    latitude = grid.first_latitude_degrees + row * grid.latitude_step_degrees
    longitude = normalised_longitude(grid.first_longitude_degrees + column * grid.longitude_step_degrees)
    placement = placed_targets(grid, latitude, longitude)
    assert placement.inside.all()
    np.testing.assert_allclose(placement.row + placement.y, row, rtol=0, atol=1e-8)
    np.testing.assert_allclose(placement.column + placement.x, column, rtol=0, atol=1e-8)


def test_search_names_the_analytic_cell_of_a_projected_grid() -> None:
    latitude, longitude = _inner_points(LAMBERT, 5, 5000)
    row, column = LAMBERT.fractional_index(latitude, longitude)
    found = _searched(LAMBERT, latitude, longitude)
    np.testing.assert_allclose(found.row + found.y, row, rtol=0, atol=3e-5)
    np.testing.assert_allclose(found.column + found.x, column, rtol=0, atol=3e-5)
    clear = (np.abs(row - np.rint(row)) > 1e-4) & (np.abs(column - np.rint(column)) > 1e-4)
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found.row[clear], np.floor(row[clear]))
    np.testing.assert_array_equal(found.column[clear], np.floor(column[clear]))


def test_its_own_points_lie_on_corners() -> None:
    for grid in (LAMBERT, CurvilinearGrid(*LAMBERT.latitude_longitude())):
        latitude, longitude = grid.latitude_longitude()
        placement = placed_targets(grid, latitude.ravel(), longitude.ravel())
        assert placement.inside.all()
        index = np.stack([placement.row + placement.y, placement.column + placement.x])
        np.testing.assert_allclose(index, np.indices(grid.shape).reshape(2, -1), rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", ["Lambert", "curvilinear"])
def test_points_beyond_the_edge_are_outside_and_rounding_is_not(kind: str) -> None:
    grid: Grid = LAMBERT if kind == "Lambert" else CurvilinearGrid(*LAMBERT.latitude_longitude())
    beyond = np.array([0.1, 0.001, 0.5 * EDGE_TOLERANCE])
    x = LAMBERT.x_first_m - beyond * LAMBERT.x_step_m
    latitude, longitude = CONE.inverse(x, np.full(3, LAMBERT.y_first_m + 40.3 * LAMBERT.y_step_m))
    placement = placed_targets(grid, latitude, longitude)
    assert placement.inside.tolist() == [False, False, True]
    assert placement.x[2] == 0.0
    assert placement.column[2] == 0
    assert placement.row[2] == 40
    assert placement.y[2] == pytest.approx(0.3, abs=1e-4)


def test_a_target_at_the_antipode_is_outside() -> None:
    placement = placed_targets(LAMBERT, np.array([-38.0, 38.0]), np.array([-54.0, 126.0]))
    assert placement.inside.tolist() == [False, True]


def test_far_targets_alone_are_outside() -> None:
    assert not placed_targets(LAMBERT, np.array([-38.0]), np.array([-54.0])).inside.any()


@pytest.mark.parametrize("step", [30.0, 2.5, 0.5])
@pytest.mark.parametrize("first", [0.0, -180.0, 17.3])
def test_a_global_grid_closes_at_its_seam(step: float, first: float) -> None:
    grid = LatitudeLongitudeGrid(round(360 / step), 7, -0.3, first, 0.1, step)
    beyond = np.array([-1.0, -0.75, -1e-9, 0.0, 0.25])
    placement = placed_targets(grid, np.full(5, 0.02), normalised_longitude(first + beyond * step))
    assert placement.inside.all()
    assert placement.column.max() == grid.nx - 1
    found = np.mod(placement.column + placement.x + 0.5 * grid.nx, grid.nx) - 0.5 * grid.nx
    np.testing.assert_allclose(found, beyond, rtol=0, atol=1e-6)


def test_the_pole_of_a_global_grid() -> None:
    grid = LatitudeLongitudeGrid(36, 19, 90.0, 0.0, -10.0, 10.0)
    latitude = np.array([90.0, 89.99, 89.0, 85.0])
    placement = placed_targets(grid, latitude, np.array([12.0, 47.0, -33.0, 181.0]))
    assert placement.inside.all()
    np.testing.assert_allclose(placement.row + placement.y, (90.0 - latitude) / 10.0, rtol=0, atol=1e-9)
    np.testing.assert_allclose((placement.column + placement.x)[1:], [4.7, 32.7, 18.1], rtol=0, atol=1e-9)
