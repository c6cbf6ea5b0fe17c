"""The product as GRIB2: probabilities of events, one message per lead and event.

Source: WMO Manual on Codes (WMO-No. 306), volume I.2, FM 92 GRIB edition 2. Product template 4.9 is a
probability over a time interval; the quantity is total precipitation (discipline 0, category 1, number 8, in
kg m-2, which are mm) accumulated over the hours that end at the lead. With thresholds t1 < ... < tn an event
is (code table 4.9)

=====  ============================================  ==================================================
type   event                                         in the NetCDF product
=====  ============================================  ==================================================
0      below the lower limit t1                      the first class
2      from the lower limit to the upper: t1 to t2,  the classes between; the lower limit belongs to the
       ..., the upper one not included               event, the upper one does not
3      above the lower limit, t1 to tn               the exceedance; an amount equal to it counts as above
=====  ============================================  ==================================================

The class above tn is its exceedance and has no message of its own. Type 1 is above an *upper* limit, type 4
below one: neither is used, so that a reader finds all events by their lower limit.

A lead that the cycle lacks has no message. Probabilities are rounded to four decimals and then packed without
loss, simply, which every reader knows: they come back to 0.00005 and stay within 0 and 1. Cells without a
value are holes of the bitmap.

What the standard leaves to centres is missing: this service has no number among them (common code table
C-11), and the identity of its model does not fit into an octet; the NetCDF product has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

import eccodes
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from service.grib_grids import LAMBERT, LATITUDE_LONGITUDE
from service.grids import Grid, LambertGrid, LatitudeLongitudeGrid
from service.product import EXCEEDANCE, PRESENT
from service.product_coordinates import product_grid

BELOW, BETWEEN, ABOVE = 0, 2, 3
"""Probability types of code table 4.9."""

DECIMALS: Final = 4
"""Of the probabilities."""

Keys = dict[str, int | float | str | None]
"""Keys of eccodes, in the order in which they must be set; None for missing."""

_HOLE: Final = -1.0
"""Stands for cells without a value between this module and eccodes."""

_TABLES_VERSION: Final = 28
"""Of the master tables (code table 1.0); not the newest, so that older readers know it."""

_NO_CENTRE, _NO_PROCESS = 65535, 255
_START_OF_FORECAST: Final = 1
_RESEARCH, _STATUS_UNKNOWN = 2, 255
_EVENT_PROBABILITY: Final = 8
_FORECAST_PROBABILITY: Final = 5
"""Code tables 1.2, 1.3 (two), 1.4 and 4.3."""

_SURFACE: Final = 1
_HOUR: Final = 1
_ACCUMULATION: Final = 1
_FORECAST_TIME_GROWS: Final = 2
"""Code tables 4.5, 4.4, 4.10 and 4.11."""

_SPHERE_OF_RADIUS, _SPHERE_OF_MEAN_EARTH_RADIUS = 1, 6
_STEPS_GIVEN: Final = 0x30
_SOUTH_POLE: Final = 0x80
"""Code table 3.2 (two), flag tables 3.3 and 3.5."""

_RADIUS_DECIMALS: Final = 2
"""As many as leave a radius of the Earth in m within 32 bits."""


@dataclass(frozen=True)
class Event:
    """What a probability is of; limits in mm, None where the type has none."""

    kind: int
    lower_mm: float
    upper_mm: float | None = None


def grib_messages(dataset: xr.Dataset, lead_hours: int | None = None) -> bytes:
    """The messages of a product one after the other, in order of lead and event.

    lead_hours: the only lead wanted; nothing comes of one that the product lacks.
    """
    present = dataset["lead"].values[dataset["lead_status"].values == PRESENT].tolist()
    chosen = [lead for lead in present if lead_hours in {None, lead}]
    head = _identification(dataset) | _grid(product_grid(dataset))
    return b"".join(message for lead in chosen for message in _messages(dataset.sel(lead=lead), head))


def events(thresholds_mm: list[float]) -> tuple[Event, ...]:
    """The events of a product with these thresholds, which grow, in the order of their messages."""
    between = (Event(BETWEEN, lower, upper) for lower, upper in pairwise(thresholds_mm))
    return (Event(BELOW, thresholds_mm[0]), *between, *(Event(ABOVE, lower) for lower in thresholds_mm))


def _messages(field: xr.Dataset, head: Keys) -> Iterator[bytes]:
    """field: the product at one lead."""
    known = events(field["threshold"].values.tolist())
    fields = [*field["class_probability"].values[:-1], *field[EXCEEDANCE].values]
    for number, (event, values) in enumerate(zip(known, fields, strict=True), start=1):
        keys = head | _probability(event, number, len(known)) | _interval(field)
        yield _message(keys, values)


def _message(keys: Keys, values: NDArray[np.float32]) -> bytes:
    handle = eccodes.codes_grib_new_from_samples("GRIB2")
    try:
        for key, value in keys.items():
            if value is None:
                eccodes.codes_set_missing(handle, key)
            else:
                eccodes.codes_set(handle, key, value)
        holes = np.isnan(values)
        rounded = np.where(holes, _HOLE, np.round(values.astype(np.float64), DECIMALS))
        eccodes.codes_set(handle, "bitmapPresent", int(holes.any()))
        eccodes.codes_set(handle, "missingValue", _HOLE)
        # Readers do not agree on whether the decimal scale applies to a field without bits: it has none.
        constant = np.unique(rounded[~holes]).size <= 1
        eccodes.codes_set(handle, "decimalPrecision", 0 if constant else DECIMALS)
        eccodes.codes_set_values(handle, rounded.ravel())
        message: bytes = eccodes.codes_get_message(handle)
    finally:
        eccodes.codes_release(handle)
    return message


def _identification(dataset: xr.Dataset) -> Keys:
    """Sections 0 and 1. A model of simulated data makes research products, whoever runs it."""
    simulated = dataset.attrs["training_simulated"] == "true"
    return {
        "discipline": 0,
        "tablesVersion": _TABLES_VERSION,
        "centre": _NO_CENTRE,
        "subCentre": _NO_CENTRE,
        "significanceOfReferenceTime": _START_OF_FORECAST,
        **_moment(dataset["forecast_reference_time"], ""),
        "productionStatusOfProcessedData": _RESEARCH if simulated else _STATUS_UNKNOWN,
        "typeOfProcessedData": _EVENT_PROBABILITY,
    }


def _probability(event: Event, number: int, count: int) -> Keys:
    """The first part of section 4. number: of the event, from 1; count: of all events."""
    return {
        "productDefinitionTemplateNumber": 9,
        "parameterCategory": 1,
        "parameterNumber": 8,
        "typeOfGeneratingProcess": _FORECAST_PROBABILITY,
        "backgroundProcess": _NO_PROCESS,
        "generatingProcessIdentifier": _NO_PROCESS,
        "typeOfFirstFixedSurface": _SURFACE,
        "forecastProbabilityNumber": number,
        "totalNumberOfForecastProbabilities": count,
        "probabilityType": event.kind,
        **_limit(event.lower_mm, "LowerLimit"),
        **_limit(event.upper_mm, "UpperLimit"),
    }


def _interval(field: xr.Dataset) -> Keys:
    """The rest of section 4. field: the product at one lead."""
    start, end = field["time_bounds"].values
    hours = int((end - start) / np.timedelta64(1, "h"))
    return {
        "indicatorOfUnitForForecastTime": _HOUR,
        "forecastTime": int(field["lead"]) - hours,
        **_moment(field["time"], "OfEndOfOverallTimeInterval"),
        "numberOfTimeRanges": 1,
        "typeOfStatisticalProcessing": _ACCUMULATION,
        "typeOfTimeIncrement": _FORECAST_TIME_GROWS,
        "indicatorOfUnitForTimeRange": _HOUR,
        "lengthOfTimeRange": hours,
    }


def _grid(grid: Grid) -> Keys:
    """Section 3, in the order of the product's rows and columns."""
    latitude, longitude = grid.latitude_longitude()
    ny, nx = grid.shape
    first: Keys = {
        "latitudeOfFirstGridPointInDegrees": float(latitude[0, 0]),
        "longitudeOfFirstGridPointInDegrees": float(longitude[0, 0]) % 360.0,
    }
    if isinstance(grid, LambertGrid):
        projection = grid.projection
        radius = Decimal(repr(projection.semi_major_axis_m))
        parallels = projection.standard_parallels_degrees
        return {
            "gridDefinitionTemplateNumber": LAMBERT,
            "shapeOfTheEarth": _SPHERE_OF_RADIUS,
            "scaleFactorOfRadiusOfSphericalEarth": _RADIUS_DECIMALS,
            "scaledValueOfRadiusOfSphericalEarth": round(radius.scaleb(_RADIUS_DECIMALS)),
            "Nx": nx,
            "Ny": ny,
            **first,
            "resolutionAndComponentFlags": _STEPS_GIVEN,
            "LaDInDegrees": projection.origin_latitude_degrees,
            "LoVInDegrees": projection.origin_longitude_degrees % 360.0,
            "DxInMetres": abs(grid.x_step_m),
            "DyInMetres": abs(grid.y_step_m),
            "projectionCentreFlag": 0 if sum(parallels) > 0.0 else _SOUTH_POLE,
            **_scanning(grid.x_step_m, grid.y_step_m),
            "Latin1InDegrees": parallels[0],
            "Latin2InDegrees": parallels[1],
        }
    assert isinstance(grid, LatitudeLongitudeGrid)  # noqa: S101 - products lie on no other grid
    return {
        "gridDefinitionTemplateNumber": LATITUDE_LONGITUDE,
        "shapeOfTheEarth": _SPHERE_OF_MEAN_EARTH_RADIUS,
        "Ni": nx,
        "Nj": ny,
        **first,
        "resolutionAndComponentFlags": _STEPS_GIVEN,
        "latitudeOfLastGridPointInDegrees": float(latitude[-1, -1]),
        "longitudeOfLastGridPointInDegrees": float(longitude[-1, -1]) % 360.0,
        "iDirectionIncrementInDegrees": abs(grid.longitude_step_degrees),
        "jDirectionIncrementInDegrees": abs(grid.latitude_step_degrees),
        **_scanning(grid.longitude_step_degrees, grid.latitude_step_degrees),
    }


def _scanning(x_step: float, y_step: float) -> Keys:
    """Flag table 3.4: rows one after the other, in the direction of the steps."""
    return {"iScansNegatively": int(x_step < 0.0), "jScansPositively": int(y_step > 0.0)}


def _limit(amount_mm: float | None, name: str) -> Keys:
    """A limit with all its decimals: 0.1 is 1 of scale 1."""
    factor: int | None = None
    value: int | None = None
    if amount_mm is not None:
        exact = Decimal(repr(amount_mm)).normalize()
        factor = max(0, -int(exact.as_tuple().exponent))
        value = int(exact.scaleb(factor))
    return {f"scaleFactorOf{name}": factor, f"scaledValueOf{name}": value}


def _moment(time: xr.DataArray, suffix: str) -> Keys:
    """The six keys of a time in UTC."""
    moment = time.values.astype("datetime64[s]").item()
    parts = ("year", "month", "day", "hour", "minute", "second")
    return {f"{part}{suffix}": getattr(moment, part) for part in parts}
