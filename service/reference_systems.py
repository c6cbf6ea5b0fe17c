"""The coordinate reference system of a product as well-known text."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import xarray as xr
from pyproj import CRS


def native_wkt(dataset: xr.Dataset) -> str:
    """That of the product's own axes, from its grid mapping, as WKT 2 of 2019 (ISO 19162)."""
    attributes = dataset["crs"].attrs.items()
    return _wkt(json.dumps({name: np.asarray(value).tolist() for name, value in attributes}))


def degrees_wkt() -> str:
    """Of WGS 84, longitude before latitude (CRS84)."""
    return CRS.from_user_input("OGC:CRS84").to_wkt()


@lru_cache(maxsize=8)
def _wkt(mapping: str) -> str:
    """PROJ looks through all its datums for one of the same sphere: it takes a quarter of a second."""
    return CRS.from_cf(json.loads(mapping)).to_wkt()
