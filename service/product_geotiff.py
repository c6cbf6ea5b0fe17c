"""One lead of the product as a GeoTIFF in the product's own projection, north up.

Source: OGC 19-008r4, GeoTIFF 1.1. The projection is user-defined, for no register has it on a sphere of the
product's radius: a conic of two parallels (coordinate operation 8) or plain latitude and longitude. A cell is
an area (RasterPixelIsArea) with the point of the NetCDF product at its centre.

Bands are float32, NaN where there is no value: the probability of every threshold, the class (from 0) and the
raw rain. Their names and what must be known of the product are in the metadata of GDAL, which GIS programs
show (tags 42112 and 42113: https://gdal.org/drivers/raster/gtiff.html).
"""

from __future__ import annotations

from io import BytesIO
from typing import Final
from xml.etree import ElementTree as ET

import numpy as np
import tifffile
import xarray as xr
from numpy.typing import NDArray

from service.grids import MEAN_EARTH_RADIUS_M, Grid, LambertGrid, LatitudeLongitudeGrid
from service.product import EXCEEDANCE, NO_CLASS, RAW_PRECIPITATION
from service.product_coordinates import product_grid
from service.times import iso_time

Tag = tuple[int, str, int, str | tuple[float, ...], bool]
"""Code, type of TIFF, count, value and whether once for all pages, as tifffile takes it."""

# Keys are numbers here as they are in the standard: 1024 to 3087 stand in its tables by number.
_PIXEL_SCALE, _TIEPOINT, _KEY_DIRECTORY, _KEY_NUMBERS = 33550, 33922, 34735, 34736
_GDAL_METADATA, _GDAL_NO_DATA = 42112, 42113

_PROJECTED, _GEOGRAPHIC, _PIXEL_IS_AREA = 1, 2, 1
_USER_DEFINED: Final = 32767
_METRE, _DEGREE = 9001, 9102
_LAMBERT_OF_TWO_PARALLELS: Final = 8

_GLOBALS: Final = ("title", "comment", "model_name", "model_version", "model_sha256", "training_simulated")


def geotiff(dataset: xr.Dataset, lead_hours: int) -> bytes:
    """The lead, which the product must have, as a file."""
    lead = dataset.sel(lead=lead_hours)
    grid = product_grid(dataset)
    bands = _bands(lead)
    # GIS programs expect the first row in the north and the first column in the west.
    rows, columns = (_ascending(axis.values) for axis in (-dataset["y"], dataset["x"]))
    file = BytesIO()
    tifffile.imwrite(
        file,
        np.stack([values[rows, columns] for values, *_ in bands]),
        photometric="minisblack",
        planarconfig="separate",
        compression="zlib",
        metadata=None,
        software=False,
        extratags=[*_georeference(grid), *_metadata(dataset, lead, [names for _, *names in bands])],
    )
    return file.getvalue()


def _ascending(axis: NDArray[np.float64]) -> slice:
    return slice(None, None, -1 if axis[-1] < axis[0] else 1)


def _bands(lead: xr.Dataset) -> list[tuple[NDArray[np.float32], str, str]]:
    """Values (y, x), name and unit."""
    likely = lead["most_likely_class"].values.astype(np.float32)
    names = ", ".join(f"{number} {name}" for number, name in enumerate(lead["class_name"].values.tolist()))
    probabilities = [
        (values, f"probability of {threshold:g} mm or more", "1")
        for values, threshold in zip(lead[EXCEEDANCE].values, lead["threshold"].values.tolist(), strict=True)
    ]
    return [
        *probabilities,
        (np.where(likely == NO_CLASS, np.float32(np.nan), likely), f"most likely class: {names}", ""),
        (lead[RAW_PRECIPITATION].values, "precipitation of the forecast, not corrected", "mm"),
    ]


def _georeference(grid: Grid) -> list[Tag]:
    """Where the cells lie and in which coordinates."""
    ny, nx = grid.shape
    if isinstance(grid, LambertGrid):
        x_first, x_step, y_first, y_step = grid.x_first_m, grid.x_step_m, grid.y_first_m, grid.y_step_m
    else:
        assert isinstance(grid, LatitudeLongitudeGrid)  # noqa: S101 - products lie on no other grid
        x_first, x_step = grid.first_longitude_degrees, grid.longitude_step_degrees
        y_first, y_step = grid.first_latitude_degrees, grid.latitude_step_degrees
    west = min(x_first, x_first + (nx - 1) * x_step) - abs(x_step) / 2.0
    north = max(y_first, y_first + (ny - 1) * y_step) + abs(y_step) / 2.0
    directory, numbers = _keys(grid)
    return [
        (_PIXEL_SCALE, "d", 3, (abs(x_step), abs(y_step), 0.0), True),
        (_TIEPOINT, "d", 6, (0.0, 0.0, 0.0, west, north, 0.0), True),
        (_KEY_DIRECTORY, "H", len(directory), directory, True),
        (_KEY_NUMBERS, "d", len(numbers), numbers, True),
    ]


def _keys(grid: Grid) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The GeoKey directory, in order of the keys, and the numbers that it points at."""
    # Raster type; geographic system, its datum, unit and ellipsoid, whose axes are 2057 and 2058.
    codes: dict[int, int] = {1025: _PIXEL_IS_AREA, 2048: _USER_DEFINED, 2050: _USER_DEFINED}
    codes |= {2054: _DEGREE, 2056: _USER_DEFINED}
    numbers: dict[int, float] = {}
    if isinstance(grid, LambertGrid):
        projection = grid.projection
        axes = projection.semi_major_axis_m, projection.semi_minor_axis_m
        # The plane, its projection, method and unit; parallels, false origin and its coordinates.
        codes |= {1024: _PROJECTED, 3072: _USER_DEFINED, 3074: _USER_DEFINED}
        codes |= {3075: _LAMBERT_OF_TWO_PARALLELS, 3076: _METRE}
        numbers |= {
            3078: projection.standard_parallels_degrees[0],
            3079: projection.standard_parallels_degrees[1],
            3084: projection.origin_longitude_degrees,
            3085: projection.origin_latitude_degrees,
            3086: 0.0,
            3087: 0.0,
        }
    else:
        codes[1024] = _GEOGRAPHIC
        axes = MEAN_EARTH_RADIUS_M, MEAN_EARTH_RADIUS_M
    numbers |= {2057: axes[0], 2058: axes[1]}
    places = {key: place for place, key in enumerate(sorted(numbers))}
    entries = [
        (key, 0, 1, codes[key]) if key in codes else (key, _KEY_NUMBERS, 1, places[key])
        for key in sorted(codes | numbers)
    ]
    directory = (1, 1, 1, len(entries), *(number for entry in entries for number in entry))
    return directory, tuple(numbers[key] for key in places)


def _metadata(dataset: xr.Dataset, lead: xr.Dataset, names: list[list[str]]) -> list[Tag]:
    """names: name and unit of every band."""
    root = ET.Element("GDALMetadata")

    def add(text: str, **attributes: str) -> None:
        ET.SubElement(root, "Item", attributes).text = text

    for name in _GLOBALS:
        add(str(dataset.attrs[name]), name=name)
    for name in ("forecast_reference_time", "time"):
        (time,) = np.atleast_1d(lead[name].values).astype("datetime64[s]")
        add(iso_time(time), name=name)
    for band, (name, unit) in enumerate(names):
        add(name, name="DESCRIPTION", sample=str(band), role="description")
        if unit:
            add(unit, name="UNITTYPE", sample=str(band), role="unittype")
    text = ET.tostring(root, encoding="us-ascii").decode("ascii")
    return [(_GDAL_METADATA, "s", 0, text, True), (_GDAL_NO_DATA, "s", 0, "nan", True)]
