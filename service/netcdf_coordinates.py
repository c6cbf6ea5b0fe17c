"""Where and when the variables of a NetCDF file lie: times, levels and grid, by CF's rules.

Source: CF conventions 1.11, chapters 4 to 5 and 7.1, appendix F (grid mappings). WRF's own ``Times``,
``START_DATE`` and ``XLAT`` / ``XLONG`` are understood as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import netCDF4
import numpy as np
from numpy.typing import NDArray

from service.channels import LevelType
from service.errors import MixedCycles, UnrecognisedInput, WrongGrid, WrongPeriod
from service.grids import CurvilinearGrid, Grid, LambertGrid, LatitudeLongitudeGrid
from service.projections import LambertConformal
from service.units import CONVERSIONS

_REFERENCE_ATTRIBUTES: Final = (
    "forecast_reference_time", "reference_time", "SIMULATION_START_DATE", "START_DATE",
)  # fmt: skip
_TIME_NAMES: Final = ("time", "valid_time", "XTIME")
_WRF_TIMES: Final = "Times"
_LONGEST_LEAD_HOURS: Final = 24.0 * 30
_HOURS: Final = {
    "hours": 1.0, "hour": 1.0, "h": 1.0, "hr": 1.0, "minutes": 1 / 60, "minute": 1 / 60, "min": 1 / 60,
    "seconds": 1 / 3600, "second": 1 / 3600, "s": 1 / 3600, "days": 24.0, "day": 24.0, "d": 24.0,
}  # fmt: skip
_NORTH: Final = ("degrees_north", "degree_north", "degrees_N", "degree_N", "degreesN", "degreeN")
_EAST: Final = ("degrees_east", "degree_east", "degrees_E", "degree_E", "degreesE", "degreeE")
_NORTH_NAMES: Final = ("lat", "latitude", "XLAT", "lats")
_EAST_NAMES: Final = ("lon", "longitude", "XLONG", "lons")
_REGULAR: Final = 2e-3
"""Share of a step by which points may miss an even spacing: the rounding of coordinates stored in float32."""
_MOST_POINTS: Final = 50_000_000
"""What was never written takes no bytes, so that a small file may claim a grid that fills the memory."""


@dataclass(frozen=True)
class Times:
    """leads_hours: (time,), after reference_time. starts_hours: of the time bounds, NaN without bounds.

    dimension: the one that counts leads; None where the file holds a single lead.
    """

    reference_time: np.datetime64
    leads_hours: tuple[float, ...]
    starts_hours: tuple[float, ...]
    dimension: str | None


def attribute(variable: Any, name: str) -> str:
    """A text attribute, empty where there is none."""
    return str(getattr(variable, name, "")).strip()


def times(dataset: Any, where: str) -> Times:
    """Reference time and leads.

    The reference time is, in this order: a variable of standard name ``forecast_reference_time``; a global
    attribute ``forecast_reference_time``, ``reference_time``, ``SIMULATION_START_DATE`` or ``START_DATE``;
    the instant that the unit of the time coordinate counts from, where that is at most 30 days before.
    The lead is a variable of standard name ``forecast_period``, or the time coordinate (standard name
    ``time``, or ``time``, ``valid_time``, ``XTIME`` or WRF's ``Times``) less the reference time.

    Raises UnrecognisedInput where one of the two is missing or cannot be read, MixedCycles for several
    reference times.
    """
    reference = _declared_reference(dataset, where)
    period = _with_standard_name(dataset, "forecast_period")
    valid = _time_variable(dataset)
    if period is not None and reference is not None:
        factor = _HOURS.get(attribute(period, "units"))
        if factor is None:
            raise _no_time(where, f"forecast_period in {attribute(period, 'units')!r}")
        leads = np.atleast_1d(np.ma.filled(period[:].astype(np.float64), np.nan)) * factor
        return _times(reference, leads, _starts(dataset, valid, reference), period)
    if valid is None:
        raise _no_time(where, "no time coordinate")
    moments = _moments(valid, valid[:], where)
    if reference is None:
        reference = _epoch(valid, where)
        if not 0 <= (moments.max() - reference) / np.timedelta64(3600, "s") <= _LONGEST_LEAD_HOURS:
            raise _no_time(
                where, f"only {attribute(valid, 'units')!r}, which does not look like a start of a run"
            )
    return _times(reference, _hours(moments, reference), _starts(dataset, valid, reference), valid)


def observed_times(dataset: Any, where: str) -> Times:
    """The periods of observations, by the bounds of the time coordinate.

    Where the file declares no reference time, they are counted from the start of the last period.
    Raises UnrecognisedInput for a file without time, WrongPeriod for one without bounds.
    """
    valid = _time_variable(dataset)
    if valid is None:
        raise _no_time(where, "no time coordinate")
    bounds = dataset.variables.get(attribute(valid, "bounds"))
    if bounds is None:
        raise WrongPeriod(
            "The file does not say over which period its precipitation fell",
            where=f"{where}, variable {valid.name}",
            expected="an attribute 'bounds' that names the ends of the period",
            got=repr(attribute(valid, "bounds")),
        )
    starts, ends = (
        _moments(valid, column, f"{where}, variable {bounds.name}") for column in np.atleast_2d(bounds[:]).T
    )
    reference = _declared_reference(dataset, where)
    if reference is None:
        reference = np.datetime64(starts.max(), "s")
    return _times(reference, _hours(ends, reference), _hours(starts, reference), valid)


def _times(
    reference: np.datetime64, leads: NDArray[np.float64], starts: NDArray[np.float64] | None, variable: Any
) -> Times:
    if starts is None or starts.shape != leads.shape:
        starts = np.full(leads.shape, np.nan)
    dimension = variable.dimensions[0] if variable.dimensions else None
    return Times(reference, tuple(leads.tolist()), tuple(starts.tolist()), dimension)


def _declared_reference(dataset: Any, where: str) -> np.datetime64 | None:
    variable = _with_standard_name(dataset, "forecast_reference_time")
    if variable is not None:
        found = np.unique(_moments(variable, variable[:], where))
        if found.size != 1:
            raise MixedCycles(
                "The file holds more than one cycle",
                where=f"{where}, variable {variable.name}",
                expected="one reference time",
                got=", ".join(str(moment) for moment in found),
                advice="Send the fields of one cycle at a time.",
            )
        return np.datetime64(found[0], "s")
    for name in _REFERENCE_ATTRIBUTES:
        if attribute(dataset, name):
            return _parsed(attribute(dataset, name), f"{where}, global attribute {name}")
    return None


def _parsed(text: str, where: str) -> np.datetime64:
    """ISO 8601, WRF's ``2024-07-01_00:00:00`` or ``2024070100``; UTC unless an offset is given."""
    try:
        if text.isdigit() and len(text) == 10:
            return np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:]}", "s")
        moment = datetime.fromisoformat(text.replace("_", "T").removesuffix(" UTC"))
    except ValueError as error:
        raise _no_time(where, repr(text)) from error
    if (offset := moment.utcoffset()) is not None:
        moment = moment.replace(tzinfo=None) - offset
    return np.datetime64(moment, "s")


def _time_variable(dataset: Any) -> Any:
    """The time coordinate, None without one."""
    candidates = [_with_standard_name(dataset, "time")]
    candidates += [dataset.variables.get(name) for name in _TIME_NAMES]
    for variable in candidates:
        if variable is not None and " since " in attribute(variable, "units"):
            return variable
    return dataset.variables.get(_WRF_TIMES)


def _moments(variable: Any, numbers: Any, where: str) -> NDArray[np.datetime64]:
    """Values of a time variable, UTC, rounded to seconds."""
    place = f"{where}, variable {variable.name}"
    if variable.dtype.kind == "S":
        texts = netCDF4.chartostring(np.ma.filled(variable[:], b" "))
        return np.array([_parsed(str(text).strip(), place) for text in np.atleast_1d(texts)])
    if np.ma.getmaskarray(numbers).any():
        raise _no_time(place, "fill values")
    units, calendar = attribute(variable, "units"), attribute(variable, "calendar") or "standard"
    try:
        found = netCDF4.num2date(
            np.atleast_1d(np.asarray(numbers, np.float64)),
            units,
            calendar,
            only_use_cftime_datetimes=False,
            only_use_python_datetimes=True,
        )
    except (ValueError, OverflowError) as error:
        raise _no_time(place, f"units {units!r}, calendar {calendar!r}") from error
    microseconds = np.array(found, "datetime64[us]")
    return (microseconds + np.timedelta64(500_000, "us")).astype("datetime64[s]")


def _epoch(variable: Any, where: str) -> np.datetime64:
    if variable.dtype.kind == "S":
        raise _no_time(where, "'Times' without START_DATE")
    return np.datetime64(_moments(variable, 0.0, where)[0], "s")


def _starts(dataset: Any, valid: Any, reference: np.datetime64) -> NDArray[np.float64] | None:
    """Start of each interval by the bounds of the time coordinate."""
    bounds = None if valid is None else dataset.variables.get(attribute(valid, "bounds"))
    if bounds is None:
        return None
    first = np.atleast_2d(bounds[:])[:, 0]
    return _hours(_moments(valid, first, attribute(valid, "bounds")), reference)


def _hours(moments: NDArray[np.datetime64], reference: np.datetime64) -> NDArray[np.float64]:
    return (moments - reference) / np.timedelta64(3600, "s")


def _with_standard_name(dataset: Any, name: str) -> Any:
    for variable in dataset.variables.values():
        if attribute(variable, "standard_name") == name:
            return variable
    return None


def _no_time(where: str, got: str) -> UnrecognisedInput:
    return UnrecognisedInput(
        "The file does not say when its forecast starts or for when it is",
        where=where,
        expected="a variable or global attribute 'forecast_reference_time', and 'time' or 'forecast_period'",
        got=got,
        advice="Names and dates in file names are not read.",
    )


def vertical(dataset: Any, name: str) -> tuple[LevelType | None, tuple[float, ...]]:
    """Levels of a vertical coordinate variable or dimension: hPa or m; no type where neither can be told."""
    variable = dataset.variables.get(name)
    if variable is None:
        return None, tuple(float(index) for index in range(len(dataset.dimensions[name])))
    values = np.ma.filled(np.ma.atleast_1d(variable[:]).astype(np.float64), np.nan)
    unit = attribute(variable, "units") or ("hPa" if name == "isobaricInhPa" else "")
    if unit in CONVERSIONS["Pa"]:
        # 85000 Pa and 850 hPa have to be the same number, whatever the last bit of a float32 says.
        return LevelType.ISOBARIC, tuple(
            np.round(values * CONVERSIONS["Pa"][unit].factor / 100.0, 3).tolist()
        )
    if unit in {"m", "metre", "meter"} and attribute(variable, "standard_name") in {"height", ""}:
        return LevelType.HEIGHT_ABOVE_GROUND, tuple(np.round(values, 3).tolist())
    return None, tuple(values.tolist())


def grid(dataset: Any, variable: Any, where: str) -> Grid:
    """The grid of a variable's last two dimensions.

    In this order: a Lambert conformal grid mapping with even x and y; latitude and longitude along one
    dimension each; latitude and longitude of every point. Raises WrongGrid where there is none of these, and
    where there are too many points.
    """
    y_name, x_name = variable.dimensions[-2:]
    ny, nx = variable.shape[-2:]
    if ny * nx > _MOST_POINTS:
        raise WrongGrid(
            "The file claims a grid of more points than any forecast has",
            where=f"{where}, variable {variable.name}",
            expected=f"{_MOST_POINTS} points at most",
            got=f"{ny} x {nx} (y by x)",
        )
    mapping = dataset.variables.get(attribute(variable, "grid_mapping").split(":")[0])
    if attribute(mapping, "grid_mapping_name") == "lambert_conformal_conic":
        found = _lambert(dataset, mapping, y_name, x_name)
        if found is not None:
            return found
    north = _coordinate(dataset, variable, _NORTH, _NORTH_NAMES)
    east = _coordinate(dataset, variable, _EAST, _EAST_NAMES)
    if north is None or east is None:
        raise WrongGrid(
            "The file does not say where its points lie",
            where=f"{where}, variable {variable.name}",
            expected=f"latitude and longitude over {y_name} and {x_name}, or a Lambert mapping with x and y",
            got="neither",
        )
    if north.ndim == 1 and east.ndim == 1:
        latitude, longitude = _even(north), _even(east)
        if latitude is not None and longitude is not None:
            return LatitudeLongitudeGrid(
                east.size, north.size, latitude[0], longitude[0], latitude[1], longitude[1]
            )
        north, east = np.meshgrid(north, east, indexing="ij")
    return _curvilinear(north.tobytes(), east.tobytes(), north.shape)


@lru_cache(maxsize=2)
def _curvilinear(north: bytes, east: bytes, shape: tuple[int, ...]) -> CurvilinearGrid:
    """All files of a cycle repeat the same positions."""
    return CurvilinearGrid(
        np.frombuffer(north, np.float64).reshape(shape), np.frombuffer(east, np.float64).reshape(shape)
    )


def _coordinate(
    dataset: Any, variable: Any, units: tuple[str, ...], names: tuple[str, ...]
) -> NDArray[np.float64] | None:
    """Latitudes or longitudes over the variable's horizontal dimensions, those it names itself first."""
    horizontal = variable.dimensions[-2:]
    listed = [*attribute(variable, "coordinates").split(), *horizontal, *dataset.variables]
    for name in dict.fromkeys(listed):
        candidate = dataset.variables.get(name)
        if candidate is None or not (attribute(candidate, "units") in units or name in names):
            continue
        values = np.ma.filled(candidate[:].astype(np.float64), np.nan)
        if candidate.dimensions in ((horizontal[0],), (horizontal[1],), horizontal):
            return values
        if candidate.dimensions[-2:] == horizontal:
            return np.asarray(values.reshape(-1, *values.shape[-2:])[0])
    return None


def _lambert(dataset: Any, mapping: Any, y_name: str, x_name: str) -> LambertGrid | None:
    """None where the mapping lacks the size of the Earth or the coordinates are not even."""
    x_axis, y_axis = _projection_axis(dataset, x_name), _projection_axis(dataset, y_name)
    earth = _earth(mapping)
    if x_axis is None or y_axis is None or earth is None:
        return None
    (x_first, x_step, nx), (y_first, y_step, ny) = x_axis, y_axis
    parallels = np.atleast_1d(mapping.standard_parallel).astype(float)
    projection = LambertConformal(
        (float(parallels[0]), float(parallels[-1])),
        float(mapping.latitude_of_projection_origin),
        float(mapping.longitude_of_central_meridian),
        *earth,
    )
    false_x = float(getattr(mapping, "false_easting", 0.0))
    false_y = float(getattr(mapping, "false_northing", 0.0))
    return LambertGrid(projection, nx, ny, x_first - false_x, y_first - false_y, x_step, y_step)


def _earth(mapping: Any) -> tuple[float, float] | None:
    """Semi-major and semi-minor axis in m."""
    if hasattr(mapping, "earth_radius"):
        return float(mapping.earth_radius), float(mapping.earth_radius)
    if not hasattr(mapping, "semi_major_axis"):
        return None
    major = float(mapping.semi_major_axis)
    if hasattr(mapping, "semi_minor_axis"):
        return major, float(mapping.semi_minor_axis)
    flattening = float(getattr(mapping, "inverse_flattening", 0.0))
    return major, major * (1.0 - 1.0 / flattening) if flattening else major


def _projection_axis(dataset: Any, name: str) -> tuple[float, float, int] | None:
    """First point and step in m, and count."""
    variable = dataset.variables.get(name)
    factor = {"m": 1.0, "metre": 1.0, "meter": 1.0, "meters": 1.0, "km": 1000.0}.get(
        attribute(variable, "units")
    )
    if variable is None or factor is None:
        return None
    even = _even(np.asarray(variable[:], np.float64))
    return None if even is None else (even[0] * factor, even[1] * factor, variable.size)


def _even(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """First value and step of evenly spaced values."""
    if values.size < 2:
        return None
    step = (values[-1] - values[0]) / (values.size - 1)
    missed = np.abs(values - (values[0] + step * np.arange(values.size))).max()
    return (float(values[0]), float(step)) if step != 0 and missed <= _REGULAR * abs(step) else None
