"""The fractions skill score, kept as sums.

    FSS = 1 - sum (f - o)^2 / sum (f^2 + o^2)

over all square windows inside the field, f and o the fractions of the window's cells where the event was
called and observed. ``scores.spatial.fss_2d`` gives the same (a test compares the two); this keeps the two
sums apart and counts a split's windows in a fraction of its time.

Source: Roberts and Lean (2008), https://doi.org/10.1175/2007MWR2123.1.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.forecasts import Flags

NEIGHBOURHOODS_CELLS: Final = (1, 5, 11, 21)
"""5, 25, 55 and 105 km."""

Sums = NDArray[np.float64]


def fitting(field_shape: tuple[int, int]) -> tuple[int, ...]:
    """The neighbourhoods that a field can hold."""
    return tuple(cells for cells in NEIGHBOURHOODS_CELLS if cells <= min(field_shape))


def fraction_sums(warning: Flags, event: Flags) -> dict[int, Sums]:
    """Sums (sample, 2) of (f - o)^2 and of f^2 + o^2 by neighbourhood, of fields (sample, y, x)."""
    sizes = fitting((warning.shape[1], warning.shape[2]))
    sums = {cells: np.empty((len(warning), 2)) for cells in sizes}
    for sample, (called, observed) in enumerate(zip(warning, event, strict=True)):
        # Sample by sample: the sums of one field stay in the cache.
        table = _integral(np.stack([called, observed]))
        for cells in sizes:
            forecast, truth = _windows(table, cells)
            difference = forecast - truth
            # Whole numbers: exact whatever the order of the sum.
            error = np.vdot(difference, difference)
            reference = np.vdot(forecast, forecast) + np.vdot(truth, truth)
            sums[cells][sample] = np.array([error, reference]) / cells**4
    return sums


def _integral(fields: Flags) -> NDArray[np.int64]:
    """Numbers of cells above and left of each corner, (field, y + 1, x + 1)."""
    table = np.zeros((len(fields), fields.shape[1] + 1, fields.shape[2] + 1), np.int64)
    fields.cumsum(axis=1, out=table[:, 1:, 1:])
    table.cumsum(axis=2, out=table)
    return table


def _windows(table: NDArray[np.int64], cells: int) -> NDArray[np.int64]:
    """Numbers of cells in every window."""
    rows = table[:, cells:] - table[:, :-cells]
    windows: NDArray[np.int64] = rows[:, :, cells:] - rows[:, :, :-cells]
    return windows
