"""Cells counted where an event was called and where it was observed, and the level that tunes the call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import scipy.special
from numpy.typing import NDArray

from service.specification import Window
from training.evaluation import Counts, Table
from training.forecasts import Flags
from training.samples import Floats, Split

Levels = NDArray[np.float64]

AMOUNTS_MM: Final[Levels] = np.geomspace(0.01, 30.0, 240)
PROBABILITIES: Final[Levels] = scipy.special.expit(np.linspace(-9.2, 9.2, 461))
"""Evenly spaced in log odds, 0.04 apart, from 0.0001 to 0.9999: 4 % of a small probability."""


@dataclass(frozen=True)
class Observed:
    """The observations of a split.

    rain_mm: (sample, y, x), NaN where nothing was observed.
    days: by reference time, in order; day: their numbers by sample. So leads_hours and lead.
    """

    rain_mm: Floats
    days: tuple[str, ...]
    day: NDArray[np.intp]
    leads_hours: tuple[int, ...]
    lead: NDArray[np.intp]

    @classmethod
    def of(cls, split: Split) -> Observed:
        """Reads all of them."""
        days, day = np.unique(split.reference_times.astype("datetime64[D]"), return_inverse=True)
        leads, lead = np.unique(split.leads_hours, return_inverse=True)
        rain_mm = split.rain_mm(np.arange(len(split)))
        return cls(rain_mm, tuple(map(str, days)), day, tuple(int(hours) for hours in leads), lead)

    def within(self, window: Window) -> Observed:
        """Those of a part of the fields."""
        return replace(self, rain_mm=self.rain_mm[..., *window.slices])

    @cached_property
    def seen(self) -> Flags:
        """Where something was observed."""
        return ~np.isnan(self.rain_mm)

    def event(self, threshold_mm: float) -> Flags:
        """Where the threshold was reached; nowhere without observation."""
        result: Flags = self.rain_mm >= threshold_mm
        return result

    def table(self, cells: Flags) -> Table:
        """Numbers of true cells (sample, y, x) by day and lead."""
        numbers = np.zeros((len(self.days), len(self.leads_hours)), np.int64)
        np.add.at(numbers, (self.day, self.lead), np.count_nonzero(cells, axis=(1, 2)))
        return tuple(tuple(int(number) for number in row) for row in numbers)

    def by_day(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums by day of numbers by sample."""
        return np.bincount(self.day, weights=sums, minlength=len(self.days)).astype(np.float64)


def counts_by_level(strength: Floats, observed_mm: Floats, threshold_mm: float, levels: Levels) -> Counts:
    """Hits, misses, false alarms, correct negatives (level, 4) of warning where ``strength >= level``.

    ``levels`` increase. Cells without observation (NaN) do not count.
    """
    seen = ~np.isnan(observed_mm)
    # Searching is fast where both sides have one type; rounded levels are what the warning compares with.
    reached = np.searchsorted(levels.astype(strength.dtype), strength[seen], side="right")
    event = observed_mm[seen] >= threshold_mm
    by_event = [np.bincount(reached[chosen], minlength=len(levels) + 1) for chosen in (event, ~event)]
    hits, false_alarms = (number[::-1].cumsum()[::-1][1:] for number in by_event)
    return np.stack(
        [hits, by_event[0].sum() - hits, false_alarms, by_event[1].sum() - false_alarms], axis=1
    ).astype(np.int64)


def critical_success_index(counts: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """CSI of (..., 4) counts; zero where there is neither an event nor a warning.

    For the search of a level alone: what is reported comes from the ``scores`` package.
    """
    hits, misses, false_alarms = counts[..., 0], counts[..., 1], counts[..., 2]
    result: NDArray[np.float64] = hits / np.maximum(hits + misses + false_alarms, 1)
    return result


def tuned_level(
    strength: Floats, observed_mm: Floats, threshold_mm: float, levels: Levels
) -> tuple[float, float]:
    """The level with the highest CSI, and that CSI."""
    csi = critical_success_index(counts_by_level(strength, observed_mm, threshold_mm, levels))
    best = int(csi.argmax())
    return float(levels[best]), float(csi[best])
