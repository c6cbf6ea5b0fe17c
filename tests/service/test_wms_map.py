"""Maps pixel by pixel."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer

from service.palettes import RAIN
from service.product import RAW_PRECIPITATION
from service.specification import GridDefinition
from service.wms_map import draw_legend, draw_map, map_layers
from service.wms_request import NATIVE, MapRequest, WmsError
from tests.service.sample_edr import DATE_LINE
from tests.service.sample_product import SOUTH, sample_product
from tests.service.test_grids import QPE


def asked(west: float, south: float, east: float, north: float, **changes: Any) -> MapRequest:
    values: dict[str, Any] = {
        "layers": ("raw",),
        "system": "CRS:84",
        "width": 1,
        "height": 1,
        "transparent": True,
        "background": "#FFFFFF",
        "time": None,
        "reference_time": None,
    }
    return MapRequest(west=west, south=south, east=east, north=north, **values | changes)


def pixels(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("target", [QPE, SOUTH, DATE_LINE], ids=["Lambert", "south", "date line"])
@pytest.mark.parametrize("system", ["CRS:84", "EPSG:3857"])
def test_a_pixel_is_the_cell_in_its_middle(target: GridDefinition, system: str) -> None:
    product = sample_product(target)
    for row, column in ((0, 0), (12, 7), (29, 19)):
        x, y = float(product["longitude"][row, column]), float(product["latitude"][row, column])
        half = 0.01
        if system == "EPSG:3857":
            x, y = Transformer.from_crs("OGC:CRS84", system, always_xy=True).transform(x, y)
            half = 500.0
        found = pixels(draw_map(product, asked(x - half, y - half, x + half, y + half, system=system), 1))
        rain_mm = product[RAW_PRECIPITATION].values[1, row, column]
        np.testing.assert_array_equal(found[0, 0], RAIN.paint(rain_mm))


def test_the_own_plane_is_the_field_north_up() -> None:
    product = sample_product()
    x, y, half = product["x"].values, product["y"].values, 2500.0
    whole = asked(
        x[0] - half, y[0] - half, x[-1] + half, y[-1] + half, system=NATIVE, width=x.size, height=y.size
    )
    found = pixels(draw_map(product, whole, 2))
    np.testing.assert_array_equal(found, RAIN.paint(product[RAW_PRECIPITATION].values[2])[::-1])


def test_outside_and_without_rain_nothing_is_drawn_and_a_missing_lead_is_grey() -> None:
    product = sample_product()
    box = 120.0, 30.0, 135.0, 45.0
    found = pixels(draw_map(product, asked(*box, width=60, height=60), 0))
    assert found.shape == (60, 60, 4)
    assert (found[0, 0] == 0).all()
    assert (found[..., 3] == 255).any()
    product[RAW_PRECIPITATION][0] = np.nan
    found = pixels(draw_map(product, asked(*box, width=60, height=60), 0))
    drawn = found[found[..., 3] == 255]
    assert len(drawn)
    assert (drawn == [185, 190, 196, 255]).all()
    opaque = pixels(draw_map(product, asked(*box, transparent=False, background="#102030"), 0))
    assert opaque.shape == (1, 1, 3)
    assert pixels(draw_map(product, asked(0, 0, 1, 1, transparent=False, background="#102030"), 0))[
        0, 0
    ].tolist() == [16, 32, 48]


def test_the_last_layer_is_on_top() -> None:
    product = sample_product()
    product[RAW_PRECIPITATION][:] = 60.0
    row, column = 12, 7
    x, y = float(product["longitude"][row, column]), float(product["latitude"][row, column])
    box = x - 0.01, y - 0.01, x + 0.01, y + 0.01
    top = pixels(draw_map(product, asked(*box, layers=("probability-0.1", "raw")), 0))
    np.testing.assert_array_equal(top[0, 0], RAIN.paint(np.float64(60.0)))


def test_unknown_layers() -> None:
    with pytest.raises(WmsError) as caught:
        draw_map(sample_product(), asked(0, 0, 1, 1, layers=("observed",)), 0)
    assert caught.value.code == "LayerNotDefined"


def test_a_legend_has_every_colour() -> None:
    product: xr.Dataset = sample_product()
    for layer in map_layers(product):
        picture = Image.open(io.BytesIO(draw_legend(product, layer))).convert("RGB")
        found = {colour for _, colour in picture.getcolors(100_000) or []}
        if layer.name == "raw":
            assert {tuple(RAIN.paint(np.float64(level))[:3].tolist()) for level in RAIN.levels} <= found
        assert (185, 190, 196) in found
