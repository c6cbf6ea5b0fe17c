"""Cells that geometries ask for, against distances and inequalities counted cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from service.errors import RequestError
from service.geometry import cells_of_area, cells_of_box, cells_of_point
from service.product_coordinates import product_grid
from service.specification import GridDefinition
from tests.service.sample_edr import DATE_LINE, centre
from tests.service.sample_product import DEGREES, SOUTH, sample_product
from tests.service.test_grids import QPE

TARGETS = pytest.mark.parametrize("target", [QPE, SOUTH, DATE_LINE], ids=["Lambert", "south", "date line"])


def middle_box(product: xr.Dataset) -> tuple[float, float, float, float]:
    """West, south, east, north of some inner part, longitudes going on beyond 180 degrees."""
    longitude = np.unwrap(product["longitude"].values, period=360.0, axis=1)
    part = longitude[8:15, 5:12]
    latitude = product["latitude"].values[8:15, 5:12]
    return float(part.min()), float(latitude.min()), float(part.max()), float(latitude.max())


@TARGETS
def test_a_point_is_the_cell_that_holds_it(target: GridDefinition) -> None:
    product = sample_product(target)
    grid = product_grid(product)
    for row, column in ((0, 0), (29, 19), (11, 7)):
        cells = cells_of_point(grid, centre(product, row, column), "CRS84")
        assert (cells.rows.tolist(), cells.columns.tolist(), cells.single) == ([row], [column], True)
    beside = product["latitude"].values.max() + 1.0
    assert cells_of_point(grid, f"POINT({float(product['longitude'][0, 0])} {beside})", "CRS84").empty


@TARGETS
def test_a_box_holds_the_centres_within(target: GridDefinition) -> None:
    product = sample_product(target)
    west, south, east, north = middle_box(product)
    latitude = product["latitude"].values
    longitude = np.unwrap(product["longitude"].values, period=360.0, axis=1)
    inside = (longitude >= west) & (longitude <= east) & (latitude >= south) & (latitude <= north)
    cells = cells_of_box(product_grid(product), f"{west},{south},{east},{north}", "CRS84")
    assert np.argwhere(inside).tolist() == np.stack([cells.rows, cells.columns], axis=1).tolist()
    rows, columns = cells.window
    np.testing.assert_array_equal(cells.mask(), inside[rows, columns])
    assert inside.sum() == cells.mask().sum() >= 49


def test_a_box_over_the_date_line_may_be_written_both_ways() -> None:
    grid = product_grid(sample_product(DATE_LINE))
    west, south, east, north = middle_box(sample_product(DATE_LINE))
    assert west < 180.0 < east
    one = cells_of_box(grid, f"{west},{south},{east},{north}", "CRS84")
    other = cells_of_box(grid, f"{west},{south},0,{east - 360.0},{north},9", "CRS84")
    assert one.rows.size > 0
    assert (one.rows.tolist(), one.columns.tolist()) == (other.rows.tolist(), other.columns.tolist())


def test_an_area_in_the_plane_of_the_product() -> None:
    product = sample_product()
    x, y = product["x"].values, product["y"].values
    triangle = f"POLYGON(({x[2]} {y[2]},{x[6]} {y[2]},{x[2]} {y[6]},{x[2]} {y[2]}))"
    cells = cells_of_area(product_grid(product), triangle, "native")
    found = set(zip(cells.rows.tolist(), cells.columns.tolist(), strict=True))
    assert found == {(2 + i, 2 + j) for i in range(5) for j in range(5 - i)}


def test_polygons_together() -> None:
    product = sample_product()
    grid = product_grid(product)
    x, y = product["x"].values, product["y"].values
    squares = [
        f"(({x[a] - 1} {y[a] - 1},{x[a] + 1} {y[a] - 1},{x[a] + 1} {y[a] + 1},{x[a] - 1} {y[a] - 1}))"
        for a in (3, 9)
    ]
    cells = cells_of_area(grid, f"MULTIPOLYGON({','.join(squares)})", "native")
    assert (cells.rows.tolist(), cells.columns.tolist()) == ([3, 9], [3, 9])


def test_a_small_area_between_the_centres_is_the_cell_around_it() -> None:
    product = sample_product()
    x, y = product["x"].values[4] + 1000.0, product["y"].values[7] - 1000.0
    small = f"POLYGON(({x} {y},{x + 10} {y},{x} {y + 10},{x} {y}))"
    cells = cells_of_area(product_grid(product), small, "native")
    assert (cells.rows.tolist(), cells.columns.tolist()) == ([7], [4])


def test_an_area_beside_the_grid_has_no_cell() -> None:
    cells = cells_of_area(product_grid(sample_product()), "POLYGON((0 0,1 0,1 1,0 0))", "CRS84")
    assert cells.empty
    assert cells.window == (slice(0, 0), slice(0, 0))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("here", "not a geometry"),
        ("LINESTRING(126 37,127 38)", "another geometry"),
        ("POLYGON EMPTY", "another geometry"),
        ("POLYGON((126 37,127 38,126 38,127 37,126 37))", "not valid"),
        ("POLYGON((37 126,38 126,38 127,37 126))", "does not lie on the Earth"),
    ],
)
def test_what_is_no_area(text: str, what: str) -> None:
    with pytest.raises(RequestError, match=what):
        cells_of_area(product_grid(sample_product()), text, "CRS84")


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,north", "1,2,nan,4", "126,38,127,37", "126,-95,127,0"])
def test_what_is_no_box(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        cells_of_box(product_grid(sample_product()), text, "CRS84")
    assert caught.value.where == "bbox"


def test_degrees_have_no_other_plane() -> None:
    with pytest.raises(RequestError, match="CRS84"):
        cells_of_point(product_grid(sample_product(DEGREES)), "POINT(0 0)", "native")
