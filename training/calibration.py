"""Calibration of probabilities, and how reliable they are.

Isotonic regression of the event on the forecast probability (Zadrozny and Elkan 2002,
https://doi.org/10.1145/775047.775151), with few enough knots to be part of the exported graph. It is fitted
on the validation split and measured on the test split.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import scores.probability
import scores.processing
import xarray as xr
from numpy.typing import NDArray

from training.counting import PROBABILITIES, Observed
from training.evaluation import Calibration, Counts, Reliability
from training.samples import Floats

STEPS: Final = 28
LEAST_SHARE: Final = 1e-3
"""Of the cells, in every step. A step of few cells is a storm or two, which say little of the next. Fitted on
half of the days of the simulation's validation split, this gave better Brier scores of heavy rain on the
other half than smaller shares did, and three times as much gave no better ones."""
BINS: Final = 20
CELLS = ("sample", "y", "x")


def fitted(counts: Counts) -> Calibration:
    """From the counts by level (level, 4) at ``PROBABILITIES`` (``counting.counts_by_level``).

    Isotonic regression over the bins between the levels; then neighbouring steps are joined, those first that
    hold too few cells and else those that raise the Brier score least. The map is linear between the mean
    probabilities of the steps, from 0 at 0, and constant above the last.
    """
    total = counts[0].sum()
    cells = -np.diff(np.concatenate([[total], counts[:, 0] + counts[:, 2], [0]]))
    events = -np.diff(np.concatenate([[counts[0, :2].sum()], counts[:, 0], [0]]))
    filled = cells > 0
    bounds = np.concatenate([[0.0], PROBABILITIES, [1.0]])
    middles = (bounds[:-1] + bounds[1:])[filled] / 2
    weights = cells[filled].astype(np.float64)
    fit = scores.processing.isotonic_fit(middles, events[filled] / weights, weight=weights)
    knots, values = _thinned(middles, fit["regression_values"], weights)
    return Calibration(knots=(0.0, *rounded(knots)), values=(0.0, *rounded(values)))


def _thinned(
    places: NDArray[np.float64], values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean place and value of the steps that are left."""
    _, step = np.unique(values, return_inverse=True)
    weight, place, value = (
        np.bincount(step, weights * numbers).astype(np.float64)
        for numbers in (np.ones_like(places), places, values)
    )
    place, value = place / weight, value / weight
    while len(weight) > 1:
        sparse = weight < LEAST_SHARE * weights.sum()
        if len(weight) <= STEPS and not sparse.any():
            break
        first, second = weight[:-1], weight[1:]
        # What joining two steps adds to the sum of squared errors.
        cost = first * second / (first + second) * np.diff(value) ** 2
        if sparse.any():
            cost[~(sparse[:-1] | sparse[1:])] = np.inf
        at = int(cost.argmin())
        share = weight[at] / (weight[at] + weight[at + 1])
        for numbers in (place, value):
            numbers[at] = share * numbers[at] + (1 - share) * numbers[at + 1]
        weight[at] += weight[at + 1]
        place, value, weight = (np.delete(numbers, at + 1) for numbers in (place, value, weight))
    return place, value


def calibrated(strengths: Floats, calibrations: list[Calibration]) -> Floats:
    """Exceedances (threshold, sample, y, x) through the map of each threshold.

    None exceeds that of the threshold below it. ``networks.heads.Calibration`` is the same in the graph.
    """
    mapped = np.stack(
        [
            np.interp(strength, calibration.knots, calibration.values).astype(np.float32)
            for strength, calibration in zip(strengths, calibrations, strict=True)
        ]
    )
    return np.minimum.accumulate(mapped, axis=0)


def reliability(probability: Floats, observed: Observed, threshold_mm: float) -> Reliability:
    """Of probabilities (sample, y, x); cells without observation do not count."""
    seen = observed.seen
    forecast = np.clip(probability, 0, 1, dtype=np.float64)
    event = np.where(seen, observed.event(threshold_mm), np.nan)
    by_sample = scores.probability.brier_score(
        xr.DataArray(forecast, dims=CELLS), xr.DataArray(event, dims=CELLS), preserve_dims="sample"
    )
    cells = np.count_nonzero(seen, axis=(1, 2))
    # The mean over no cell is NaN.
    squared_errors = np.where(cells > 0, by_sample.to_numpy(), 0) * cells
    chosen, happened = forecast[seen], event[seen]
    place = np.minimum((chosen * BINS).astype(np.int64), BINS - 1)
    sums = [np.bincount(place, weights, BINS) for weights in (np.ones_like(chosen), happened, chosen)]
    return Reliability(
        squared_errors=tuple(rounded(observed.by_day(squared_errors))),
        cells=tuple(int(number) for number in sums[0]),
        events=tuple(int(number) for number in sums[1]),
        probabilities=tuple(rounded(sums[2].astype(np.float64))),
        brier=float(squared_errors.sum() / cells.sum()),
    )


def rounded(numbers: NDArray[np.float64]) -> list[float]:
    """To seven digits: enough for any ratio, and half the file."""
    return [float(f"{number:.7g}") for number in numbers]
