"""A field of GRIB edition 1, as analyses of precipitation come."""

from __future__ import annotations

import eccodes
import numpy as np
from numpy.typing import NDArray

NX, NY = 6, 4
KEYS = {
    "centre": 7,
    "table2Version": 2,
    "indicatorOfParameter": 61,
    "indicatorOfTypeOfLevel": 1,
    "level": 0,
    "dataDate": 20220809,
    "dataTime": 1800,
    "timeRangeIndicator": 4,
    "unitOfTimeRange": 1,
    "P1": 0,
    "P2": 1,
}


def message(values: NDArray[np.float64], **keys: int | str) -> bytes:
    """(y, x) from the north, on a grid of one degree; NaN becomes a hole."""
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib1")
    grid = {
        "Ni": NX,
        "Nj": NY,
        "latitudeOfFirstGridPointInDegrees": 40.0,
        "latitudeOfLastGridPointInDegrees": 37.0,
        "longitudeOfFirstGridPointInDegrees": 124.0,
        "longitudeOfLastGridPointInDegrees": 129.0,
        "iDirectionIncrementInDegrees": 1.0,
        "jDirectionIncrementInDegrees": 1.0,
    }
    for key, value in (KEYS | grid | keys).items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set(handle, "missingValue", 9999)
    eccodes.codes_set(handle, "bitmapPresent", 1)
    eccodes.codes_set(handle, "decimalPrecision", 2)
    eccodes.codes_set_values(handle, np.where(np.isnan(values), 9999.0, values).ravel())
    content: bytes = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return content


def amounts() -> NDArray[np.float64]:
    """(y, x) from the north, in mm, with a hole."""
    values = 0.5 * np.arange(float(NX * NY)).reshape(NY, NX)
    values[1, 2] = np.nan
    return values
