"""Empirical quantile mapping: the forecast amount becomes the observed amount that is exceeded as often.

One map for the whole domain, fitted on the training split. It removes the bias of the frequency of every
amount and moves no rain: Panofsky and Brier (1968), Some applications of statistics to meteorology.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from training.forecasts import Forecast, System, of_amounts
from training.progress import Progress
from training.samples import Floats, Split

AMOUNTS_MM: Final = np.geomspace(0.005, 500, 4000)
"""Between which cells are counted: 0.3 % apart. Less than the first counts as no rain."""


class QuantileMappingSettings(BaseModel):
    """``[system]`` of quantile mapping: nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["quantile_mapping"]


@dataclass(frozen=True)
class QuantileMap:
    """Linear between forecast amounts and what they become, both in mm and increasing."""

    forecast_mm: NDArray[np.float64]
    observed_mm: NDArray[np.float64]

    @classmethod
    def of(cls, forecast: NDArray[np.int64], observed: NDArray[np.int64]) -> QuantileMap:
        """From numbers of cells below, between and above ``AMOUNTS_MM``."""
        reached, met = (numbers[::-1].cumsum()[::-1][1:] / numbers.sum() for numbers in (forecast, observed))
        known = reached > 0
        # From the rarest to the most frequent, as the search needs it.
        mapped = np.interp(reached[known], met[::-1], AMOUNTS_MM[::-1], right=0.0)
        dry = np.nextafter(AMOUNTS_MM[0], 0)
        return cls(np.concatenate([[dry], AMOUNTS_MM[known]]), np.concatenate([[0.0], mapped]))

    def __call__(self, rain_mm: Floats) -> Floats:
        """Any shape. Amounts that the training split never forecast become the largest of its map."""
        return np.interp(rain_mm, self.forecast_mm, self.observed_mm).astype(np.float32)


def fit(training: Split) -> System:
    """From the pairs of all cells that were observed."""
    numbers = np.zeros((2, len(AMOUNTS_MM) + 1), np.int64)
    progress = Progress("quantile mapping", len(training), "samples")
    edges = AMOUNTS_MM.astype(np.float32)
    for index in range(len(training)):
        observed = training.rain_mm([index])[0]
        seen = ~np.isnan(observed)
        for place, amounts in enumerate((training.raw_rain_mm([index])[0], observed)):
            reached = np.searchsorted(edges, amounts[seen], side="right")
            numbers[place] += np.bincount(reached, minlength=len(edges) + 1)
        progress.advance()
    mapping = QuantileMap.of(*numbers)

    def _forecast(split: Split) -> Forecast:
        return of_amounts(mapping(split.raw_rain_mm()))

    return _forecast
