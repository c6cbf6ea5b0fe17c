"""Intervals by a block bootstrap over days.

Days are drawn with replacement, their sums added, and ratios taken last. The draws depend on the number of
days
alone: two rows scored on the same days are drawn alike, so that their differences and quotients have
    intervals
too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 1000
QUANTILES: Final = (0.025, 0.975)

Interval = tuple[float, float]

Series = NDArray[np.float64]
"""(1 + RESAMPLES,): a score of all days, then of every draw of days."""


@lru_cache(maxsize=8)
def weights(days: int) -> NDArray[np.float64]:
    """How often each day counts (1 + RESAMPLES, day): once in the first row, as drawn in the others."""
    draws = np.random.default_rng(0).integers(days, size=(RESAMPLES, days))
    drawn = [np.bincount(draw, minlength=days) for draw in draws]
    return np.stack([np.ones(days, np.int64), *drawn]).astype(np.float64)


@dataclass(frozen=True)
class Estimate:
    """A score with its 95 % interval."""

    value: float
    interval: Interval

    @classmethod
    def of(cls, series: Series) -> Self:
        """From the score of all days and those of the draws."""
        low, high = np.quantile(series[1:], QUANTILES)
        return cls(float(series[0]), (float(low), float(high)))
