"""The coordinate reference system of a product as well-known text."""

from __future__ import annotations

import xarray as xr
from pyproj import CRS


def native_crs(dataset: xr.Dataset) -> CRS:
    """That of the product's own axes, from its grid mapping."""
    return CRS.from_cf(dict(dataset["crs"].attrs))


def native_wkt(dataset: xr.Dataset) -> str:
    """As WKT 2 of 2019 (ISO 19162)."""
    return native_crs(dataset).to_wkt()


def degrees_wkt() -> str:
    """Of WGS 84, longitude before latitude (CRS84)."""
    return CRS.from_user_input("OGC:CRS84").to_wkt()
