"""A decoded field and its header: what GRIB2 and NetCDF have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.channels import LevelType
from service.grids import Grid

Locator = tuple[int | str, ...]
"""Where a field lies inside its file, as alternating words and numbers (``("message", 3, "byte", 512)``).

The first word names the reader that wrote it, and only that reader can read it."""


@dataclass(frozen=True)
class Region:
    """A rectangle of a field: rows and columns [start, stop) of the header's grid, one or more of each."""

    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x)."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


@dataclass(frozen=True)
class FieldHeader:
    """What a file says of one field, without its values.

    quantity: a name of ``service.channels.QUANTITIES``, or the code as text (``"0-1-22"``) if unknown.
    level_type: None for levels that no channel lies on.
    level: hPa for isobaric levels, m above ground for heights, 0 elsewhere.
    unit: the unit of the values that reading returns.
    reference_time: UTC, second resolution.
    lead_start_hours, lead_hours: the time range, hours after the reference time; equal for instants.
    grid_relative_winds: whether vectors point along the grid; None where the file does not say.
    centre: WMO common code table C-11, None where the file does not say.
    locator: the reader's own address of the field inside ``path``.
    packing_step: distance between two neighbouring packed values, in ``unit``; 0 where values are not packed.
    """

    quantity: str
    level_type: LevelType | None
    level: float
    unit: str
    reference_time: np.datetime64
    lead_start_hours: float
    lead_hours: float
    grid: Grid
    grid_relative_winds: bool | None
    centre: int | None
    path: Path
    locator: Locator
    packing_step: float = 0.0

    @property
    def label(self) -> str:
        """Path and address, for messages."""
        return f"{self.path.name} [{' '.join(str(part) for part in self.locator)}]"


Values = NDArray[np.float32]
"""(y, x), row 0 and column 0 at the first point of the header's grid, NaN where the file has no value."""

ReadRegion = Callable[[FieldHeader, Region], Values]
"""Gives the values behind a header in a rectangle of its grid, (y, x) from the rectangle's first point."""
