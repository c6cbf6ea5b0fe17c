"""A product as a Zarr store: its keys and their bytes.

Source: the Zarr specification, version 3, with the consolidated metadata that zarr-python and xarray read. A
chunk is one lead of one class or threshold, as in the NetCDF file; what holds fill values alone has no chunk.
"""

from __future__ import annotations

import json
from typing import Final

import numpy as np
import xarray as xr
import zarr
from zarr.core.buffer import Buffer

METADATA: Final = "zarr.json"
_KEPT_ENCODING: Final = ("_FillValue", "dtype", "units", "calendar", "coordinates")


def zarr_store(dataset: xr.Dataset) -> dict[str, bytes]:
    """All keys of the store of a product, whose root group's metadata holds that of every array."""
    content: dict[str, Buffer] = {}
    store = zarr.storage.MemoryStore(content)
    _encoded(dataset).to_zarr(store, mode="w", zarr_format=3, consolidated=False)
    keys = {key: buffer.to_bytes() for key, buffer in content.items()}
    return keys | {METADATA: _consolidated(keys)}


def _consolidated(keys: dict[str, bytes]) -> bytes:
    """The metadata of the root group with those of all arrays.

    They are not in the specification yet, of which zarr-python warns; but readers over HTTP need them.
    """
    arrays = {
        key.removesuffix(f"/{METADATA}"): json.loads(value)
        for key, value in sorted(keys.items())
        if key.endswith(f"/{METADATA}")
    }
    root = json.loads(keys[METADATA])
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": arrays}
    return json.dumps(root).encode()


def _encoded(dataset: xr.Dataset) -> xr.Dataset:
    """Without what only NetCDF knows: its packing, and names in strings of a fixed length."""
    ny, nx = dataset.sizes["y"], dataset.sizes["x"]
    whole = dataset.copy()
    whole["class_name"] = ("class", dataset["class_name"].values.astype(np.dtypes.StringDType()))
    whole["class_name"].attrs = dataset["class_name"].attrs
    for variable in whole.variables.values():
        encoding = variable.encoding
        variable.encoding = {key: encoding[key] for key in _KEPT_ENCODING if key in encoding}
        # A chunk that is not there must not read as zero.
        if "_FillValue" in variable.encoding:
            variable.encoding["fill_value"] = variable.encoding["_FillValue"]
        if variable.dtype.kind == "T":
            variable.encoding = {}
        if variable.dims[-2:] == ("y", "x"):
            variable.encoding["chunks"] = (*(1 for _ in variable.dims[:-2]), ny, nx)
    return whole
