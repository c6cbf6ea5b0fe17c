"""Lambert conformal projection: the closed form against PROJ."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import WrongGrid
from service.projections import LambertConformal, normalised_longitude, unit_vectors

WGS84 = (6378137.0, 6356752.314245179)
SPHERE = (6370000.0, 6370000.0)


def _proj(projection: LambertConformal) -> pyproj.Proj:
    first, second = projection.standard_parallels_degrees
    return pyproj.Proj(
        proj="lcc",
        lat_1=first,
        lat_2=second,
        lat_0=projection.origin_latitude_degrees,
        lon_0=projection.origin_longitude_degrees,
        a=projection.semi_major_axis_m,
        b=projection.semi_minor_axis_m,
    )


@pytest.mark.parametrize("axes", [SPHERE, WGS84], ids=["sphere", "ellipsoid"])
@pytest.mark.parametrize(
    ("parallels", "origin_latitude", "origin_longitude"),
    [((30.0, 60.0), 38.0, 126.0), ((25.0, 25.0), 25.0, -95.0), ((-20.0, -50.0), -30.0, 179.0)],
    ids=["Korea", "tangent", "southern, at the date line"],
)
def test_forward_and_inverse_equal_proj(
    axes: tuple[float, float],
    parallels: tuple[float, float],
    origin_latitude: float,
    origin_longitude: float,
) -> None:
    projection = LambertConformal(parallels, origin_latitude, origin_longitude, *axes)
    generator = np.random.default_rng(1)
    latitude = origin_latitude + generator.uniform(-25, 25, 500)
    longitude = normalised_longitude(origin_longitude + generator.uniform(-60, 60, 500))

    x, y = projection.forward(latitude, longitude)

    np.testing.assert_allclose(
        np.stack([x, y]), np.stack(_proj(projection)(longitude, latitude)), rtol=0, atol=1e-4
    )
    north, east = projection.inverse(x, y)
    np.testing.assert_allclose(north, latitude, rtol=0, atol=1e-10)
    np.testing.assert_allclose(normalised_longitude(east - longitude), 0.0, rtol=0, atol=1e-10)


@pytest.mark.parametrize("axes", [SPHERE, WGS84], ids=["sphere", "ellipsoid"])
def test_convergence_equals_proj(axes: tuple[float, float]) -> None:
    projection = LambertConformal((30.0, 60.0), 38.0, 126.0, *axes)
    longitude = np.linspace(100.0, 150.0, 11)
    factors = _proj(projection).get_factors(longitude, np.full(11, 40.0))
    np.testing.assert_allclose(
        np.degrees(projection.convergence(longitude)), factors.meridian_convergence, rtol=0, atol=1e-6
    )


@given(st.floats(-1e4, 1e4))
def test_normalised_longitude_is_the_same_meridian(longitude: float) -> None:
    wrapped = float(normalised_longitude(np.array(longitude)))
    assert -180.0 <= wrapped < 180.0
    here, there = (unit_vectors(np.array(10.0), np.array(east)) for east in (wrapped, longitude))
    np.testing.assert_allclose(here, there, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "numbers",
    [
        ((30.0, -30.0), 38.0, 126.0, 6.37e6, 6.37e6),
        ((90.0, 60.0), 38.0, 126.0, 6.37e6, 6.37e6),
        ((30.0, 60.0), float("nan"), 126.0, 6.37e6, 6.37e6),
        ((30.0, 60.0), 38.0, 126.0, 6.37e6, 6.38e6),
        ((30.0, 60.0), 38.0, 126.0, 6.37e6, 0.0),
    ],
)
def test_impossible_cones_are_refused(
    numbers: tuple[tuple[float, float], float, float, float, float],
) -> None:
    with pytest.raises(WrongGrid, match="no Lambert conformal cone"):
        LambertConformal(*numbers)


def test_cf_attributes_name_sphere_ellipsoid_and_tangent_cone() -> None:
    sphere = LambertConformal((30.0, 60.0), 38.0, 126.0, *SPHERE).cf_grid_mapping()
    assert sphere["grid_mapping_name"] == "lambert_conformal_conic"
    assert sphere["standard_parallel"] == [30.0, 60.0]
    assert sphere["earth_radius"] == 6370000.0
    ellipsoid = LambertConformal((25.0, 25.0), 25.0, -95.0, *WGS84).cf_grid_mapping()
    assert ellipsoid["standard_parallel"] == 25.0
    assert ellipsoid["semi_minor_axis"] == WGS84[1]
    assert "Lambert Conic Conformal (2SP)" in pyproj.CRS.from_cf(sphere).to_wkt()
