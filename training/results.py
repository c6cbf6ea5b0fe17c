"""Scores of many runs in one small file, and what follows from them: means over seeds, intervals, gains.

Intervals come from ``training.bootstrap``. With several seeds the scores of the seeds are averaged on each
draw of days; what the choice of the seed changes is in no interval and is reported as a range. The folds of
a cross-validation are one sample: their days are put together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from service.errors import InputError
from training.bootstrap import Estimate, Interval, Series, weights
from training.daily_sums import DailySums
from training.evaluation import Evaluation
from training.ratios import RATIOS, ratios

SPARSE: Final = 1e-4
"""Bins of forecast probability with a smaller share of the cells say too little."""

Seed = int | None


class Result(BaseModel):
    """One run of one row of the experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str
    evaluation: Evaluation


_RESULTS: Final = TypeAdapter(tuple[Result, ...])


def read_results(path: Path) -> tuple[Result, ...]:
    """Reads what ``write_results`` wrote; nothing where there is no file.

    Raises:
        InputError: a file of another form.
    """
    if not path.exists():
        return ()
    try:
        return _RESULTS.validate_json(path.read_text())
    except ValidationError as error:
        raise InputError(
            "The results are of another form",
            where=str(path),
            got=str(error.errors()[0]["msg"]),
            advice="gather them anew from the runs",
        ) from error


def write_results(results: Iterable[Result], path: Path) -> None:
    """A list with one result a line, in the order of row, seed and fold; whole or not at all.

    Numbers have seven digits: sums of float32 have no more, and the file is kept in the history.
    """
    lines = [_short(result.model_dump_json()) for result in sorted(results, key=_order)]
    temporary = path.with_suffix(".part")
    temporary.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    temporary.replace(path)


def _short(text: str) -> str:
    content = json.loads(text, parse_float=lambda digits: float(f"{float(digits):.7g}"))
    return json.dumps(content, separators=(",", ":"))


def _order(result: Result) -> tuple[str, int, int]:
    seed, fold = result.evaluation.seed, result.evaluation.fold
    return result.row, -1 if seed is None else seed, -1 if fold is None else fold


@dataclass(frozen=True)
class Summary:
    """A row at one threshold by one decision, over its seeds.

    csi_range: smallest and largest CSI of a seed. fss: by neighbourhood, cells per side.
    over_raw, over_smoothed: CSI less that of the raw forecast as it is, and of the raw forecast smoothed and
        tuned; None where that was not scored.
    """

    seeds: int
    csi: Estimate
    csi_range: Interval
    f1: Estimate
    precision: Estimate
    recall: Estimate
    frequency_bias: Estimate
    ets: Estimate
    fss: dict[int, Estimate]
    over_raw: Estimate | None
    over_smoothed: Estimate | None


@dataclass(frozen=True)
class Difference:
    """CSI of one row less that of another, over the seeds that both have. range: of these seeds."""

    seeds: int
    estimate: Estimate
    range: Interval


@dataclass(frozen=True)
class ProbabilitySummary:
    """Probabilities of a row at one threshold, as fitted or calibrated, over its seeds.

    brier, climatology: Brier scores, of the forecast and of the training split's frequency. skill: one less
        their quotient.
    forecast, observed, share: by bin, mean probability, frequency of the event (both NaN where the bin is
        empty) and share of the cells, all seeds together.
    """

    brier: Estimate
    climatology: Estimate
    skill: Estimate
    forecast: NDArray[np.float64]
    observed: NDArray[np.float64]
    share: NDArray[np.float64]

    def within(self, points: float = 0.05) -> tuple[int, int]:
        """Bins whose observed frequency is at most so far from the forecast, and bins that are not sparse."""
        told = self.share >= SPARSE
        near = np.abs(self.observed[told] - self.forecast[told]) <= points
        return int(near.sum()), int(told.sum())


class Results:
    """Results by row, threshold and decision; of runs that are scored on all folds.

    Args:
        results: of any rows.
        raw, smoothed: the rows that gains are measured against.
    """

    def __init__(self, results: Iterable[Result], *, raw: str = "raw", smoothed: str = "smoothed") -> None:
        folds: dict[str, dict[Seed, list[Evaluation]]] = {}
        for result in sorted(results, key=_order):
            evaluation = result.evaluation
            folds.setdefault(result.row, {}).setdefault(evaluation.seed, []).append(evaluation)
        # A part of the folds is another sample than all of them.
        whole = max((len(parts) for runs in folds.values() for parts in runs.values()), default=0)
        complete = {
            row: {seed: parts for seed, parts in runs.items() if len(parts) == whole}
            for row, runs in folds.items()
        }
        self._evaluations = {row: runs for row, runs in complete.items() if runs}
        self._sums = {
            row: {seed: DailySums(parts) for seed, parts in runs.items()}
            for row, runs in self._evaluations.items()
        }
        self._raw, self._smoothed = (raw, "value"), (smoothed, "tuned")
        # Tables ask for the same again and again.
        self._drawn: dict[tuple[Any, ...], dict[str, Series] | None] = {}

    @property
    def rows(self) -> tuple[str, ...]:
        """Those that were scored."""
        return tuple(self._sums)

    def seeds(self, row: str) -> tuple[Seed, ...]:
        """Seeds of a row; none where it was not run."""
        return tuple(self._sums.get(row, {}))

    def evaluations(self, row: str, seed: Seed) -> tuple[Evaluation, ...]:
        """The folds of a run, or the one evaluation that it has."""
        return tuple(self._evaluations[row][seed])

    def days(self, *rows: str) -> tuple[str, ...]:
        """The days on which all runs of the rows were scored, on the same numbers of cells.

        Rows that were not run do not count.

        Raises:
            InputError: there is none.
        """
        runs = [run.cells for row in rows for run in self._sums.get(row, {}).values()]
        if not runs:
            return ()
        first, *others = runs
        shared = tuple(day for day in first if all(other.get(day) == first[day] for other in others))
        if not shared:
            raise InputError(
                "The rows were not scored on the same days",
                where=", ".join(rows),
                advice="score them on the same data",
            )
        return shared

    def series(
        self,
        row: str,
        threshold_mm: float,
        decision: str,
        *,
        days: Sequence[str] | None = None,
        seeds: Sequence[Seed] | None = None,
        lead_hours: int | None = None,
    ) -> dict[str, Series] | None:
        """Ratios of a row by name, the mean over its seeds; None where it never decides so or was not run.

        Args:
            row, threshold_mm, decision: what is asked for.
            days, seeds, lead_hours: all of them unless given.
        """
        chosen = tuple(self.days(row) if days is None else days)
        each = []
        for seed, run in self._sums.get(row, {}).items():
            key = (row, seed, threshold_mm, decision, chosen, lead_hours)
            if key not in self._drawn:
                counts = run.counts(threshold_mm, decision, lead_hours)
                self._drawn[key] = (
                    None if counts is None else ratios(weights(len(chosen)) @ counts[_places(run, chosen)])
                )
            drawn = self._drawn[key]
            if drawn is not None and (seeds is None or seed in seeds):
                each.append(drawn)
        return {name: _mean(one[name] for one in each) for name in RATIOS} if each else None

    def summary(self, row: str, threshold_mm: float, decision: str) -> Summary | None:
        """Over the seeds; None where there is none."""
        series = self.series(row, threshold_mm, decision)
        if series is None:
            return None
        csi = self.csi_by_seed(row, threshold_mm, decision).values()
        return Summary(
            seeds=len(csi),
            csi_range=(min(csi), max(csi)),
            **{name: Estimate.of(series[name]) for name in RATIOS},
            fss=self._fss(row, threshold_mm, decision),
            over_raw=self._gain((row, decision), self._raw, threshold_mm),
            over_smoothed=self._gain((row, decision), self._smoothed, threshold_mm),
        )

    def csi_by_seed(self, row: str, threshold_mm: float, decision: str) -> dict[Seed, float]:
        """CSI of each seed, its folds together; empty where the row never decides so."""
        found = {seed: self.series(row, threshold_mm, decision, seeds=[seed]) for seed in self.seeds(row)}
        return {seed: float(series["csi"][0]) for seed, series in found.items() if series}

    def by_lead(self, row: str, threshold_mm: float, decision: str) -> dict[int, Estimate]:
        """CSI by lead in hours; empty where the row never decides so."""
        leads = sorted({lead for run in self._sums.get(row, {}).values() for lead in run.leads_hours})
        found = {lead: self.series(row, threshold_mm, decision, lead_hours=lead) for lead in leads}
        return {lead: Estimate.of(series["csi"]) for lead, series in found.items() if series}

    def difference(
        self, row: str, other: str, threshold_mm: float, decision: str = "tuned"
    ) -> Difference | None:
        """CSI of a row less that of another; None without a seed that both have."""
        mine, theirs = (self.csi_by_seed(name, threshold_mm, decision) for name in (row, other))
        seeds = [seed for seed in mine if seed in theirs]
        days = self.days(row, other)
        one, another = (
            self.series(name, threshold_mm, decision, days=days, seeds=seeds) for name in (row, other)
        )
        if one is None or another is None:
            return None
        by_seed = [mine[seed] - theirs[seed] for seed in seeds]
        return Difference(len(seeds), Estimate.of(one["csi"] - another["csi"]), (min(by_seed), max(by_seed)))

    def probability(
        self, row: str, threshold_mm: float, *, calibrated: bool = True
    ) -> ProbabilitySummary | None:
        """Of the probabilities of exceeding; None for a row without any."""
        days = self.days(row)
        briers, climatologies, bins = [], [], []
        for run in self._sums.get(row, {}).values():
            errors = run.squared_errors(threshold_mm, calibrated=calibrated)
            counted = run.bins(threshold_mm, calibrated=calibrated)
            if errors is None or counted is None:
                return None
            mine, constant, cells = (weights(len(days)) @ errors[_places(run, days)]).T
            briers.append(mine / cells)
            climatologies.append(constant / cells)
            bins.append(counted)
        if not bins:
            return None
        brier, climatology = _mean(briers), _mean(climatologies)
        cells, events, probabilities = np.sum(bins, axis=0).T
        filled = np.where(cells > 0, cells, np.nan)
        return ProbabilitySummary(
            brier=Estimate.of(brier),
            climatology=Estimate.of(climatology),
            skill=Estimate.of(1 - brier / climatology),
            forecast=probabilities / filled,
            observed=events / filled,
            share=cells / cells.sum(),
        )

    def _fss(self, row: str, threshold_mm: float, decision: str) -> dict[int, Estimate]:
        days = self.days(row)
        each: dict[int, list[Series]] = {}
        for run in self._sums.get(row, {}).values():
            for cells, sums in run.fractions(threshold_mm, decision).items():
                errors, references = (weights(len(days)) @ sums[_places(run, days)]).T
                each.setdefault(cells, []).append(1 - errors / references)
        return {cells: Estimate.of(_mean(series)) for cells, series in each.items()}

    def _gain(self, mine: tuple[str, str], theirs: tuple[str, str], threshold_mm: float) -> Estimate | None:
        if not self.seeds(theirs[0]):
            return None
        days = self.days(mine[0], theirs[0])
        one, other = (self.series(row, threshold_mm, decision, days=days) for row, decision in (mine, theirs))
        return Estimate.of(one["csi"] - other["csi"]) if one and other else None


def _places(run: DailySums, days: Sequence[str]) -> NDArray[np.intp]:
    return np.array([run.days.index(day) for day in days], np.intp)


def _mean(series: Iterable[Series]) -> Series:
    result: Series = np.mean(list(series), axis=0)
    return result
