"""One lead of a product against one observation: counts, Brier sums and reliability."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from service.contingency import Contingency
from service.product import EXCEEDANCE, RAW_PRECIPITATION

Source = Literal["model", "raw", "shadow"]
"""The product's probabilities, the amount of the forecast that they correct, or the probabilities of a model
that runs in the shadow and is not published."""

RELIABILITY_BINS: Final = 10
"""Of equal width from 0 to 1; a bin holds its lower end, the last one also its upper end."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Forecasts of about one probability. events: how many of them saw the event."""

    number: int
    forecasts: int
    probability_sum: float
    events: int


@dataclass(frozen=True)
class ThresholdCounts:
    """One source at one threshold.

    brier_sum: of squared differences between probability and event (Brier 1950, Mon. Wea. Rev. 78, 1-3); an
    amount counts as a probability of 0 or 1. reliability: bins with forecasts in them; none for amounts.
    """

    threshold_mm: float
    contingency: Contingency
    brier_sum: float
    reliability: tuple[ReliabilityBin, ...] = ()


@dataclass(frozen=True)
class Sum:
    """Sums over periods. lead_hours: None for all leads together.

    matches: how many leads of products were compared; 0 where that is not known.
    """

    source: str
    model: str
    threshold_mm: float
    lead_hours: int | None
    contingency: Contingency
    brier_sum: float = 0.0
    matches: int = 0
    reliability: tuple[ReliabilityBin, ...] = ()

    @property
    def brier_score(self) -> float | None:
        """Mean of the squared differences, None where nothing was compared."""
        return self.brier_sum / self.contingency.cells if self.contingency.cells else None


def pooled(sums: Iterable[Sum]) -> list[Sum]:
    """All leads of a source, model and threshold in one."""
    groups: dict[tuple[str, str, float], list[Sum]] = {}
    for one in sums:
        groups.setdefault((one.source, one.model, one.threshold_mm), []).append(one)
    return [
        Sum(
            *place,
            None,
            sum((one.contingency for one in group), Contingency()),
            sum(one.brier_sum for one in group),
            sum(one.matches for one in group),
            _added(part for one in group for part in one.reliability),
        )
        for place, group in groups.items()
    ]


def _added(parts: Iterable[ReliabilityBin]) -> tuple[ReliabilityBin, ...]:
    bins: dict[int, ReliabilityBin] = {}
    for part in parts:
        old = bins.get(part.number, ReliabilityBin(part.number, 0, 0.0, 0))
        bins[part.number] = ReliabilityBin(
            part.number,
            old.forecasts + part.forecasts,
            old.probability_sum + part.probability_sum,
            old.events + part.events,
        )
    return tuple(bins[number] for number in sorted(bins))


def count_lead(
    product: xr.Dataset, lead_hours: int, rain_mm: NDArray[np.float32]
) -> dict[Source, tuple[ThresholdCounts, ...]]:
    """Counts of a present lead at all thresholds of the product, over the cells that were observed.

    rain_mm: (y, x) on the product's grid, NaN where not observed. An amount equal to the threshold is an
    event, observed or forecast. The model calls the event from the product's ``decision_probability`` on,
    where it has one, and otherwise where the most likely class lies above the threshold.
    """
    here = product.sel(lead=lead_hours)
    seen = ~np.isnan(rain_mm)
    rain = rain_mm[seen]
    raw = here[RAW_PRECIPITATION].values[seen]
    likely = here["most_likely_class"].values[seen]
    thresholds = [float(threshold) for threshold in product["threshold"].values]
    decisions = np.atleast_1d(
        product[EXCEEDANCE].attrs.get("decision_probability", [np.nan] * len(thresholds))
    )
    model_counts, raw_counts = [], []
    for index, threshold in enumerate(thresholds):
        # Python's floats leave the comparisons in float32, where 0.1 from a file equals 0.1.
        event, decision = rain >= threshold, float(decisions[index])
        probability = here[EXCEEDANCE].values[index][seen]
        called = likely > index if np.isnan(decision) else probability >= decision
        model_counts.append(
            ThresholdCounts(
                threshold,
                Contingency.of(called, event),
                float(np.square(probability.astype(np.float64) - event).sum()),
                _reliability(probability, event),
            )
        )
        table = Contingency.of(raw >= threshold, event)
        raw_counts.append(ThresholdCounts(threshold, table, float(table.misses + table.false_alarms)))
    return {"model": tuple(model_counts), "raw": tuple(raw_counts)}


def _reliability(probability: NDArray[np.float32], event: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    number = np.minimum((probability * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)
    forecasts = np.bincount(number, minlength=RELIABILITY_BINS)
    sums = np.bincount(number, probability, minlength=RELIABILITY_BINS)
    events = np.bincount(number, event, minlength=RELIABILITY_BINS)
    return tuple(
        ReliabilityBin(index, int(forecasts[index]), float(sums[index]), int(events[index]))
        for index in np.flatnonzero(forecasts).tolist()
    )
