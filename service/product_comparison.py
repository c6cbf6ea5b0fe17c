"""What differs between two files of products, variable by variable and lead by lead, as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

LEAD: Final = "lead"


@dataclass(frozen=True)
class Difference:
    """A variable that differs at one lead.

    lead_hours: None for a variable without leads. values: how many differ, in their bits. largest: the
    largest difference of two numbers; NaN where none can be taken, as of texts or where one is NaN.
    """

    variable: str
    lead_hours: int | None
    values: int
    largest: float


@dataclass(frozen=True)
class Comparison:
    """What differs. structure: attributes, and variables that one lacks or has in another shape or type.

    same_file: whether the files are the same, byte for byte.
    """

    same_file: bool
    structure: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether every attribute is the same, and every value bit for bit."""
        return not self.structure and not self.differences


def compare_products(one: Path, other: Path, ignored: frozenset[str] = frozenset()) -> Comparison:
    """Compare two products. ignored: names of global attributes that may differ.

    The caller holds the lock of the NetCDF library.
    """
    if one.read_bytes() == other.read_bytes():
        return Comparison(same_file=True, structure=(), differences=())
    with _stored(one) as left, _stored(other) as right:
        structure = _attribute_differences("global attribute", left.attrs, right.attrs, ignored)
        differences: list[Difference] = []
        for name in sorted({*map(str, left.variables), *map(str, right.variables)}):
            found = _shape_differences(name, left, right)
            if not found:
                differences += _value_differences(name, left[name], right[name], left[LEAD].values)
                found = _attribute_differences(f"{name}:", left[name].attrs, right[name].attrs, frozenset())
            structure += found
    return Comparison(same_file=False, structure=tuple(structure), differences=tuple(differences))


def _stored(path: Path) -> xr.Dataset:
    """A file with nothing decoded: fill values, packing and times as they are written."""
    return xr.open_dataset(
        path, engine="netcdf4", decode_cf=False, mask_and_scale=False, decode_times=False, decode_coords=False
    )


def _attribute_differences(
    where: str, one: dict[str, Any], other: dict[str, Any], ignored: frozenset[str]
) -> list[str]:
    names = sorted({*one, *other} - ignored)
    return [
        f"{where} {name} is {_shortened(one.get(name))} and {_shortened(other.get(name))}"
        for name in names
        if not _same(one.get(name), other.get(name))
    ]


def _same(one: Any, other: Any) -> bool:
    left, right = np.asarray(one), np.asarray(other)
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def _shortened(value: Any) -> str:
    text = repr(value if isinstance(value, str) else np.asarray(value).tolist())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _shape_differences(name: str, left: xr.Dataset, right: xr.Dataset) -> list[str]:
    for dataset in (left, right):
        if name not in dataset.variables:
            return [f"only one has the variable {name}"]
    one, other = (f"{it[name].dtype}{dict(it[name].sizes)}" for it in (left, right))
    return [] if one == other else [f"{name} is {one} and {other}"]


def _value_differences(
    name: str, one: xr.DataArray, other: xr.DataArray, leads_hours: NDArray[Any]
) -> list[Difference]:
    if LEAD not in one.dims:
        return _differences(name, None, one.values, other.values)
    return [
        difference
        for index, lead in enumerate(leads_hours.tolist())
        for difference in _differences(
            name, int(lead), one.isel(lead=index).values, other.isel(lead=index).values
        )
    ]


def _differences(
    name: str, lead_hours: int | None, one: NDArray[Any], other: NDArray[Any]
) -> list[Difference]:
    if one.dtype.kind not in "iuf":
        differs = np.asarray(one != other)
        return [Difference(name, lead_hours, int(differs.sum()), np.nan)] if differs.any() else []
    differs = np.asarray(_bits(one) != _bits(other))
    if not differs.any():
        return []
    distances = np.abs(one[differs].astype(np.float64) - other[differs].astype(np.float64))
    largest = float(distances.max())
    return [Difference(name, lead_hours, int(differs.sum()), largest)]


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    """As integers: NaN equals itself, and -0 is not 0."""
    array = np.atleast_1d(np.ascontiguousarray(values))
    return array.view(f"u{array.dtype.itemsize}").reshape(np.shape(values))
