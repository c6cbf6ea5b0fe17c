"""The parameters of an OGC API - EDR query: which leads and which parameters of a product it asks for.

Source: OGC 19-086r6, OGC API - Environmental Data Retrieval 1.1, requirements named in the functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from service.errors import RequestError
from service.geometry import Cells, ReferenceSystem
from service.product_coordinates import product_grid
from service.product_parameters import Parameter, parameters_of
from service.times import parse_time

CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
COVERAGE_JSON, NETCDF_FORMAT = "CoverageJSON", "NetCDF"
FORMATS: Final = (COVERAGE_JSON, NETCDF_FORMAT)
"""Values of ``f``, the first being that of a query without it."""

_DEGREES: Final = ("CRS84", "OGC:CRS84", CRS84)
_OPEN: Final = ("..", "")


@dataclass(frozen=True, eq=False)
class Sample:
    """The part of a product that a query asks for. leads: positions, in order."""

    dataset: xr.Dataset
    parameters: tuple[Parameter, ...]
    leads: NDArray[np.intp]
    cells: Cells
    system: ReferenceSystem

    @property
    def empty(self) -> bool:
        """Whether there is nothing of it."""
        return self.cells.empty or self.leads.size == 0


def reference_systems(dataset: xr.Dataset) -> tuple[ReferenceSystem, ...]:
    """Those that queries of a product may use, the default first."""
    projected = product_grid(dataset).projection_coordinates() is not None
    return ("CRS84", "native") if projected else ("CRS84",)


def chosen_system(dataset: xr.Dataset, crs: str | None) -> ReferenceSystem:
    """/req/edr/REQ_rc-crs-response: one of those that the collection lists. Raises RequestError."""
    known = reference_systems(dataset)
    name = "CRS84" if crs in {None, *_DEGREES} else crs
    for system in known:
        if system == name:
            return system
    raise RequestError(
        "no such reference system", where="crs", expected=f"one of {', '.join(known)}", got=str(crs)[:80]
    )


def chosen_parameters(dataset: xr.Dataset, names: str | None) -> tuple[Parameter, ...]:
    """/req/edr/parameter-name-response: those named, separated by commas, or all. Raises RequestError."""
    known = parameters_of(dataset)
    if names is None:
        return known
    wanted = [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in {one.name for one in known}]
    if unknown:
        raise RequestError(
            "no such parameter",
            where="parameter-name",
            expected=f"some of {', '.join(one.name for one in known)}",
            got=", ".join(unknown)[:200],
        )
    return tuple(one for one in known if one.name in wanted)


def chosen_leads(dataset: xr.Dataset, datetime: str | None) -> NDArray[np.intp]:
    """/req/core/datetime-response: positions of the leads whose period meets an instant or an interval.

    A period ends at the valid time, which belongs to it, as its start does not. Raises RequestError.
    """
    starts, ends = dataset["time_bounds"].values.astype("datetime64[s]").T
    if datetime is None:
        return np.arange(ends.size)
    parts = datetime.split("/")
    if len(parts) > 2 or (len(parts) == 1 and parts[0] in _OPEN):
        raise _not_a_time(datetime)
    first = None if parts[0] in _OPEN else parse_time(parts[0], where="datetime")
    last = None if parts[-1] in _OPEN else parse_time(parts[-1], where="datetime")
    if first is not None and last is not None and last < first:
        raise _not_a_time(datetime)
    meets = np.ones(ends.size, np.bool_)
    if first is not None:
        meets &= ends >= first
    if last is not None:
        meets &= starts < last
    return np.flatnonzero(meets)


def chosen_format(f: str | None) -> str | None:
    """/req/edr/REQ_rc-f-response: the format of a name, in any case; None without one.

    Raises RequestError.
    """
    if f is None:
        return None
    for name in FORMATS:
        if name.lower() == f.lower():
            return name
    raise RequestError("no such format", where="f", expected=f"one of {_listed(FORMATS)}", got=f[:80])


def _not_a_time(text: str) -> RequestError:
    return RequestError(
        "not a time or an interval",
        where="datetime",
        expected="2026-11-22T00:00Z, or two such times in order with / between them; .. for an open end",
        got=text[:80],
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
