"""A real forecast file the whole way, over HTTP, on a domain and from a model that no code knows.

The nano network gets a manifest for the Eta model over the central United States. Its probabilities mean
nothing there; the path of the data does.
"""

from __future__ import annotations

from pathlib import Path

import eccodes
import numpy as np
import pyproj
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

from service.artefact import GRAPH
from service.channels import CHANNELS
from service.specification import CycleSpecification, LambertDefinition, Source, Window
from tests.conftest import ROOT
from tests.service.sample_artefact import write_artefact
from tests.service.sample_service import running

ETA = "grib2_lambert/eta_2004120812_f024_awip211.grib2"
NCEP = 7
EARTH_RADIUS_M = 6_371_229.0

CENTRAL_UNITED_STATES = CycleSpecification(
    source=Source(name="Eta", centres=(NCEP,), spacing_m=(81_000.0, 81_500.0)),
    channels=tuple(CHANNELS),
    leads_hours=(24,),
    precipitation_hours=12,
    target=LambertDefinition(
        nx=160,
        ny=240,
        spacing_m=18_000.0,
        standard_parallels_degrees=(30.0, 45.0),
        origin_latitude_degrees=36.0,
        origin_longitude_degrees=-94.0,
        origin_x=79.5,
        origin_y=119.5,
        earth_radius_m=EARTH_RADIUS_M,
    ),
    window=Window(y_start=8, x_start=16, ny=224, nx=128),
)


@pytest.fixture
def nano_graph() -> Path:
    """The graph of the newest nano model on the shelf."""
    found = sorted((ROOT / "models").glob(f"nano-*/{GRAPH}"))
    if not found:
        pytest.skip("no nano model in models/")
    return found[-1]


def read_independently(
    path: Path, latitude: NDArray[np.float64], longitude: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The 12-24 h precipitation of the file, interpolated by SciPy in a projection set up here."""
    with path.open("rb") as file:
        while (handle := eccodes.codes_grib_new_from_file(file)) is not None:
            keys = ("shortName", "stepRange", "Nx", "Ny", "DxInMetres", "Latin1InDegrees", "LoVInDegrees")
            name, steps, nx, ny, spacing, parallel, meridian = (
                eccodes.codes_get(handle, key) for key in keys
            )
            first = [
                eccodes.codes_get(handle, f"{axis}OfFirstGridPointInDegrees")
                for axis in ("longitude", "latitude")
            ]
            values = eccodes.codes_get_values(handle)
            eccodes.codes_release(handle)
            if (name, steps) == ("tp", "12-24"):
                break
    projection = pyproj.Proj(
        proj="lcc", lat_1=parallel, lat_2=parallel, lat_0=parallel, lon_0=meridian, R=EARTH_RADIUS_M
    )
    x0, y0 = projection(*first)
    interpolate = RegularGridInterpolator(
        (y0 + spacing * np.arange(ny), x0 + spacing * np.arange(nx)), values.reshape(ny, nx)
    )
    x, y = projection(longitude, latitude)
    values_there: NDArray[np.float64] = interpolate((y, x))
    return values_there


def test_the_product_holds_the_rain_of_the_file(real_data: Path, nano_graph: Path, tmp_path: Path) -> None:
    write_artefact(tmp_path / "models", CENTRAL_UNITED_STATES, name="eta", graph=nano_graph)
    path = real_data / ETA
    with running(tmp_path) as client, path.open("rb") as file:
        answer = client.post(
            "/correct", content=file, headers={"Content-Type": "application/x-grib2", "Prefer": "wait=60"}
        )
        assert answer.status_code == 200, answer.text
        point = client.get(
            "/cycles/2004120812/product",
            params={"lat": 36.0, "lon": -94.0},
            headers={"Accept": "application/json"},
        ).json()
        picture = client.get("/cycles/2004120812/product", params={"lead": 24})
    (tmp_path / "product.nc").write_bytes(answer.content)
    with xr.open_dataset(tmp_path / "product.nc") as product:
        product.load()
    rain = product["lwe_thickness_of_precipitation_amount"]
    expected = read_independently(path, product["latitude"].values, product["longitude"].values)
    np.testing.assert_allclose(rain.values[0], expected, atol=1e-5)
    assert rain.max() > 10, "a cycle without rain would prove nothing"
    np.testing.assert_allclose(product["class_probability"].sum("class"), 1.0, atol=1e-6)
    assert product["time"].values[0] == np.datetime64("2004-12-09T12:00")
    assert product["time_bounds"].values[0, 0] == np.datetime64("2004-12-09T00:00")
    assert point["leads"][0]["lead_hours"] == 24
    assert picture.headers["content-type"] == "image/png"
