"""Sums by day of one run, the folds of a cross-validation put together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.evaluation import Counts, Evaluation, Reliability

Numbers = NDArray[np.float64]


class DailySums:
    """What the evaluations of a run hold by day, in the order of fold and day.

    Args:
        folds: the evaluations of one run; one, without cross-validation.

    Attributes:
        days: of all folds.
        cells: observed cells by day and lead, by name of the day.
        leads_hours: of all folds.
    """

    def __init__(self, folds: Sequence[Evaluation]) -> None:
        self._folds = tuple(folds)
        self.days = tuple(day for one in folds for day in one.days)
        self.cells = {
            day: dict(zip(one.leads_hours, row, strict=True))
            for one in folds
            for day, row in zip(one.days, one.cells, strict=True)
        }
        self.leads_hours = tuple(sorted({lead for one in folds for lead in one.leads_hours}))

    def counts(self, threshold_mm: float, decision: str, lead_hours: int | None = None) -> Counts | None:
        """(day, 4) of all leads or of one; None where it never decides so."""
        parts = []
        for one in self._folds:
            counts = one.counts(threshold_mm, decision)
            if counts is None:
                return None
            chosen = [lead_hours is None or lead == lead_hours for lead in one.leads_hours]
            parts.append(counts[:, chosen].sum(axis=1))
        return np.concatenate(parts)

    def fractions(self, threshold_mm: float, decision: str) -> dict[int, Numbers]:
        """Errors and references of the fractions skill score (day, 2) by neighbourhood."""
        parts: dict[int, list[Numbers]] = {}
        for one in self._folds:
            at = one.at(threshold_mm)
            chosen = at.decision(decision) if at else None
            if chosen is None:
                return {}
            for cells, errors in chosen.fss_errors.items():
                sums = np.stack([errors, chosen.fss_references[cells]], axis=1)
                parts.setdefault(cells, []).append(sums)
        return {cells: np.concatenate(sums) for cells, sums in parts.items()}

    def squared_errors(self, threshold_mm: float, *, calibrated: bool) -> Numbers | None:
        """(day, 3): of the probabilities, of the climatology, and the cells; None without probabilities."""
        parts = []
        for one in self._folds:
            at = one.at(threshold_mm)
            if at is None or at.probability is None:
                return None
            constant = at.probability.climatology
            events, cells = (np.sum(table, axis=1) for table in (at.events, one.cells))
            forecast = at.probability.calibrated if calibrated else at.probability.as_fitted
            base = cells * constant**2 + events * (1 - 2 * constant)
            parts.append(np.stack([forecast.squared_errors, base, cells], axis=1))
        return np.concatenate(parts)

    def bins(self, threshold_mm: float, *, calibrated: bool) -> Numbers | None:
        """(bin, 3): cells, events and sums of the probabilities; None without probabilities."""
        total = None
        for one in self._folds:
            at = one.at(threshold_mm)
            if at is None or at.probability is None:
                return None
            forecast: Reliability = at.probability.calibrated if calibrated else at.probability.as_fitted
            columns = (forecast.cells, forecast.events, forecast.probabilities)
            numbers = np.stack(columns, axis=1).astype(np.float64)
            total = numbers if total is None else total + numbers
        return total
