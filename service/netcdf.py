"""NetCDF files, classic and HDF5: variables of the channel table, packed or not.

The library is not thread-safe: one lock around every use of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final, Self

import netCDF4
import numpy as np

from service.channels import QUANTITIES, LevelType, Quantity
from service.errors import TruncatedInput, UnrecognisedInput
from service.fields import FieldHeader, Region, Values
from service.grids import Grid
from service.netcdf_classic import least_size
from service.netcdf_coordinates import Times, attribute, grid, observed_times, times, vertical
from service.precipitation import PARTS, WHOLE
from service.units import Conversion, conversion

READER: Final = "variable"
"""First word of the locators of this reader."""

FILES_OPEN: Final = 2
"""By a reader at a time. Two threads that take fields in their order meet at the end of one file and the
beginning of the next, in either order."""

_LOCK: Final = Lock()
_QUANTITY_OF_NAME: Final = {name: quantity for quantity in QUANTITIES.values() for name in quantity.netcdf}
_QUANTITY_OF_STANDARD_NAME: Final = {
    **{quantity.standard_name: quantity for quantity in QUANTITIES.values()},
    "geopotential": QUANTITIES["geopotential_height"],
    "precipitation_amount": QUANTITIES["precipitation"],
    "stratiform_precipitation_amount": QUANTITIES["large_scale_precipitation"],
    "convective_precipitation_amount": QUANTITIES["convective_precipitation"],
    "x_wind": QUANTITIES["eastward_wind"],
    "y_wind": QUANTITIES["northward_wind"],
}
_GRID_RELATIVE: Final = {"eastward_wind": False, "northward_wind": False, "x_wind": True, "y_wind": True}
_TWO_METRES: Final = ("T2", "T2M", "t2m", "2t")
_TEN_METRES: Final = ("U10", "U10M", "u10", "10u", "V10", "V10M", "v10", "10v")


@dataclass(frozen=True)
class Layout:
    """Which dimension of a variable counts what; None where it has no such dimension."""

    time: str | None
    vertical: str | None


def scan(path: Path, *, observed: bool = False) -> list[FieldHeader]:
    """Headers of all fields of known quantity, in the order of variables, times and levels.

    A variable is known by its name in the channel table or by its standard name. Precipitation is accumulated
    since the start of the run, unless its cell methods say that it is summed over time and the time
    coordinate has bounds, which then give the range.

    observed: the file holds observations, which have periods but need no start of a run.

    Raises TruncatedInput where the library cannot read the file, UnrecognisedInput for unknown units and for
    files without time, WrongGrid for files without positions.
    """
    _check_size(path)
    with _LOCK, _readable(path), netCDF4.Dataset(path, "r") as dataset:
        known = [
            (variable, quantity)
            for variable in dataset.variables.values()
            if len(variable.dimensions) >= 2 and (quantity := _quantity(variable)) is not None
        ]
        if not known:
            raise UnrecognisedInput(
                "The file has no variable of the channel table",
                where=path.name,
                expected=f"variables such as {', '.join(list(_QUANTITY_OF_NAME)[:12])}",
                got=", ".join(dataset.variables) or "no variable",
            )
        moments = (observed_times if observed else times)(dataset, path.name)
        grids: dict[tuple[str, ...], Grid] = {}
        headers: list[FieldHeader] = []
        for variable, quantity in known:
            place = (
                *variable.dimensions[-2:],
                attribute(variable, "grid_mapping"),
                attribute(variable, "coordinates"),
            )
            if place not in grids:
                grids[place] = grid(dataset, variable, path.name)
            headers += _headers(dataset, variable, quantity, moments, grids[place], path)
        return headers


class Reader:
    """Reads fields one by one and keeps the last files open.

    A chunk of a compressed variable usually holds all its levels, and the library keeps what it has unpacked
    for as long as the file is open: reading in the order of files and variables unpacks each chunk once.
    """

    def __init__(self) -> None:
        self._datasets: dict[Path, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with _LOCK:
            self._close(keep=0)

    def read(self, header: FieldHeader, region: Region | None = None) -> Values:
        """Values of one field in the header's unit, float32 (y, x); of the region alone, where one is given.

        NaN where the file has a fill value or a value outside the variable's valid range. Raises
        TruncatedInput where it cannot be read.
        """
        name = str(header.locator[1])
        index: list[int | slice] = [int(part) for part in header.locator[3::2]]
        if region is not None:
            index += [region.rows, region.columns]
        with _LOCK, _readable(header.path):
            if header.path not in self._datasets:
                self._close(keep=FILES_OPEN - 1)
                self._datasets[header.path] = netCDF4.Dataset(header.path, "r")
            variable = self._datasets[header.path].variables[name]
            packed = variable[tuple(index)]
            change = _conversion(variable, QUANTITIES[header.quantity], header.path)
        values = np.ma.filled(np.ma.asarray(packed, np.float64), np.nan)
        with np.errstate(over="ignore"):
            return np.asarray(values * change.factor + change.offset, np.float32)

    def _close(self, keep: int) -> None:
        """Of the files opened first, until so many are left."""
        while len(self._datasets) > keep:
            self._datasets.pop(next(iter(self._datasets))).close()


def _check_size(path: Path) -> None:
    """Raises TruncatedInput for a classic file that is shorter than its header says."""
    with path.open("rb") as file, _readable(path):
        if file.read(3) != b"CDF":
            return
        file.seek(0)
        least, size = least_size(file), path.stat().st_size
    if size < least:
        raise TruncatedInput(
            "The file ends before its last value",
            where=path.name,
            expected=f"at least {least} bytes, by its header",
            got=f"{size} bytes",
            advice="Send the file again; it was cut off in transfer.",
        )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Errors of the library, and of what makes no sense of a damaged attribute or dimension, as ours."""
    try:
        yield
    except (
        OSError, EOFError, RuntimeError, LookupError, ValueError, ArithmeticError, TypeError, AttributeError,
    ) as error:  # fmt: skip
        raise TruncatedInput(
            "A NetCDF file that cannot be read",
            where=f"{path.name}, {path.stat().st_size} bytes",
            expected="a whole file",
            got=str(error),
            advice="Send the file again; it was cut off or damaged.",
        ) from error


def _quantity(variable: Any) -> Quantity | None:
    return _QUANTITY_OF_NAME.get(variable.name) or _QUANTITY_OF_STANDARD_NAME.get(
        attribute(variable, "standard_name")
    )


def _conversion(variable: Any, quantity: Quantity, path: Path) -> Conversion:
    return conversion(
        quantity.unit, getattr(variable, "units", None), f"{path.name}, variable {variable.name}"
    )


def _layout(dataset: Any, variable: Any, moments: Times) -> Layout:
    """Raises UnrecognisedInput for a further dimension of more than one entry, such as ensemble members."""
    outer = list(variable.dimensions[:-2])
    time = moments.dimension if moments.dimension in outer else None
    rest = [name for name in outer if name != time]
    long = [name for name in rest if len(dataset.dimensions[name]) > 1 or name in dataset.variables]
    if len(long) > 1:
        long = [name for name in long if len(dataset.dimensions[name]) > 1]
    if len(long) > 1:
        raise UnrecognisedInput(
            "A variable with more dimensions than time, level, y and x",
            where=f"variable {variable.name}",
            expected="one further dimension at most",
            got=", ".join(variable.dimensions),
            advice="Send the deterministic forecast, or one member.",
        )
    return Layout(time, long[0] if long else None)


def _headers(
    dataset: Any, variable: Any, quantity: Quantity, moments: Times, place: Grid, path: Path
) -> Iterator[FieldHeader]:
    change = _conversion(variable, quantity, path)
    layout = _layout(dataset, variable, moments)
    level_type, levels = _levels(dataset, variable, quantity, layout)
    scale = float(getattr(variable, "scale_factor", 1.0)) if variable.dtype.kind in "iu" else 0.0
    if layout.time is None and len(moments.leads_hours) > 1:
        return  # constant in time, so it belongs to no lead
    for time, lead_hours in enumerate(moments.leads_hours):
        for index, level in enumerate(levels):
            yield FieldHeader(
                quantity=quantity.name,
                level_type=level_type,
                level=level,
                unit=quantity.unit,
                reference_time=moments.reference_time,
                lead_start_hours=_start_hours(variable, quantity, moments, time),
                lead_hours=lead_hours,
                grid=place,
                grid_relative_winds=_GRID_RELATIVE.get(attribute(variable, "standard_name")),
                centre=None,
                path=path,
                locator=(READER, variable.name, *_address(variable, layout, time, index)),
                packing_step=abs(scale * change.factor),
            )


def _address(variable: Any, layout: Layout, time: int, level: int) -> Iterator[int | str]:
    """Every dimension but the last two, each followed by an index."""
    for name in variable.dimensions[:-2]:
        yield name
        yield time if name == layout.time else level if name == layout.vertical else 0


def _start_hours(variable: Any, quantity: Quantity, moments: Times, time: int) -> float:
    if quantity.name not in WHOLE + PARTS:
        return moments.leads_hours[time]
    summed = "time: sum" in attribute(variable, "cell_methods")
    start_hours = moments.starts_hours[time]
    return start_hours if summed and not np.isnan(start_hours) else 0.0


def _levels(
    dataset: Any, variable: Any, quantity: Quantity, layout: Layout
) -> tuple[LevelType | None, tuple[float, ...]]:
    """By the quantity, the vertical dimension, a scalar coordinate or the variable's name, in this order."""
    if layout.vertical is None or len(dataset.dimensions[layout.vertical]) == 1:
        if quantity.name in WHOLE + PARTS:
            return LevelType.SURFACE, (0.0,)
        if quantity.name == "mean_sea_level_pressure":
            return LevelType.MEAN_SEA_LEVEL, (0.0,)
    if layout.vertical is not None:
        return vertical(dataset, layout.vertical)
    for name in attribute(variable, "coordinates").split():
        if name in dataset.variables and not dataset.variables[name].dimensions:
            level_type, levels = vertical(dataset, name)
            if level_type is not None:
                return level_type, levels
    if variable.name in _TWO_METRES:
        return LevelType.HEIGHT_ABOVE_GROUND, (2.0,)
    if variable.name in _TEN_METRES:
        return LevelType.HEIGHT_ABOVE_GROUND, (10.0,)
    return None, (0.0,)
