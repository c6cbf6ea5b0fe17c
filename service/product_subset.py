"""A part of a product as CF NetCDF, on the product's own axes with latitude and longitude of every cell."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import xarray as xr

from service.edr_query import Sample
from service.product import write_product
from service.shelf import NETCDF_LOCK

_KEPT_ENCODING: Final = (
    "zlib",
    "complevel",
    "shuffle",
    "_FillValue",
    "coordinates",
    "dtype",
    "units",
    "calendar",
)


def subset_netcdf(sample: Sample) -> bytes:
    """The file of a sample that is not empty; cells of its rectangle outside the area are fill values."""
    with tempfile.TemporaryDirectory() as folder, NETCDF_LOCK:
        path = Path(folder) / "subset.nc"
        write_product(subset(sample), path)
        return path.read_bytes()


def subset(sample: Sample) -> xr.Dataset:
    """The dataset of a sample, with the variables, classes and thresholds of its parameters alone."""
    rows, columns = sample.cells.window
    part = sample.dataset.isel(lead=sample.leads, y=rows, x=columns)
    wanted: dict[str, list[int]] = {"class": [], "threshold": []}
    for one in sample.parameters:
        if one.place is not None:
            wanted[one.place[0]].append(one.place[1])
    names = {one.variable for one in sample.parameters}
    part = part.isel({dimension: places for dimension, places in wanted.items() if places})
    mask = xr.DataArray(sample.cells.mask(), dims=("y", "x"))
    fields = [name for name, variable in part.data_vars.items() if {"y", "x"} <= set(variable.dims)]
    part = part.drop_vars([name for name in fields if name not in names])
    part = part.drop_dims([dimension for dimension, places in wanted.items() if not places])
    for name in names:
        attributes, encoding = part[name].attrs, part[name].encoding
        part[name] = part[name].where(mask)
        part[name].attrs, part[name].encoding = attributes, encoding
    for variable in part.variables.values():
        encoding = variable.encoding
        variable.encoding = {key: encoding[key] for key in _KEPT_ENCODING if key in encoding}
    return part
