"""Coasts and borders on a grid: where they must lie."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from service.assets import read_asset
from service.grids import Grid, grid_from_definition
from service.map_lines import LINE_LAYERS, cell_aspect, first_row_is_south, map_lines
from service.specification import LambertDefinition
from tests.service.sample_product import DEGREES
from tests.service.test_grids import QPE

KOREA = grid_from_definition(QPE)
ELSEWHERE = grid_from_definition(
    LambertDefinition(
        nx=60,
        ny=80,
        spacing_m=18_000.0,
        standard_parallels_degrees=(30.0, 45.0),
        origin_latitude_degrees=36.0,
        origin_longitude_degrees=-94.0,
        origin_x=30.0,
        origin_y=40.0,
        earth_radius_m=6_371_229.0,
    )
)


def is_land(column: float, row: float) -> bool:
    """By the even-odd rule, as the page fills the rings."""
    inside = False
    for ring in map_lines(KOREA)["land"]:
        points = np.reshape(ring, (-1, 2))
        (x, y), (x_next, y_next) = points.T, np.roll(points, -1, axis=0).T
        crosses = (y > row) != (y_next > row)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = x + (row - y) / (y_next - y) * (x_next - x)
        inside ^= bool(np.count_nonzero(crosses & (column < reach)) % 2)
    return inside


def place_of(grid: Grid, latitude: float, longitude: float) -> tuple[float, float]:
    index = grid.fractional_index(latitude, longitude)
    assert index is not None
    return float(index[1]), float(index[0])


@pytest.mark.parametrize(
    ("latitude", "longitude", "land"),
    [
        (37.4, 127.4, True),  # east of Seoul
        (33.38, 126.55, True),  # Hallasan on Jeju
        (37.5, 130.86, True),  # Ulleungdo
        (34.4, 129.33, True),  # Tsushima
        (36.0, 124.5, False),  # Yellow Sea
        (38.0, 130.0, False),  # East Sea
        (33.9, 127.3, False),  # between Jeju and the coast
    ],
)
def test_land_is_land_and_sea_is_sea(latitude: float, longitude: float, land: bool) -> None:
    assert is_land(*place_of(KOREA, latitude, longitude)) is land


def test_a_border_runs_between_gangwon_and_gyeonggi() -> None:
    """Chuncheon lies in Gangwon, Gapyeong 20 km west of it in Gyeonggi."""
    start, end = (place_of(KOREA, 37.88, longitude) for longitude in (127.40, 127.75))
    assert any(_meet(np.reshape(line, (-1, 2)), start, end) for line in map_lines(KOREA)["provinces"])


def _meet(line: NDArray[np.float64], start: tuple[float, float], end: tuple[float, float]) -> bool:
    from shapely import LineString

    return bool(LineString(line).intersects(LineString([start, end])))


def test_places_lie_in_their_cells() -> None:
    places = {place["en"]: place for place in map_lines(KOREA)["places"]}
    column, row = place_of(KOREA, 37.57, 126.97)
    assert (places["Seoul"]["column"], places["Seoul"]["row"]) == pytest.approx((column, row), abs=0.01)
    assert all(place["ko"] for place in places.values())


def test_the_mesh_gives_the_position_of_every_cell() -> None:
    mesh = map_lines(KOREA)["mesh"]
    latitude, longitude = KOREA.latitude_longitude()
    columns = np.arange(KOREA.shape[1])
    for field, exact in ((mesh["latitude"], latitude), (mesh["longitude"], longitude)):
        along = np.array([np.interp(columns, mesh["columns"], row) for row in field])
        every = np.array([np.interp(np.arange(KOREA.shape[0]), mesh["rows"], column) for column in along.T]).T
        assert np.abs(every - exact).max() < 1e-3, "about 100 m, a fiftieth of a cell"


def test_elsewhere_there_is_a_graticule_and_no_land() -> None:
    lines = map_lines(ELSEWHERE)
    assert all(lines[name] == [] for name in LINE_LAYERS)
    assert lines["places"] == []
    assert len(lines["parallels"]) > 3
    assert len(lines["meridians"]) > 3


@pytest.mark.parametrize("grid", [KOREA, ELSEWHERE, grid_from_definition(DEGREES)])
def test_the_graticule_keeps_to_its_degrees(grid: Grid) -> None:
    for parallel in map_lines(grid)["parallels"]:
        column, row = parallel["line"][30], parallel["line"][31]
        north = grid.fractional_index(parallel["degrees"], 0.0)
        assert north is not None
        latitude = np.interp(row, *_column_latitudes(grid, column))
        if 0 <= column < grid.shape[1] and 0 <= row < grid.shape[0]:
            assert latitude == pytest.approx(parallel["degrees"], abs=0.01)


def _column_latitudes(grid: Grid, column: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    latitude, _ = grid.latitude_longitude()
    nearest = int(np.clip(round(column), 0, grid.shape[1] - 1))
    return np.arange(grid.shape[0], dtype=np.float64), latitude[:, nearest]


def test_grids_of_degrees_have_tall_cells_and_may_begin_in_the_north() -> None:
    degrees = grid_from_definition(DEGREES)
    assert cell_aspect(KOREA) == 1.0
    assert cell_aspect(degrees) > 1.1
    assert first_row_is_south(KOREA)
    assert not first_row_is_south(degrees)


def test_the_borders_are_small_and_say_where_they_are_from() -> None:
    asset = read_asset("borders.json")
    document = json.loads(asset.body.content)
    assert len(asset.body.content) < 200_000
    assert document["licence"] == "public domain"
    assert "Natural Earth" in document["source"]
    west, south, east, north = document["bounds_degrees"]
    for name in LINE_LAYERS:
        for line in document[name]:
            points = np.reshape(line, (-1, 2))
            assert (points >= [west, south]).all()
            assert (points <= [east, north]).all()
    assert all(ring[:2] == ring[-2:] for ring in [*document["land"], *document["lakes"]])
