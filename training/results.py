"""Scores of many runs, gathered into one small file from which the tables can be made without the runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

Interval = tuple[float, float]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scored(_Strict):
    """Scores of one run at one threshold by one decision (``value``, ``argmax`` or ``tuned``).

    Intervals are 95 %, from a block bootstrap over days. gain: CSI less that of the smoothed and tuned raw
    forecast on the same days.
    """

    decision: str
    threshold_mm: float
    csi: float
    csi_interval: Interval
    f1: float
    precision: float
    recall: float
    frequency_bias: float
    gain: float
    gain_interval: Interval
    csi_by_lead: dict[int, float]


class Result(_Strict):
    """One run of one row of the experiment. ``seed`` is None where nothing is drawn."""

    row: str
    seed: int | None
    commit: str
    machine: str
    data_digest: str
    scores: tuple[Scored, ...]


@dataclass(frozen=True)
class Summary:
    """A row over its seeds: means, and the smallest and largest CSI.

    csi_interval, gain_interval: means of the bounds of the seeds; the spread of the seeds is not in them.
    """

    seeds: int
    csi: float
    csi_range: Interval
    csi_interval: Interval
    gain: float
    gain_interval: Interval
    f1: float
    precision: float
    recall: float
    frequency_bias: float


class Results:
    """Results by row, threshold and decision."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._results = tuple(results)

    def seeds(self, row: str) -> int:
        """How many runs a row has."""
        return sum(result.row == row for result in self._results)

    def scored(self, row: str, threshold_mm: float, decision: str) -> dict[int | None, Scored]:
        """By seed; empty where the row was not run or is never decided so."""
        return {
            result.seed: scored
            for result in self._results
            if result.row == row
            for scored in result.scores
            if (scored.threshold_mm, scored.decision) == (threshold_mm, decision)
        }

    def summary(self, row: str, threshold_mm: float, decision: str) -> Summary | None:
        """Over the seeds; None where there is none."""
        seeds = list(self.scored(row, threshold_mm, decision).values())
        if not seeds:
            return None

        def mean(name: str) -> float:
            return float(np.mean([getattr(scored, name) for scored in seeds]))

        def mean_bounds(name: str) -> Interval:
            low, high = np.mean([getattr(scored, name) for scored in seeds], axis=0)
            return float(low), float(high)

        csi = [scored.csi for scored in seeds]
        return Summary(
            seeds=len(seeds),
            csi=mean("csi"),
            csi_range=(min(csi), max(csi)),
            csi_interval=mean_bounds("csi_interval"),
            gain=mean("gain"),
            gain_interval=mean_bounds("gain_interval"),
            f1=mean("f1"),
            precision=mean("precision"),
            recall=mean("recall"),
            frequency_bias=mean("frequency_bias"),
        )
