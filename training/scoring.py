"""Scores a system: tunes and calibrates it on the validation split, and counts on the test split."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import JsonValue

from service.channels import THRESHOLDS_MM
from service.errors import InputError
from training.calibration import calibrated, fitted, reliability, rounded
from training.counting import AMOUNTS_MM, PROBABILITIES, Observed, counts_by_level, critical_success_index
from training.engine import code_commit
from training.evaluation import (
    Calibration,
    Decision,
    DecisionName,
    Evaluation,
    ProbabilityScores,
    Ratios,
    ThresholdScores,
)
from training.forecasts import Flags, Forecast, System, called, class_probabilities
from training.neighbourhoods import fraction_sums
from training.ratios import ratios
from training.samples import DataSettings, Floats, Split
from training.splits import FoldSplits

HEAVY_CASE: Final = "heavy_case.npz"


@dataclass(frozen=True)
class Subject:
    """What is scored and where it comes from, as ``Evaluation`` has it."""

    system: str
    seed: int | None = None
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    fitted_commit: str | None = None
    fitted_machine: str | None = None


@dataclass(frozen=True)
class Tuning:
    """What the validation split decides at one threshold.

    level: the amount, or the calibrated probability, from which the event is called.
    calibration: None for amounts.
    """

    level: float
    calibration: Calibration | None


@dataclass(frozen=True)
class HeavyCase:
    """The sample of the test split with the most observed cells of heavy rain, for a picture.

    Attributes:
        strengths: (threshold, y, x), amounts in mm or calibrated probabilities.
        untuned, tuned: (threshold, y, x), where the event is called.
        observed_mm: (y, x).
    """

    reference_time: np.datetime64
    lead_hours: int
    strengths: Floats
    untuned: Flags
    tuned: Flags
    observed_mm: Floats

    def write(self, folder: Path, name: str = HEAVY_CASE) -> None:
        """As a compressed archive of the attributes."""
        np.savez_compressed(folder / name, **vars(self))


@dataclass(frozen=True)
class Calls:
    """The decisions on the test split: strengths as they are tuned, and by name where events are called."""

    strengths: Floats
    decisions: Mapping[DecisionName, Flags]


def evaluate_system(subject: Subject, system: System, data: DataSettings) -> tuple[Evaluation, HeavyCase]:
    """Scores of a system on the test split of some data.

    Raises:
        InputError: no archive, an empty split, or no event at a threshold.
    """
    started = time.monotonic()
    validation, test = Split(data, "validation"), Split(data, "test")
    tunings = tune(*_scored(system, validation, data))
    forecast, observed = _scored(system, test, data)
    calls = _calls(forecast, tunings)
    climatology = test.description.class_shares["train"]
    thresholds = tuple(
        _at(index, forecast, calls, tunings[index], observed, sum(climatology[index + 1 :]))
        for index in range(len(THRESHOLDS_MM))
    )
    description = test.description
    evaluation = Evaluation(
        **vars(subject) | {"settings": dict(subject.settings)},
        fold=data.splits.fold if isinstance(data.splits, FoldSplits) else None,
        commit=code_commit(),
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        seconds=round(time.monotonic() - started, 1),
        data_digest=description.digest,
        statistics_digest=description.statistics_digest,
        simulated=description.simulated,
        samples=description.samples,
        cycles=description.cycles,
        class_shares=description.class_shares,
        days=observed.days,
        leads_hours=observed.leads_hours,
        cells=observed.table(observed.seen),
        thresholds=thresholds,
    )
    return evaluation, _heavy_case(test, observed, calls)


def _scored(system: System, split: Split, data: DataSettings) -> tuple[Forecast, Observed]:
    forecast, observed = system(split), Observed.of(split)
    if data.scored is None:
        return forecast, observed
    return forecast.within(data.scored), observed.within(data.scored)


def tune(forecast: Forecast, observed: Observed) -> tuple[Tuning, ...]:
    """For each threshold the level with the highest CSI on these observations, those of the validation split.

    Raises:
        InputError: no event at a threshold, so that no level is better than another.
    """
    return tuple(
        _tune(strength, observed, threshold, probabilistic=forecast.probabilistic)
        for strength, threshold in zip(forecast.strengths, THRESHOLDS_MM, strict=True)
    )


def _tune(strength: Floats, observed: Observed, threshold_mm: float, *, probabilistic: bool) -> Tuning:
    levels = PROBABILITIES if probabilistic else AMOUNTS_MM
    counts = counts_by_level(strength, observed.rain_mm, threshold_mm, levels)
    if not counts[0, :2].sum():
        raise InputError(
            "No event to tune on",
            where=f"validation split, threshold {threshold_mm:g} mm",
            advice="choose a longer span",
        )
    csi = critical_success_index(counts)
    if not probabilistic:
        return Tuning(float(levels[csi.argmax()]), None)
    calibration = fitted(counts)
    best = levels[csi.argmax()]
    return Tuning(float(np.interp(best, calibration.knots, calibration.values)), calibration)


def _calls(forecast: Forecast, tunings: tuple[Tuning, ...]) -> Calls:
    levels = np.array([tuning.level for tuning in tunings], np.float32)[:, None, None, None]
    if not forecast.probabilistic:
        tuned = forecast.strengths >= levels
        return Calls(forecast.strengths, {"value": forecast.untuned, "tuned": tuned})
    strengths = calibrated(
        forecast.strengths, [tuning.calibration for tuning in tunings if tuning.calibration]
    )
    return Calls(
        strengths,
        {
            "argmax": forecast.untuned,
            "calibrated_argmax": called(class_probabilities(strengths)),
            "tuned": strengths >= levels,
        },
    )


def _at(
    index: int, forecast: Forecast, calls: Calls, tuning: Tuning, observed: Observed, climatology: float
) -> ThresholdScores:
    threshold = THRESHOLDS_MM[index]
    level = {"value": threshold, "tuned": tuning.level}
    probability = None
    if tuning.calibration is not None:
        probability = ProbabilityScores(
            climatology=climatology,
            as_fitted=reliability(forecast.strengths[index], observed, threshold),
            calibrated=reliability(calls.strengths[index], observed, threshold),
            calibration=tuning.calibration,
        )
    return ThresholdScores(
        threshold_mm=threshold,
        events=observed.table(observed.event(threshold)),
        decisions=tuple(
            decide(name, level.get(name), warning[index], observed, threshold)
            for name, warning in calls.decisions.items()
        ),
        probability=probability,
    )


def decide(
    name: DecisionName, level: float | None, warning: Flags, observed: Observed, threshold_mm: float
) -> Decision:
    """Counts and scores of warnings (sample, y, x).

    Raises:
        InputError: there is no event, so that recall and bias have no value.
    """
    # A cell without observation is neither called nor observed, in the windows of the fractions too.
    warning, event = warning & observed.seen, observed.event(threshold_mm)
    hits = warning & event
    total = [np.count_nonzero(cells) for cells in (hits, event & ~warning, warning & ~event, observed.seen)]
    total[3] -= sum(total[:3])
    if not total[0] + total[1]:
        raise InputError(
            "No event to score against",
            where=f"test split, threshold {threshold_mm:g} mm",
            advice="score more cycles",
        )
    fractions = {
        cells: np.stack([observed.by_day(part) for part in sums.T])
        for cells, sums in fraction_sums(warning, event).items()
    }
    fss = {cells: 1 - errors.sum() / references.sum() for cells, (errors, references) in fractions.items()}
    values = {key: float(value) for key, value in ratios(np.array(total)).items()}
    return Decision(
        decision=name,
        level=level,
        hits=observed.table(hits),
        warnings=observed.table(warning),
        fss_errors={cells: tuple(rounded(sums[0])) for cells, sums in fractions.items()},
        fss_references={cells: tuple(rounded(sums[1])) for cells, sums in fractions.items()},
        ratios=Ratios(**values, fss=fss),
    )


def _heavy_case(test: Split, observed: Observed, calls: Calls) -> HeavyCase:
    at = int(np.count_nonzero(observed.event(THRESHOLDS_MM[-1]), axis=(1, 2)).argmax())
    untuned, *_, tuned = calls.decisions.values()
    return HeavyCase(
        reference_time=test.reference_times[at],
        lead_hours=int(test.leads_hours[at]),
        strengths=calls.strengths[:, at],
        untuned=untuned[:, at],
        tuned=tuned[:, at],
        observed_mm=observed.rain_mm[at],
    )
