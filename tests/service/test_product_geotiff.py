"""The product as GeoTIFF: what rasterio, and so GDAL, finds in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from service.product import EXCEEDANCE, NO_CLASS, RAW_PRECIPITATION
from service.product_geotiff import geotiff
from service.specification import GridDefinition
from tests.service.sample_product import DEGREES, SOUTH, sample_product
from tests.service.test_grids import QPE

# In a process of its own: rasterio brings another PROJ than pyproj and eccodes.
READER = """
import json, sys
import numpy as np
import rasterio
from rasterio.warp import transform

with rasterio.open(sys.argv[1]) as file:
    rows, columns = np.indices(file.shape)
    x, y = file.xy(rows.ravel(), columns.ravel())
    # Longitude and latitude on the very ellipsoid of the file, so that no datum is shifted.
    sphere = rasterio.crs.CRS.from_string(f"+proj=longlat +R={sys.argv[3]} +no_defs")
    longitude, latitude = transform(file.crs, sphere, x, y) if file.crs.is_projected else (x, y)
    np.savez(sys.argv[2], bands=file.read(), longitude=longitude, latitude=latitude)
    print(json.dumps({
        "names": file.descriptions, "units": file.units, "tags": file.tags(), "dtypes": file.dtypes,
        "nodata": str(file.nodata), "wkt": file.crs.to_wkt(),
    }))
"""


def read(content: bytes, folder: Path, radius_m: float) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What rasterio says of a file; its bands and the positions of its cells, north up."""
    (folder / "product.tif").write_bytes(content)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", READER, "product.tif", "read.npz", str(radius_m)],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    with np.load(folder / "read.npz") as arrays:
        return json.loads(run.stdout), dict(arrays)


def north_up(product: xr.Dataset) -> xr.Dataset:
    """The rows of a product from north to south."""
    southward = product["latitude"].values[0, 0] > product["latitude"].values[-1, 0]
    return product if southward else product.isel(y=slice(None, None, -1))


@pytest.mark.parametrize(
    ("target", "radius_m"),
    [(QPE, 6371008.77), (SOUTH, 6371229.0), (DEGREES, 6371229.0)],
    ids=["Lambert", "south", "latitude-longitude"],
)
def test_every_cell_and_value_is_where_the_netcdf_has_it(
    target: GridDefinition, radius_m: float, tmp_path: Path
) -> None:
    product = north_up(sample_product(target))
    about, arrays = read(geotiff(sample_product(target), 26), tmp_path, radius_m)
    shape = product["latitude"].shape
    np.testing.assert_allclose(arrays["latitude"].reshape(shape), product["latitude"], atol=1e-7, rtol=0)
    turn = (arrays["longitude"].reshape(shape) - product["longitude"].values + 180.0) % 360.0 - 180.0
    np.testing.assert_allclose(turn, 0.0, atol=1e-7)
    lead = product.sel(lead=26)
    bands = [*lead[EXCEEDANCE].values, lead["most_likely_class"].values, lead[RAW_PRECIPITATION].values]
    np.testing.assert_array_equal(arrays["bands"], np.stack(bands).astype(np.float32))
    assert f",{radius_m:.10g},0]" in about["wkt"], "a sphere"


def test_bands_and_product_are_named(tmp_path: Path) -> None:
    product = sample_product()
    product.attrs["comment"] = "Not to act on <é>"
    about, _ = read(geotiff(product, 26), tmp_path, 6371008.77)
    assert about["names"] == [
        "probability of 0.1 mm or more",
        "probability of 10 mm or more",
        "most likely class: 0 no_rain, 1 rain, 2 heavy_rain",
        "precipitation of the forecast, not corrected",
    ]
    assert about["units"] == ["1", "1", None, "mm"]
    assert set(about["dtypes"]) == {"float32"}
    assert about["nodata"] == "nan"
    expected = {
        "comment": "Not to act on <é>",
        "forecast_reference_time": "2026-07-14T18:00:00Z",
        "time": "2026-07-15T20:00:00Z",
        "model_name": "sample",
        "model_version": "1.2.3",
        "training_simulated": "true",
        "AREA_OR_POINT": "Area",
    }
    assert expected.items() <= about["tags"].items()


def test_cells_without_a_value_are_nan(tmp_path: Path) -> None:
    product = sample_product()
    product[EXCEEDANCE][0, 1, 2, 3] = np.nan
    product["most_likely_class"][1, 2, 3] = NO_CLASS
    _, arrays = read(geotiff(product, 26), tmp_path, 6371008.77)
    row = product.sizes["y"] - 1 - 2
    assert np.argwhere(np.isnan(arrays["bands"])).tolist() == [[0, row, 3], [2, row, 3]]


def test_equal_products_give_equal_bytes() -> None:
    assert geotiff(sample_product(), 25) == geotiff(sample_product(), 25)
    assert geotiff(sample_product(), 25) != geotiff(sample_product(), 26)
