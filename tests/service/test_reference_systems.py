"""The product's reference system as well-known text."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import CRS, Transformer

from service.reference_systems import degrees_wkt, native_wkt
from service.specification import GridDefinition
from tests.service.sample_product import SOUTH, sample_product
from tests.service.test_grids import QPE


@pytest.mark.parametrize("target", [QPE, SOUTH], ids=["Lambert", "south"])
def test_the_plane_is_that_of_the_coordinates(target: GridDefinition) -> None:
    product = sample_product(target)
    plane = CRS.from_wkt(native_wkt(product))
    assert plane.geodetic_crs is not None
    transform = Transformer.from_crs(plane.geodetic_crs, plane, always_xy=True).transform
    x, y = transform(product["longitude"].values, product["latitude"].values)
    np.testing.assert_allclose(x, np.broadcast_to(product["x"].values, x.shape), atol=1e-3)
    np.testing.assert_allclose(y, np.broadcast_to(product["y"].values[:, None], y.shape), atol=1e-3)


def test_degrees_have_longitude_first() -> None:
    assert [axis.direction for axis in CRS.from_wkt(degrees_wkt()).axis_info] == ["east", "north"]
