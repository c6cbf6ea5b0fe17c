"""Coordinates of a product: times, labels and the horizontal grid, by the CF conventions.

Durations are in ``h``, not ``hours``: xarray then leaves them as numbers of hours in every version.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import xarray as xr

from service.artefact import Manifest
from service.channels import QUANTITIES
from service.cycle import CycleInput
from service.grids import Grid, LambertGrid, LatitudeLongitudeGrid
from service.projections import LambertConformal

_HOUR: Final = np.timedelta64(3600, "s")
_CLOCK: Final = {"units_metadata": "leap_seconds: none"}


def times(cycle: CycleInput, manifest: Manifest) -> dict[str, xr.Variable]:
    """Valid time with the bounds of its period, reference time and lead."""
    leads = np.array(manifest.cycle.leads_hours)
    time = cycle.reference_time.astype("datetime64[s]") + leads * _HOUR
    bounds = np.stack([time - manifest.cycle.precipitation_hours * _HOUR, time], axis=1)
    return {
        "time": xr.Variable(
            "lead",
            time,
            {"standard_name": "time", "long_name": "end of the period", "bounds": "time_bounds"} | _CLOCK,
        ),
        "time_bounds": xr.Variable(("lead", "bounds"), bounds),
        "forecast_reference_time": xr.Variable(
            (),
            cycle.reference_time.astype("datetime64[s]"),
            {"standard_name": "forecast_reference_time", "long_name": "start of the forecast"} | _CLOCK,
        ),
        "forecast_period": xr.Variable(
            "lead",
            leads.astype(np.int32),
            {"standard_name": "forecast_period", "long_name": "lead of the end of the period", "units": "h"},
        ),
    }


def labels(manifest: Manifest) -> dict[str, xr.Variable]:
    """Coordinates of the dimensions that are not horizontal."""
    return {
        "lead": xr.Variable(
            "lead",
            np.array(manifest.cycle.leads_hours, np.int32),
            {"long_name": "lead, for selection: equals forecast_period", "units": "h"},
        ),
        "class": xr.Variable(
            "class",
            np.arange(len(manifest.classes), dtype=np.int8),
            flags("class of precipitation", manifest.classes),
        ),
        "class_name": xr.Variable("class", np.array(manifest.classes), {"long_name": "name of the class"}),
        "threshold": xr.Variable(
            "threshold",
            np.array(manifest.thresholds_mm),
            {
                "standard_name": QUANTITIES["precipitation"].standard_name,
                "long_name": "smallest amount of the class above",
                "units": "mm",
            },
        ),
    }


def horizontal(grid: Grid) -> dict[str, xr.Variable]:
    """Grid mapping ``crs``, axes ``x`` and ``y``, and the position of every cell."""
    latitude, longitude = grid.latitude_longitude()
    plane = grid.projection_coordinates()
    north = {"standard_name": "latitude", "units": "degrees_north"}
    east = {"standard_name": "longitude", "units": "degrees_east"}
    if plane is None:
        # CF wants one latitude and one longitude beside this grid mapping, which are its axes, and an axis
        # that is monotonic, also at the date line.
        x = xr.Variable("x", np.unwrap(longitude[0], period=360.0), east | {"axis": "X"})
        y = xr.Variable("y", latitude[:, 0], north | {"axis": "Y"})
        north, east = (
            {"long_name": f"{name} of the cell", "units": "degrees"} for name in ("latitude", "longitude")
        )
    else:
        x, y = (
            xr.Variable(
                name,
                values,
                {"standard_name": f"projection_{name}_coordinate", "units": "m", "axis": name.upper()},
            )
            for name, values in zip(("x", "y"), plane, strict=True)
        )
    return {
        "crs": xr.Variable((), np.int32(0), dict(grid.cf_grid_mapping())),
        "x": x,
        "y": y,
        "latitude": xr.Variable(("y", "x"), latitude, north),
        "longitude": xr.Variable(("y", "x"), longitude, east),
    }


def product_grid(dataset: xr.Dataset) -> Grid:
    """The grid of a product, from its grid mapping and its axes."""
    mapping = dataset["crs"].attrs
    x, y = (dataset[axis].values for axis in ("x", "y"))
    x_step, y_step = ((axis[-1] - axis[0]) / max(len(axis) - 1, 1) for axis in (x, y))
    if mapping["grid_mapping_name"] == "latitude_longitude":
        return LatitudeLongitudeGrid(len(x), len(y), float(y[0]), float(x[0]), float(y_step), float(x_step))
    first, *second = np.atleast_1d(mapping["standard_parallel"])
    projection = LambertConformal(
        (float(first), float(second[0] if second else first)),
        float(mapping["latitude_of_projection_origin"]),
        float(mapping["longitude_of_central_meridian"]),
        float(mapping["earth_radius"]),
        float(mapping["earth_radius"]),
    )
    return LambertGrid(projection, len(x), len(y), float(x[0]), float(y[0]), float(x_step), float(y_step))


def flags(long_name: str, meanings: tuple[str, ...]) -> dict[str, Any]:
    """Attributes of a variable whose values count the meanings from 0."""
    return {
        "long_name": long_name,
        "flag_values": np.arange(len(meanings), dtype=np.int8),
        "flag_meanings": " ".join(meanings),
    }
