"""NetCDF files for tests, in the forms in which forecasts come."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import netCDF4
import numpy as np
from numpy.typing import NDArray

from tests.service.sample_grib import EARTH_RADIUS_M, NX, NY, SPACING_M, lambert

Attributes = dict[str, Any]
FileFormat = Literal[
    "NETCDF4", "NETCDF4_CLASSIC", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"
]


@dataclass(frozen=True)
class Variable:
    """values: over the dimensions, NaN for fill values. packed: int16 with scale_factor and add_offset."""

    values: NDArray[np.float64]
    unit: str | None
    dimensions: tuple[str, ...] = ("time", "y", "x")
    packed: bool = False
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """How a file says when and where.

    leads_hours: of the time coordinate. reference: "coordinate", "units" or the name of a global attribute.
    period: whether a forecast_period stands in for the time coordinate. positions: "lambert", "latlon" or
    "curvilinear". levels: name, unit and values of a vertical coordinate.
    """

    leads_hours: tuple[float, ...] = (25.0,)
    reference: str = "coordinate"
    reference_text: str = "2022-08-09T18:00:00"
    period: bool = False
    positions: str = "curvilinear"
    levels: tuple[str, str, tuple[float, ...]] | None = None
    file_format: FileFormat = "NETCDF4"
    unlimited: bool = False
    bounds: tuple[tuple[float, float], ...] = ()


def write_netcdf(path: Path, variables: dict[str, Variable], form: Form = Form()) -> Path:
    """A file of the sample grid of ``sample_grib``."""
    with netCDF4.Dataset(path, "w", format=form.file_format) as dataset:
        dataset.createDimension("time", None if form.unlimited else len(form.leads_hours))
        dataset.createDimension("y", NY)
        dataset.createDimension("x", NX)
        _write_times(dataset, form)
        _write_positions(dataset, form.positions)
        if form.levels is not None:
            name, unit, levels = form.levels
            dataset.createDimension(name, len(levels))
            _coordinate(dataset, name, (name,), np.array(levels), {"units": unit} if unit else {}, "f4")
        for name, variable in variables.items():
            _write_variable(dataset, name, variable, form)
    return path


def _write_times(dataset: Any, form: Form) -> None:
    since = f"hours since {form.reference_text.replace('T', ' ')}"
    if form.reference == "coordinate":
        attributes = {"standard_name": "forecast_reference_time", "units": "seconds since 1970-01-01"}
        seconds = (np.datetime64(form.reference_text, "s") - np.datetime64(0, "s")).astype(float)
        _coordinate(dataset, "run", (), np.array(seconds), attributes)
    elif form.reference != "units":
        dataset.setncattr(form.reference, form.reference_text)
    leads = np.array(form.leads_hours)
    if form.period:
        attributes = {"standard_name": "forecast_period", "units": "minutes"}
        _coordinate(dataset, "step", ("time",), leads * 60.0, attributes)
        return
    attributes = {"standard_name": "time", "units": since}
    if form.bounds:
        attributes["bounds"] = "time_bounds"
        dataset.createDimension("pair", 2)
        _coordinate(dataset, "time_bounds", ("time", "pair"), np.array(form.bounds), {})
    _coordinate(dataset, "time", ("time",), leads, attributes)


def _write_positions(dataset: Any, positions: str) -> None:
    projection, x, y = lambert()
    if positions == "latlon":
        _coordinate(
            dataset, "y", ("y",), 36.0 + 0.05 * np.arange(float(NY)), {"units": "degrees_north"}, "f4"
        )
        _coordinate(
            dataset, "x", ("x",), 125.0 + 0.05 * np.arange(float(NX)), {"units": "degrees_east"}, "f4"
        )
    elif positions == "curvilinear":
        longitude, latitude = projection(*np.meshgrid(x, y), inverse=True)
        _coordinate(dataset, "lat", ("y", "x"), latitude, {"units": "degrees_north"})
        _coordinate(dataset, "lon", ("y", "x"), longitude, {"units": "degrees_east"})
    elif positions == "lambert":
        _coordinate(dataset, "x", ("x",), x / 1000.0, {"units": "km"})
        _coordinate(dataset, "y", ("y",), y + 7000.0, {"units": "m"})
        mapping = dataset.createVariable("crs", "i4", ())
        mapping.setncatts(
            {
                "grid_mapping_name": "lambert_conformal_conic",
                "standard_parallel": [30.0, 60.0],
                "latitude_of_projection_origin": 38.0,
                "longitude_of_central_meridian": 126.0,
                "false_northing": 7000.0,
                "earth_radius": EARTH_RADIUS_M,
            }
        )


def _coordinate(
    dataset: Any,
    name: str,
    dimensions: tuple[str, ...],
    values: NDArray[np.float64],
    attributes: Attributes,
    kind: str = "f8",
) -> None:
    variable = dataset.createVariable(name, kind, dimensions)
    variable.setncatts(attributes)
    variable[...] = values


def _write_variable(dataset: Any, name: str, variable: Variable, form: Form) -> None:
    fill = np.int16(-32768) if variable.packed else np.float32(-9e33)
    kind = "i2" if variable.packed else "f4"
    written = dataset.createVariable(name, kind, variable.dimensions, fill_value=fill)
    attributes = dict(variable.attributes)
    if variable.unit is not None:
        attributes["units"] = variable.unit
    if form.positions == "lambert":
        attributes["grid_mapping"] = "crs"
    if variable.packed:
        low, high = float(np.nanmin(variable.values)), float(np.nanmax(variable.values))
        attributes |= {"scale_factor": (high - low) / 65000.0, "add_offset": (low + high) / 2.0}
    written.setncatts(attributes)
    holes = np.isnan(variable.values)
    written[...] = np.ma.array(np.where(holes, np.nanmean(variable.values), variable.values), mask=holes)


__all__ = ["NX", "NY", "SPACING_M", "Form", "Variable", "write_netcdf"]
