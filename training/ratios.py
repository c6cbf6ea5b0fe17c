"""Scores of counted cells, from the ``scores`` package."""

from __future__ import annotations

from typing import Final

import numpy as np
import scores.categorical
import xarray as xr
from numpy.typing import NDArray

COUNTS: Final = ("tp_count", "fn_count", "fp_count", "tn_count")
RATIOS: Final = {
    "csi": "critical_success_index",
    "f1": "f1_score",
    "precision": "precision",
    "recall": "recall",
    "frequency_bias": "frequency_bias",
    "ets": "equitable_threat_score",
}
"""Our names, and those of the methods of ``BasicContingencyManager``."""


def ratios(counts: NDArray[np.int64] | NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Of counts (..., 4): hits, misses, false alarms, correct negatives, summed already.

    A ratio that has no value, as precision where nothing was forecast, is zero.
    """
    dims = tuple(f"axis_{axis}" for axis in range(counts.ndim - 1))
    numbers = {
        name: xr.DataArray(counts[..., place].astype(np.float64), dims=dims)
        for place, name in enumerate(COUNTS)
    }
    numbers["total_count"] = xr.DataArray(counts.sum(axis=-1).astype(np.float64), dims=dims)
    manager = scores.categorical.BasicContingencyManager(numbers)
    return {
        ours: getattr(manager, theirs)().fillna(0).to_numpy().astype(np.float64)
        for ours, theirs in RATIOS.items()
    }
