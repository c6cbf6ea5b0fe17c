"""Grids of GRIB2 headers that the sample grid does not have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import grib
from service.errors import WrongGrid
from service.fields import Region
from service.grib_grids import Scanning
from service.grids import LambertGrid, LatitudeLongitudeGrid
from tests.service.sample_grib import Keys, Sample, lambert, smooth, write


@pytest.mark.parametrize(
    ("shape", "keys", "ellipsoid"),
    [
        (0, {}, "+R=6367470"),
        (
            1,
            {"scaleFactorOfRadiusOfSphericalEarth": 2, "scaledValueOfRadiusOfSphericalEarth": 637000025},
            "+R=6370000.25",
        ),
        (2, {}, "+a=6378160 +b=6356775"),
        (
            3,
            {
                "scaleFactorOfEarthMajorAxis": 3,
                "scaledValueOfEarthMajorAxis": 6378000,
                "scaleFactorOfEarthMinorAxis": 3,
                "scaledValueOfEarthMinorAxis": 6356000,
            },
            "+a=6378000 +b=6356000",
        ),
        (4, {}, "+ellps=GRS80"),
        (5, {}, "+ellps=WGS84"),
        (6, {}, "+R=6371229"),
        (
            7,
            {
                "scaleFactorOfEarthMajorAxis": 0,
                "scaledValueOfEarthMajorAxis": 6378000,
                "scaleFactorOfEarthMinorAxis": 0,
                "scaledValueOfEarthMinorAxis": 6356000,
            },
            "+a=6378000 +b=6356000",
        ),
        (8, {}, "+R=6371200"),
        (9, {}, "+ellps=airy"),
    ],
)
def test_shapes_of_the_earth(tmp_path: Path, shape: int, keys: Keys, ellipsoid: str) -> None:
    path = write(tmp_path / "field.grib2", Sample(smooth(), keys={"shapeOfTheEarth": shape, **keys}))
    (header,) = grib.scan(path)
    projection = pyproj.Proj(f"+proj=lcc +lat_1=30 +lat_2=60 +lat_0=38 +lon_0=126 {ellipsoid}")
    _, x, y = lambert()
    first_longitude, first_latitude = lambert()[0](x[0], y[0], inverse=True)
    x_first, y_first = projection(round(first_longitude, 6), round(first_latitude, 6))
    grid_x, grid_y = np.meshgrid(x - x[0] + x_first, y - y[0] + y_first)
    longitude, latitude = projection(grid_x, grid_y, inverse=True)
    north, east = header.grid.latitude_longitude()
    np.testing.assert_allclose(north, latitude, rtol=0, atol=2e-8)
    np.testing.assert_allclose(east, longitude, rtol=0, atol=2e-8)


def test_an_unknown_shape_of_the_earth_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "field.grib2", Sample(smooth(), keys={"shapeOfTheEarth": 200}))
    with pytest.raises(WrongGrid, match="shape of the Earth") as caught:
        grib.scan(path)
    assert caught.value.where == "field.grib2, message 1 at byte 0"


LATITUDE_LONGITUDE: Keys = {
    "gridType": "regular_ll",
    "Ni": 9,
    "Nj": 7,
    "jScansPositively": 1,
    "latitudeOfFirstGridPointInDegrees": 30.0,
    "latitudeOfLastGridPointInDegrees": 31.5,
}


def test_steps_come_from_the_corners(tmp_path: Path) -> None:
    # The increments say 0.333 and 0.2, the corners a third and a quarter of a degree.
    keys: Keys = {
        "longitudeOfFirstGridPointInDegrees": 120.0,
        "longitudeOfLastGridPointInDegrees": 122.666667,
        "iDirectionIncrementInDegrees": 0.333,
        "jDirectionIncrementInDegrees": 0.2,
    }
    (header,) = grib.scan(write(tmp_path / "field.grib2", Sample(smooth(), keys=LATITUDE_LONGITUDE | keys)))
    assert isinstance(header.grid, LatitudeLongitudeGrid)
    assert header.grid.latitude_step_degrees == pytest.approx(0.25)
    assert header.grid.longitude_step_degrees == pytest.approx(1 / 3, abs=1e-7)


def test_a_grid_across_greenwich(tmp_path: Path) -> None:
    keys: Keys = {
        "longitudeOfFirstGridPointInDegrees": 358.0,
        "longitudeOfLastGridPointInDegrees": 2.0,
        "iDirectionIncrementInDegrees": 0.5,
        "jDirectionIncrementInDegrees": 0.25,
    }
    (header,) = grib.scan(write(tmp_path / "field.grib2", Sample(smooth(), keys=LATITUDE_LONGITUDE | keys)))
    np.testing.assert_allclose(header.grid.latitude_longitude()[1][0], np.linspace(-2.0, 2.0, 9), atol=1e-9)


def test_corners_that_contradict_the_scanning_mode_are_an_error(tmp_path: Path) -> None:
    keys: Keys = {
        "longitudeOfFirstGridPointInDegrees": 120.0,
        "longitudeOfLastGridPointInDegrees": 124.0,
        "jScansPositively": 0,
    }
    path = write(tmp_path / "field.grib2", Sample(smooth(), keys=LATITUDE_LONGITUDE | keys))
    with pytest.raises(WrongGrid, match="contradict"):
        grib.scan(path)


def test_staggered_points_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "field.grib2", Sample(smooth(), keys={"scanningMode": 0x48}))
    with pytest.raises(WrongGrid, match="staggered"):
        grib.scan(path)


def test_grids_without_rows_are_an_error(tmp_path: Path) -> None:
    import eccodes

    handle = eccodes.codes_grib_new_from_samples("reduced_gg_pl_32_grib2")
    message = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    with pytest.raises(WrongGrid, match="rows and columns"):
        grib.scan(write(tmp_path / "field.grib2", message))


def test_the_header_of_ldaps(tmp_path: Path) -> None:
    """The numbers of a real header of a sister model of RDAPS-KIM: 602 x 781 points at 1500 m."""
    keys: Keys = {
        "gridType": "lambert",
        "shapeOfTheEarth": 6,
        "Nx": 602,
        "Ny": 781,
        "latitudeOfFirstGridPointInDegrees": 32.2569,
        "longitudeOfFirstGridPointInDegrees": 121.834,
        "LaDInDegrees": 38.0,
        "LoVInDegrees": 126.0,
        "DxInMetres": 1500.0,
        "DyInMetres": 1500.0,
        "Latin1InDegrees": 30.0,
        "Latin2InDegrees": 60.0,
        "jScansPositively": 1,
    }
    (header,) = grib.scan(write(tmp_path / "field.grib2", Sample(np.full((781, 602), 280.0), keys=keys)))
    assert isinstance(header.grid, LambertGrid)
    assert header.grid.shape == (781, 602)
    north, east = header.grid.latitude_longitude()
    assert (north[0, 0], east[0, 0]) == pytest.approx((32.2569, 121.834), abs=1e-9)
    projection = pyproj.Proj("+proj=lcc +lat_1=30 +lat_2=60 +lat_0=38 +lon_0=126 +R=6371229")
    x, y = projection(121.834, 32.2569)
    longitude, latitude = projection(x + 601 * 1500.0, y + 780 * 1500.0, inverse=True)
    assert (north[-1, -1], east[-1, -1]) == pytest.approx((latitude, longitude), abs=1e-9)


def test_a_first_point_beyond_the_pole_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "field.grib2", Sample(smooth(), keys={"latitudeOfFirstGridPoint": 104_970_128}))
    with pytest.raises(WrongGrid, match=r"field\.grib2.*got: 104\.97"):
        grib.scan(path)


FLAGS = st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans())


@given(data=st.data(), shape=st.tuples(st.integers(2, 9), st.integers(2, 9)), flags=FLAGS)
def test_the_positions_of_a_region_are_where_its_points_are_arranged_from(
    data: st.DataObject, shape: tuple[int, int], flags: tuple[bool, bool, bool, bool]
) -> None:
    order = Scanning(*shape, *flags)
    top, left = (data.draw(st.integers(0, length - 1)) for length in shape)
    bottom, right = (
        data.draw(st.integers(first + 1, length)) for first, length in zip((top, left), shape, strict=True)
    )
    region = Region(slice(top, bottom), slice(left, right))
    points = np.arange(float(order.ny * order.nx))
    found = points[order.positions(region)]
    assert found.shape == region.shape
    np.testing.assert_array_equal(found, order.arranged(points)[region.rows, region.columns])
