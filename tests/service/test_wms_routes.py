"""WMS as OWSLib finds and asks it, and what it says of wrong requests."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import requests
import xarray as xr
from owslib.util import ServiceException
from owslib.wms import WebMapService
from PIL import Image

from service.product import RAW_PRECIPITATION
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_service import ServiceClient, submit

BOX = (120.0, 30.0, 135.0, 45.0)
SIZE = (90, 90)
DAY = np.timedelta64(1, "D")


@pytest.fixture(scope="module")
def products(client: ServiceClient, tmp_path_factory: pytest.TempPathFactory) -> list[xr.Dataset]:
    """Of two cycles a day apart, the older one first."""
    folder: Path = tmp_path_factory.mktemp("cycles")
    found = []
    for day in (1, 2):
        cycle = replaced(reference_time=REFERENCE_TIME + day * DAY)
        answer = submit(client, write_cycle(folder / str(day), cycle, 5.0 * day))
        assert answer.status_code == 200, answer.text
        (folder / "product.nc").write_bytes(answer.content)
        with xr.open_dataset(folder / "product.nc", engine="netcdf4") as dataset:
            found.append(dataset.load())
    return found


@pytest.fixture
def service(client: ServiceClient, products: list[xr.Dataset]) -> WebMapService:
    return WebMapService(f"{str(client.base_url).rstrip('/')}/wms", version="1.3.0")


def valid_time(product: xr.Dataset, lead: int) -> str:
    return f"{product['time'].values[lead].astype('datetime64[s]')}Z"


def test_layers_systems_and_dimensions(service: WebMapService, products: list[xr.Dataset]) -> None:
    assert list(service.contents) == ["probability-0.1", "probability-10", "class", "raw"]
    layer = service["raw"]
    assert set(layer.crsOptions) == {"CRS:84", "EPSG:4326", "EPSG:3857", "RAINPOST:native"}
    west, south, east, north = layer.boundingBoxWGS84
    newest = products[1]
    assert west == pytest.approx(float(newest["longitude"].min()), abs=1e-4)
    assert north == pytest.approx(float(newest["latitude"].max()), abs=1e-4)
    assert (south < north, west < east) == (True, True)
    times = [valid_time(product, lead) for product in products for lead in (0, 1)]
    assert layer.dimensions["time"]["values"] == times
    assert layer.dimensions["time"]["default"] == times[2]
    cycles = [f"{one['forecast_reference_time'].values.astype('datetime64[s]')}Z" for one in products]
    assert layer.dimensions["reference_time"]["values"] == cycles[::-1]
    legend = requests.get(layer.styles["default"]["legend"], timeout=30)
    size = int(layer.styles["default"]["legend_width"]), int(layer.styles["default"]["legend_height"])
    assert Image.open(io.BytesIO(legend.content)).size == size


def test_maps_in_all_systems_show_the_same(service: WebMapService) -> None:
    def drawn(system: str, box: tuple[float, float, float, float]) -> bytes:
        answer = service.getmap(
            layers=["raw"], srs=system, bbox=box, size=SIZE, format="image/png", transparent=True
        )
        picture = Image.open(io.BytesIO(answer.read()))
        assert (picture.mode, picture.size) == ("RGBA", SIZE)
        return picture.tobytes()

    # OWSLib knows that EPSG:4326 has latitude first.
    assert drawn("EPSG:4326", BOX) == drawn("CRS:84", BOX)
    assert any(drawn("EPSG:3857", (13358338.9, 3503549.8, 15028131.3, 5621521.5)))


def test_values_by_time_and_reference_time(
    service: WebMapService, client: ServiceClient, products: list[xr.Dataset]
) -> None:
    place = {"y": 3, "x": 2}
    x, y = (float(products[0][name].isel(place)) for name in ("longitude", "latitude"))
    parameters = {
        "SERVICE": "WMS",
        "VERSION": "1.3.0",
        "REQUEST": "GetFeatureInfo",
        "LAYERS": "raw",
        "QUERY_LAYERS": "raw,class",
        "CRS": "CRS:84",
        "BBOX": f"{x - 0.01},{y - 0.01},{x + 0.01},{y + 0.01}",
        "WIDTH": "3",
        "HEIGHT": "3",
        "I": "1",
        "J": "1",
    }
    for product in products:
        cycle = f"{product['forecast_reference_time'].values.astype('datetime64[s]')}Z"
        for lead in (0, 1):
            time = valid_time(product, lead)
            for dimensions in ({"TIME": time}, {"time": time, "dim_reference_time": cycle}):
                document = client.get("/wms", params=parameters | dimensions).json()
                assert (document["time"], document["reference_time"]) == (time, cycle)
                rain_mm = float(product[RAW_PRECIPITATION].isel(place)[lead])
                assert document["values"]["raw"] == pytest.approx(rain_mm, abs=1e-6)
    newest = client.get("/wms", params=parameters | {"INFO_FORMAT": "text/plain"})
    assert f"time = {valid_time(products[1], 0)}" in newest.text
    outside = client.get("/wms", params=parameters | {"BBOX": "0,0,1,1"}).json()
    assert outside["values"] == {"raw": None, "class": None}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"LAYERS": "snow"}, "LayerNotDefined"),
        ({"TIME": "1999-01-01T00:00:00Z"}, "InvalidDimensionValue"),
        ({"TIME": "soon"}, "InvalidDimensionValue"),
        ({"DIM_REFERENCE_TIME": "1999-01-01T00:00:00Z"}, "InvalidDimensionValue"),
        ({"CRS": "EPSG:1"}, "InvalidCRS"),
        ({"REQUEST": "GetTile"}, "OperationNotSupported"),
        ({"SERVICE": "WFS"}, "InvalidParameterValue"),
        ({"REQUEST": "GetFeatureInfo", "QUERY_LAYERS": "raw", "I": "90", "J": "0"}, "InvalidPoint"),
        ({"REQUEST": "GetFeatureInfo", "QUERY_LAYERS": "raw", "INFO_FORMAT": "text/html"}, "InvalidFormat"),
        ({"REQUEST": ""}, "MissingParameterValue"),
    ],
)
def test_exceptions_are_xml(
    client: ServiceClient, products: list[xr.Dataset], change: dict[str, str], code: str
) -> None:
    parameters = {
        "SERVICE": "WMS",
        "VERSION": "1.3.0",
        "REQUEST": "GetMap",
        "LAYERS": "raw",
        "CRS": "CRS:84",
        "BBOX": "120,30,135,45",
        "WIDTH": "90",
        "HEIGHT": "90",
    }
    answer = client.get("/wms", params=parameters | change)
    assert answer.headers["content-type"].startswith("text/xml")
    (exception,) = ET.fromstring(answer.content)
    assert exception.tag == "{http://www.opengis.net/ogc}ServiceException"
    assert exception.get("code") == code
    assert exception.text


def test_a_foreign_client_hears_of_it(service: WebMapService) -> None:
    with pytest.raises(ServiceException, match="no layer 'snow'"):
        service.getmap(layers=["snow"], srs="CRS:84", bbox=BOX, size=SIZE, format="image/png")
