"""Evaluations with known counts, without an archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from service.channels import THRESHOLDS_MM
from training.evaluation import (
    Calibration,
    Decision,
    DecisionName,
    Evaluation,
    ProbabilityScores,
    Ratios,
    Reliability,
    Table,
    ThresholdScores,
)
from training.ratios import ratios

LEADS_HOURS = (25, 28)
CELLS = 100
"""Observed cells of each day at each lead."""

Counts = Mapping[DecisionName, Sequence[tuple[int, int]]]
"""Hits and warnings by day, the same at both leads."""


def table(numbers: Sequence[int]) -> Table:
    """The same at both leads."""
    return tuple((int(number), int(number)) for number in numbers)


def decision(
    name: DecisionName, level: float | None, by_day: Sequence[tuple[int, int]], events: int
) -> Decision:
    """Fractions as in neighbourhoods of one cell, and of five with half the errors."""
    hits, warnings = (np.array(numbers) for numbers in zip(*by_day, strict=True))
    counts = np.stack([hits, events - hits, warnings - hits, CELLS - events - warnings + hits], axis=1)
    errors, references = events + warnings - 2 * hits, events + warnings
    return Decision(
        decision=name,
        level=level,
        hits=table(hits.tolist()),
        warnings=table(warnings.tolist()),
        fss_errors={1: tuple(2.0 * errors), 5: tuple(1.0 * errors)},
        fss_references={1: tuple(2.0 * references), 5: tuple(2.0 * references)},
        ratios=Ratios(
            **{key: float(value) for key, value in ratios(counts.sum(axis=0)).items()},
            fss={1: 1 - errors.sum() / references.sum(), 5: 1 - errors.sum() / references.sum() / 2},
        ),
    )


def reliability(days: int, error: float, bins: Mapping[int, tuple[int, int, float]]) -> Reliability:
    """error: squared, of each day. bins: cells, events and sum of probabilities by number of the bin."""
    numbers = [bins.get(place, (0, 0, 0.0)) for place in range(20)]
    return Reliability(
        squared_errors=(error,) * days,
        cells=tuple(number[0] for number in numbers),
        events=tuple(number[1] for number in numbers),
        probabilities=tuple(number[2] for number in numbers),
        brier=error / CELLS / len(LEADS_HOURS),
    )


def probability(days: int, fitted: Reliability, calibrated: Reliability) -> ProbabilityScores:
    """With a calibration that halves."""
    return ProbabilityScores(
        climatology=0.25,
        as_fitted=fitted,
        calibrated=calibrated,
        calibration=Calibration(knots=(0.0, 1.0), values=(0.0, 0.5)),
    )


def evaluation(
    counts: Counts,
    *,
    system: str = "model",
    seed: int | None = None,
    fold: int | None = None,
    days: Sequence[str] | None = None,
    events: int = 20,
    probabilities: ProbabilityScores | None = None,
) -> Evaluation:
    """The same at all thresholds."""
    number = len(next(iter(counts.values())))
    named = tuple(days) if days else tuple(f"2022-08-{day + 1:02}" for day in range(number))
    levels = {"value": 0.1, "tuned": 0.4}
    return Evaluation(
        system=system,
        seed=seed,
        fold=fold,
        settings={},
        commit="c",
        machine="m",
        seconds=1.0,
        data_digest="d" * 64,
        statistics_digest="s" * 64,
        simulated=True,
        samples={"train": 9, "validation": 4, "test": 2 * number},
        cycles={"train": 9, "validation": 4, "test": number},
        class_shares={"train": (0.8, 0.15, 0.05), "validation": (1.0, 0.0, 0.0), "test": (0.8, 0.2, 0.0)},
        days=named,
        leads_hours=LEADS_HOURS,
        cells=table([CELLS] * number),
        thresholds=tuple(
            ThresholdScores(
                threshold_mm=threshold,
                events=table([events] * number),
                decisions=tuple(
                    decision(name, levels.get(name), by_day, events) for name, by_day in counts.items()
                ),
                probability=probabilities,
            )
            for threshold in THRESHOLDS_MM
        ),
    )
