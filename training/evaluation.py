"""What is kept of a system's forecasts of the test split: ``scores.json``.

Sums come first, ratios last: cells and squared errors by day, so that intervals, pooled folds and scores by
lead follow from the file alone (``training.results``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from service.errors import InputError

SCORES: Final = "scores.json"

DecisionName = Literal["value", "argmax", "calibrated_argmax", "tuned"]
"""``value``: the amount against the threshold itself. ``argmax``: the most probable class, as fitted.
``calibrated_argmax``: the most probable class after calibration. ``tuned``: the amount, or the calibrated
probability, against the level that had the highest CSI on the validation split."""

Table = tuple[tuple[int, ...], ...]
"""Cells by day and lead."""

Counts = NDArray[np.int64]
"""(..., 4): hits, misses, false alarms, correct negatives."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ratios(_Strict):
    """Of all cells and days together; precision and F1 are zero where nothing was forecast.

    fss: by neighbourhood, cells per side.
    """

    csi: float
    f1: float
    precision: float
    recall: float
    frequency_bias: float
    ets: float
    fss: dict[int, float]


class Decision(_Strict):
    """Where a system calls the event.

    level: the amount in mm or the calibrated probability from which it does; None for the most probable
        class.
    hits, warnings: by day and lead, cells where the event was called and observed, and where it was called.
    fss_errors, fss_references: by neighbourhood and day, sums of (f - o)^2 and of f^2 + o^2 over the windows,
        f and o the fractions of the window's cells where the event was called and observed.
    """

    decision: DecisionName
    level: float | None
    hits: Table
    warnings: Table
    fss_errors: dict[int, tuple[float, ...]]
    fss_references: dict[int, tuple[float, ...]]
    ratios: Ratios


class Reliability(_Strict):
    """Probabilities of an event against what happened.

    squared_errors: by day, sums of (probability - event)^2 over the cells; Brier scores follow.
    cells, events, probabilities: per bin of equal width over [0, 1], how many cells, how many of them with
        the event, and the sum of their probabilities.
    brier: mean squared error.
    """

    squared_errors: tuple[float, ...]
    cells: tuple[int, ...]
    events: tuple[int, ...]
    probabilities: tuple[float, ...]
    brier: float


class Calibration(_Strict):
    """A monotone map of probabilities, linear between knots, fitted on the validation split."""

    knots: tuple[float, ...] = Field(min_length=2, max_length=30)
    values: tuple[float, ...] = Field(min_length=2, max_length=30)


class ProbabilityScores(_Strict):
    """Probabilities of exceeding a threshold, as fitted and calibrated.

    climatology: share of the event in the training split, the forecast that knows nothing else.
    """

    climatology: float
    as_fitted: Reliability
    calibrated: Reliability
    calibration: Calibration


class ThresholdScores(_Strict):
    """Everything at one threshold. events: observed cells by day and lead that reach it."""

    threshold_mm: float
    events: Table
    decisions: tuple[Decision, ...]
    probability: ProbabilityScores | None

    def decision(self, name: str) -> Decision | None:
        """By its name; None where the system never decides so."""
        return next((decision for decision in self.decisions if decision.decision == name), None)


class Evaluation(_Strict):
    """``scores.json``.

    system: what was scored. seed: what it was fitted with, None where nothing is drawn.
    fold: of a cross-validation, None without.
    settings: what was chosen on the validation split or asked for at inference.
    commit, machine, seconds: of the scoring, with the fit of a system that needs no torch.
    fitted_commit, fitted_machine: of a network's fit.
    days: of the test split, by reference time, in the order of all sums by day. leads_hours: in that of the
        tables' columns.
    class_shares: of the observed cells, by split. cells: observed cells by day and lead.
    """

    system: str
    seed: int | None
    fold: int | None
    settings: dict[str, JsonValue]
    commit: str
    machine: str
    seconds: float
    fitted_commit: str | None = None
    fitted_machine: str | None = None
    data_digest: str
    statistics_digest: str
    simulated: bool
    samples: dict[str, int]
    cycles: dict[str, int]
    class_shares: dict[str, tuple[float, ...]]
    days: tuple[str, ...]
    leads_hours: tuple[int, ...]
    cells: Table
    thresholds: tuple[ThresholdScores, ...]

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        shape = (len(self.days), len(self.leads_hours))
        tables = {"cells": self.cells}
        for at in self.thresholds:
            tables[f"events at {at.threshold_mm:g} mm"] = at.events
            for decision in at.decisions:
                name = f"{decision.decision} at {at.threshold_mm:g} mm"
                tables |= {f"hits of {name}": decision.hits, f"warnings of {name}": decision.warnings}
        for name, table in tables.items():
            if np.shape(table) != shape:
                raise ValueError(f"{name} has the shape {np.shape(table)}, not {shape} of days and leads")
        return self

    def at(self, threshold_mm: float) -> ThresholdScores | None:
        """The scores at a threshold; None where there are none."""
        return next((at for at in self.thresholds if at.threshold_mm == threshold_mm), None)

    def counts(self, threshold_mm: float, decision: str) -> Counts | None:
        """(day, lead, 4), None where the system never decides so."""
        at = self.at(threshold_mm)
        chosen = at.decision(decision) if at else None
        if at is None or chosen is None:
            return None
        hits, warnings = np.array(chosen.hits, np.int64), np.array(chosen.warnings, np.int64)
        events, cells = np.array(at.events, np.int64), np.array(self.cells, np.int64)
        return np.stack([hits, events - hits, warnings - hits, cells - events - warnings + hits], axis=-1)

    def write(self, folder: Path, name: str = SCORES) -> Path:
        """Writes ``folder/name``, which appears whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        temporary = path.with_suffix(".part")
        temporary.write_text(self.model_dump_json() + "\n")
        return temporary.replace(path)


def read_evaluation(folder: Path, name: str = SCORES) -> Evaluation:
    """Raises ``InputError`` where there are no scores, or scores of another form."""
    path = folder / name
    if not path.exists():
        raise InputError(
            "The run has no scores",
            where=str(path),
            advice="run python -m training.evaluate or training.baseline first",
        )
    try:
        return Evaluation.model_validate_json(path.read_text())
    except ValidationError as error:
        raise InputError(
            "The scores are of another form",
            where=str(path),
            got=str(error.errors()[0]["msg"]),
            advice="score the run again",
        ) from error
