"""Scores of a fitted run on the test split, beside the raw forecast and beside what needs no learning.

``python -m training.evaluate --run runs/nano`` writes ``scores.json`` into the run.

Systems: the raw forecast rain; the same smoothed by a Gaussian; the model. Decisions: ``value``, the amount
itself against the threshold; ``argmax``, the most probable class; ``tuned``, the amount or the probability of
exceeding against the level (and, for the smoothed rain, with the width) that had the highest CSI on the
validation split. Counts are summed over all cells before any ratio; intervals come from a bootstrap over
cycles.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import scores.categorical
import scores.probability
import torch
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import ndimage

from service.artefact import Score
from service.channels import THRESHOLDS_MM
from service.errors import InputError
from training.engine import code_commit
from training.finetune import load_run
from training.networks.segmentation import Probabilities, Segmentation
from training.samples import Floats, Split

SCORES = "scores.json"
WIDTHS_CELLS: Final = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 17.0, 22.0, 28.0, 36.0)
AMOUNTS_MM: Final = np.geomspace(0.01, 30.0, 240)
PROBABILITIES: Final = np.linspace(0.005, 0.995, 199)
RESAMPLES: Final = 1000
COUNTS: Final = ("tp_count", "fn_count", "fp_count", "tn_count")

Counts = NDArray[np.int64]
Levels = NDArray[np.float64]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScoreRow(_Strict):
    """Scores of one system at one threshold.

    csi_interval: 2.5 and 97.5 % of the CSI. gain, gain_interval: CSI less that of the smoothed rain, both
    over the same resampled cycles. counts: hits, misses, false alarms, correct negatives.
    """

    score: Score
    csi_interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]
    counts: tuple[int, int, int, int]


class Brier(_Strict):
    """Brier scores of the probability of exceeding a threshold, and of the training split's frequency."""

    threshold_mm: float
    model: float
    climatology: float


class Evaluation(_Strict):
    """``scores.json``."""

    data_digest: str
    commit: str
    samples: dict[str, int]
    cycles: dict[str, int]
    observed_shares: tuple[float, ...]
    smoothing_cells: dict[str, float]
    smoothed_levels_mm: dict[str, float]
    decision_thresholds: dict[str, float]
    rows: tuple[ScoreRow, ...]
    brier: tuple[Brier, ...]


def counts_by_level(strength: Floats, observed_mm: Floats, threshold_mm: float, levels: Levels) -> Counts:
    """Hits, misses, false alarms, correct negatives (level, 4) of warning where ``strength >= level``.

    ``levels`` increase. Cells without observation (NaN) do not count.
    """
    seen = ~np.isnan(observed_mm)
    reached = np.searchsorted(levels, strength[seen], side="right")
    event = observed_mm[seen] >= threshold_mm
    by_event = [np.bincount(reached[chosen], minlength=len(levels) + 1) for chosen in (event, ~event)]
    hits, false_alarms = (number[::-1].cumsum()[::-1][1:] for number in by_event)
    return np.stack(
        [hits, by_event[0].sum() - hits, false_alarms, by_event[1].sum() - false_alarms], axis=1
    ).astype(np.int64)


def critical_success_index(counts: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """CSI of (..., 4) counts; zero where there is neither an event nor a warning."""
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


def smoothed(rain_mm: Floats, width_cells: float) -> Floats:
    """Gaussian smoothing of (sample, y, x) in space; the edge value continues outside."""
    result: Floats = ndimage.gaussian_filter(rain_mm, (0, width_cells, width_cells), mode="nearest")
    return result


def tuned_smoothing(raw_mm: Floats, observed_mm: Floats, threshold_mm: float) -> tuple[float, float]:
    """Width in cells and level in mm with the highest CSI."""
    candidates = []
    for width in WIDTHS_CELLS:
        level, csi = tuned_level(smoothed(raw_mm, width), observed_mm, threshold_mm, AMOUNTS_MM)
        candidates.append((csi, width, level))
    _, width, level = max(candidates)
    return width, level


def cycle_counts(
    warning: NDArray[np.bool_], split: Split, observed_mm: Floats, threshold_mm: float
) -> Counts:
    """Counts (cycle, 4) of (sample, y, x) warnings."""
    numbers, position = np.unique(split.cycles, return_inverse=True)
    counts = np.zeros((len(numbers), 4), np.int64)
    for sample, place in enumerate(position):
        counts[place] += counts_by_level(
            warning[sample].astype(np.float32), observed_mm[sample], threshold_mm, np.array([0.5])
        )[0]
    return counts


def score(system: str, decision: str, threshold_mm: float, counts: Counts) -> Score:
    """Scores of (cycle, 4) counts, summed first; precision and F1 are zero where nothing was forecast.

    Raises:
        InputError: there is no event, so that recall and bias have no value.
    """
    if not counts[:, :2].sum():
        raise InputError(
            "No event to score against", where=f"threshold {threshold_mm:g} mm", advice="score more cycles"
        )
    total = dict(zip(COUNTS, (xr.DataArray(float(number)) for number in counts.sum(axis=0)), strict=True))
    total["total_count"] = xr.DataArray(float(counts.sum()))
    manager = scores.categorical.BasicContingencyManager(total)
    return Score(
        system=system,
        decision=decision,
        threshold_mm=threshold_mm,
        csi=manager.critical_success_index().item(),
        f1=manager.f1_score().item(),
        precision=manager.precision().fillna(0).item(),
        recall=manager.recall().item(),
        frequency_bias=manager.frequency_bias().item(),
    )


def resampled_csi(counts: Counts, seed: int = 0) -> NDArray[np.float64]:
    """CSI of cycles drawn with replacement; the same draws for every system with as many cycles."""
    generator = np.random.default_rng(seed)
    draws = generator.integers(len(counts), size=(RESAMPLES, len(counts)))
    return critical_success_index(counts[draws].sum(axis=1))


def probabilities(network: Segmentation, split: Split, batch: int = 16) -> Floats:
    """(sample, class, y, x)."""
    module = Probabilities(network).eval()
    parts = np.array_split(np.arange(len(split)), max(len(split) // batch, 1))
    with torch.no_grad():
        return np.concatenate([module(torch.from_numpy(split.fields(part))).numpy() for part in parts])


def _exceedance(classes: Floats, index: int) -> Floats:
    """Probability of exceeding threshold number ``index``."""
    result: Floats = classes[:, index + 1 :].sum(axis=1)
    return result


def _forecast_and_observed(split: Split) -> tuple[Floats, Floats]:
    return split.raw_rain_mm(), split.rain_mm(np.arange(len(split)))


def _rows(
    split: Split, observed_mm: Floats, threshold_mm: float, warnings: dict[tuple[str, str], NDArray[np.bool_]]
) -> Iterable[ScoreRow]:
    counts = {
        key: cycle_counts(warning, split, observed_mm, threshold_mm) for key, warning in warnings.items()
    }
    resampled = {key: resampled_csi(value) for key, value in counts.items()}
    baseline = ("raw_smoothed", "tuned")
    baseline_csi = score(*baseline, threshold_mm, counts[baseline]).csi
    for key, value in counts.items():
        row = score(*key, threshold_mm, value)
        low, high = np.quantile(resampled[key], [0.025, 0.975])
        gain_low, gain_high = np.quantile(resampled[key] - resampled[baseline], [0.025, 0.975])
        hits, misses, false_alarms, correct_negatives = value.sum(axis=0).tolist()
        yield ScoreRow(
            score=row,
            csi_interval=(float(low), float(high)),
            gain=row.csi - baseline_csi,
            gain_interval=(float(gain_low), float(gain_high)),
            counts=(hits, misses, false_alarms, correct_negatives),
        )


def brier(probability: Floats, observed_mm: Floats, threshold_mm: float, frequency: float) -> Brier:
    """Brier scores of the model and of a constant frequency; cells without observation do not count."""
    seen = ~np.isnan(observed_mm)
    event = xr.DataArray((observed_mm[seen] >= threshold_mm).astype(np.float64))
    model = xr.DataArray(np.clip(probability[seen], 0, 1).astype(np.float64))
    return Brier(
        threshold_mm=threshold_mm,
        model=float(scores.probability.brier_score(model, event)),
        climatology=float(scores.probability.brier_score(xr.full_like(model, frequency), event)),
    )


def evaluate(run: Path) -> Evaluation:
    """Tunes on the validation split, scores on the test split, and writes ``scores.json`` into the run.

    Raises:
        InputError: no fitted run, no archive, or other data than the run's.
    """
    provenance, network = load_run(run)
    data = provenance.configuration.data
    validation, test = Split(data, "validation"), Split(data, "test")
    if test.description.digest != provenance.data_digest:
        raise InputError(
            "The run was fitted to other data",
            where=f"{run}, {data.archive}",
            expected=provenance.data_digest,
            got=test.description.digest,
            advice="its statistics and splits do not hold for this one; fit again",
        )
    tuning_raw, tuning_observed = _forecast_and_observed(validation)
    raw, observed = _forecast_and_observed(test)
    tuning_classes, classes = probabilities(network, validation), probabilities(network, test)
    shares = test.description.class_shares
    widths, amounts, levels = {}, {}, {}
    rows: list[ScoreRow] = []
    briers = []
    for index, threshold in enumerate(THRESHOLDS_MM):
        key = f"{threshold:g}"
        widths[key], amounts[key] = tuned_smoothing(tuning_raw, tuning_observed, threshold)
        levels[key], _ = tuned_level(
            _exceedance(tuning_classes, index), tuning_observed, threshold, PROBABILITIES
        )
        exceeding = _exceedance(classes, index)
        warnings = {
            ("raw", "value"): raw >= threshold,
            ("raw_smoothed", "tuned"): smoothed(raw, widths[key]) >= amounts[key],
            ("model", "argmax"): classes.argmax(axis=1) > index,
            ("model", "tuned"): exceeding >= levels[key],
        }
        rows.extend(_rows(test, observed, threshold, warnings))
        frequency = float(sum(shares["train"][index + 1 :]))
        briers.append(brier(exceeding, observed, threshold, frequency))
    evaluation = Evaluation(
        data_digest=test.description.digest,
        commit=code_commit(),
        samples={"validation": len(validation), "test": len(test)},
        cycles={"validation": len(set(validation.cycles)), "test": len(set(test.cycles))},
        observed_shares=shares["test"],
        smoothing_cells=widths,
        smoothed_levels_mm=amounts,
        decision_thresholds=levels,
        rows=tuple(rows),
        brier=tuple(briers),
    )
    (run / SCORES).write_text(evaluation.model_dump_json(indent=2) + "\n")
    return evaluation


def table(evaluation: Evaluation) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| threshold | system | decision | CSI [95 %] | F1 | precision | recall | frequency bias |",
        "|---|---|---|---|---|---|---|---|",
    ]
    names = {"raw": "raw NWP", "raw_smoothed": "raw NWP, smoothed", "model": "this model"}
    for row in evaluation.rows:
        it = row.score
        low, high = row.csi_interval
        lines.append(
            f"| {it.threshold_mm:g} mm | {names[it.system]} | {it.decision} "
            f"| {it.csi:.3f} [{low:.3f}, {high:.3f}] | {it.f1:.3f} | {it.precision:.3f} | {it.recall:.3f} "
            f"| {it.frequency_bias:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    arguments = parser.parse_args()
    print(table(evaluate(arguments.run)))


if __name__ == "__main__":
    main()
