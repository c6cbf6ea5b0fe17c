"""Observed precipitation of one period on the grid of the model, from any form that QPE comes in.

GRIB (editions 1 and 2) and NetCDF say where and when they are from and are remapped; the two DFS forms of
the Korea Meteorological Administration (``service.observation_dfs``) lie on the model's grid already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service import files, grib_edition1, netcdf, observation_dfs
from service.channels import CHANNELS, PRECIPITATION_CHANNEL, QUANTITIES, LevelType
from service.cycle import contributing
from service.errors import (
    EmptyInput,
    MissingChannel,
    MissingValues,
    PhysicalLimit,
    UnrecognisedInput,
    WrongPeriod,
    WrongSource,
)
from service.fields import FieldHeader, Region, Values
from service.grids import Grid, grid_from_definition
from service.limits import diagnosis
from service.precipitation import NEGATIVE_TOLERANCE_MM, WHOLE
from service.remapping import remap_weights
from service.specification import CycleSpecification
from service.times import iso_time

_HEAD_BYTES: Final = 256
LARGEST_UNOBSERVED_SHARE: Final = 1e-3
"""Weight of points without a value in a point that has one. Headers round positions: where both grids are
the same, a hole would otherwise take its neighbours with it."""


@dataclass(frozen=True)
class Observation:
    """valid_time: UTC, the end of the period. rain_mm: float32 (y, x) on the window, NaN not observed."""

    valid_time: np.datetime64
    rain_mm: NDArray[np.float32]


def read_observation(
    path: Path,
    specification: CycleSpecification,
    *,
    valid_time: np.datetime64 | None = None,
    weights_folder: Path | None = None,
) -> Observation:
    """The observed amount over ``precipitation_hours`` on the window of the specification.

    valid_time: UTC, the end of the period: it chooses among several of a file, stands in for the time that a
    DFS file without one in its name lacks, and must agree with any time that the file has.
    weights_folder: where remap weights are kept between processes.

    A point of the window is NaN where more than a thousandth of it comes from points without observation.
    Values are checked on the source grid, before they are remapped.

    Raises EmptyInput, UnrecognisedInput, TruncatedInput, MissingChannel (no precipitation), WrongSource (a
    forecast), WrongPeriod (a time that is missing, another or not on the hour, or another accumulation than
    the model's), WrongGrid, OutsideGrid, PhysicalLimit and MissingValues (nothing observed in the window).
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    target = grid_from_definition(specification.target)
    if not head:
        raise EmptyInput("The file is empty", where=path.name, expected="an observation", got="0 bytes")
    if files.is_netcdf(head):
        found = _gridded(path, netcdf.scan(path, observed=True), specification, valid_time, weights_folder)
    elif b"GRIB" in head:
        edition = grib_edition1 if grib_edition1.is_edition_1(head) else files
        found = _gridded(path, edition.scan(path), specification, valid_time, weights_folder)
    elif observation_dfs.is_text(head):
        found = _dfs(path, observation_dfs.read_text, target, specification, valid_time)
    elif observation_dfs.is_binary(path.stat().st_size, target.shape):
        found = _dfs(path, observation_dfs.read_binary, target, specification, valid_time)
    else:
        raise _unrecognised(path, head, target)
    if (found.valid_time - found.valid_time.astype("datetime64[h]")) != np.timedelta64(0, "s"):
        raise WrongPeriod(
            "the period does not end on the hour", where=path.name, got=iso_time(found.valid_time)
        )
    if np.isnan(found.rain_mm).all():
        raise MissingValues(
            "nothing is observed in the window of the model",
            where=path.name,
            expected="at least one point with a value",
            got="none",
        )
    return found


def _unrecognised(path: Path, head: bytes, target: Grid) -> UnrecognisedInput:
    ny, nx = target.shape
    return UnrecognisedInput(
        "The file is no observation in a known form",
        where=f"{path.name}, {path.stat().st_size} bytes",
        expected=f"GRIB, NetCDF, DFS text of {nx * ny} values, or DFS binary of "
        f"{observation_dfs.HEADER_BYTES + 4 * nx * ny} bytes",
        got=repr(head[:16]),
        advice="Send the file itself, not an archive, a listing or an error page.",
    )


def _dfs(
    path: Path,
    read: Callable[[Path, tuple[int, int]], NDArray[np.float32]],
    target: Grid,
    specification: CycleSpecification,
    declared: np.datetime64 | None,
) -> Observation:
    if specification.precipitation_hours != observation_dfs.PERIOD_HOURS:
        raise _other_period(path, specification, f"{observation_dfs.PERIOD_HOURS} h, as in all DFS files")
    named = observation_dfs.named_time(path.name)
    time = declared if named is None else named
    if time is None:
        raise WrongPeriod(
            "a DFS file does not say when it is from",
            where=path.name,
            expected="the end of its hour in its name, as YYYYMMDDHH in KST, or declared, in UTC",
            got="neither",
        )
    if declared is not None and time != declared:
        raise _other_time(path, declared, [time])
    amounts = read(path, target.shape)
    checked = _checked(amounts, NEGATIVE_TOLERANCE_MM, specification, path.name)
    return Observation(time, checked[specification.window.slices])


def _gridded(
    path: Path,
    headers: Sequence[FieldHeader],
    specification: CycleSpecification,
    declared: np.datetime64 | None,
    weights_folder: Path | None,
) -> Observation:
    header = _chosen(path, headers, specification, declared)
    target = grid_from_definition(specification.target, specification.window)
    weights = remap_weights(header.grid, target, weights_folder)
    part = _read(header, weights.window)
    used = np.where(contributing(weights), part, np.float32(0.0))
    tolerance_mm = max(NEGATIVE_TOLERANCE_MM, header.packing_step)
    checked = _checked(used, tolerance_mm, specification, header.label)
    hidden = np.isnan(checked)
    rain_mm, share = weights.apply_to_window(
        np.stack([np.where(hidden, np.float32(0.0), checked), hidden.astype(np.float32)])
    )
    observed = share <= LARGEST_UNOBSERVED_SHARE
    return Observation(
        _valid_time(header), np.where(observed, rain_mm / np.where(observed, 1.0 - share, 1.0), np.nan)
    )


def _read(header: FieldHeader, region: Region) -> Values:
    if header.locator[0] == grib_edition1.READER:
        return grib_edition1.read(header)[region.rows, region.columns]
    return files.read(header, region)


def _chosen(
    path: Path,
    headers: Sequence[FieldHeader],
    specification: CycleSpecification,
    declared: np.datetime64 | None,
) -> FieldHeader:
    """The precipitation of the one period; of several fields of that period the first one."""
    rain = [one for one in headers if one.quantity in WHOLE and one.level_type is LevelType.SURFACE]
    if not rain:
        raise MissingChannel(
            "The file holds no accumulated precipitation at the surface",
            where=path.name,
            expected=", ".join(WHOLE),
            got=", ".join(sorted({header.quantity for header in headers})) or "no field",
        )
    hours = specification.precipitation_hours
    fitting = [one for one in rain if one.lead_hours - one.lead_start_hours == hours]
    if not fitting:
        got = ", ".join(f"{one.lead_hours - one.lead_start_hours:g} h" for one in rain)
        raise _other_period(path, specification, got)
    forecast = next((one for one in fitting if one.lead_start_hours > 0.0), None)
    if forecast is not None:
        raise WrongSource(
            "The file is a forecast, not an observation",
            where=forecast.label,
            expected="a period that begins no later than its reference time",
            got=f"{forecast.lead_start_hours:g}-{forecast.lead_hours:g} h after "
            f"{iso_time(forecast.reference_time)}",
        )
    times = sorted({_valid_time(one) for one in fitting})
    if declared is None and len(times) > 1:
        raise WrongPeriod(
            "The file holds several periods",
            where=path.name,
            expected="one, or the end of the wanted one declared",
            got=", ".join(iso_time(time) for time in times),
        )
    wanted = times[0] if declared is None else declared
    for header in fitting:
        if _valid_time(header) == wanted:
            return header
    raise _other_time(path, wanted, times)


def _valid_time(header: FieldHeader) -> np.datetime64:
    return header.reference_time + np.timedelta64(round(header.lead_hours * 3600), "s")


def _checked(
    amounts_mm: NDArray[np.float32], tolerance_mm: float, specification: CycleSpecification, where: str
) -> NDArray[np.float32]:
    """Amounts without the negative ones that rounding leaves; NaN stays. Raises PhysicalLimit."""
    hourly = specification.precipitation_hours == 1
    limits = CHANNELS[PRECIPITATION_CHANNEL] if hourly else QUANTITIES["precipitation"]
    wrong = (amounts_mm < -tolerance_mm) | (amounts_mm > limits.maximum) | np.isinf(amounts_mm)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        sound = amounts_mm[~wrong & ~np.isnan(amounts_mm)]
        raise PhysicalLimit(
            "observed precipitation beyond physical limits",
            where=f"{where}, first at row {row}, column {column}",
            expected=f"0 to {limits.maximum:g} mm, and missing values marked as the form marks them",
            got=f"{int(wrong.sum())} points, the first {amounts_mm[row, column]:g} mm"
            + diagnosis(amounts_mm[wrong], sound),
            advice="Ask the provider for a sound file; values are never repaired here.",
        )
    return np.maximum(amounts_mm, np.float32(0.0))


def _other_period(path: Path, specification: CycleSpecification, got: str) -> WrongPeriod:
    return WrongPeriod(
        "precipitation of another period than the model's",
        where=path.name,
        expected=f"the amount of {specification.precipitation_hours} h",
        got=got,
    )


def _other_time(path: Path, wanted: np.datetime64, times: Sequence[np.datetime64]) -> WrongPeriod:
    return WrongPeriod(
        "The observation is from another time than was declared",
        where=path.name,
        expected=iso_time(wanted),
        got=", ".join(iso_time(time) for time in times),
        advice="declared times are UTC; the names of DFS files are in KST, nine hours ahead",
    )
