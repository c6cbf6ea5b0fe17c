"""Parts of a product as NetCDF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from service.product import EXCEEDANCE, RAW_PRECIPITATION, write_product
from service.product_coordinates import product_grid
from service.product_subset import subset_netcdf
from tests.service.sample_edr import cells_around, point_sample, sample
from tests.service.sample_product import sample_product


def reopened(product: xr.Dataset, folder: Path) -> xr.Dataset:
    """As the service reads it: with the encoding of the file."""
    write_product(product, folder / "product.nc")
    with xr.open_dataset(folder / "product.nc", engine="netcdf4") as dataset:
        return dataset.load()


def opened(content: bytes, folder: Path) -> xr.Dataset:
    (folder / "part.nc").write_bytes(content)
    with xr.open_dataset(folder / "part.nc", engine="netcdf4") as dataset:
        return dataset.load()


def test_a_part_is_the_part(tmp_path: Path) -> None:
    product = reopened(sample_product(), tmp_path)
    cells = cells_around(product, slice(3, 6), slice(2, 5))
    cells = type(cells)(cells.rows[1:], cells.columns[1:])
    part = opened(subset_netcdf(sample(product, cells, leads=(0, 2))), tmp_path)
    rows, columns = cells.window
    whole = product.isel(lead=[0, 2], y=rows, x=columns)
    outside = ~cells.mask()
    assert outside.any()
    for name in ("class_probability", EXCEEDANCE, "most_likely_class", RAW_PRECIPITATION):
        np.testing.assert_array_equal(part[name], whole[name].where(xr.DataArray(~outside, dims=("y", "x"))))
        assert part[name].attrs.keys() == whole[name].attrs.keys()
    for name in ("x", "y", "latitude", "longitude", "time", "time_bounds", "forecast_reference_time"):
        xr.testing.assert_identical(part[name].variable, whole[name].variable)
    grid = product_grid(product)
    assert product_grid(part) == grid.window(rows.start, columns.start, *cells.mask().shape)
    assert part.attrs.keys() == product.attrs.keys()


def test_a_point_with_some_parameters(tmp_path: Path) -> None:
    product = reopened(sample_product(), tmp_path)
    part = opened(subset_netcdf(point_sample(product, 4, 9, "class_probability_heavy_rain")), tmp_path)
    assert dict(part.sizes) == {"lead": 3, "class": 1, "y": 1, "x": 1, "bounds": 2}
    assert part["class_name"].values.tolist() == ["heavy_rain"]
    assert (
        part["class_probability"].values[:, 0, 0, 0].tolist()
        == product["class_probability"].values[:, 2, 4, 9].tolist()
    )
    assert RAW_PRECIPITATION not in part
    assert "threshold" not in part
