"""Tables of the experiment as Markdown. A row that was not run says so; no number is invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.stats

from service.channels import THRESHOLDS_MM
from training.bootstrap import Estimate, Series
from training.evaluation import Evaluation
from training.results import Result, Results, Summary

NOT_RUN: Final = "not run"
TUNED: Final = "tuned"
UNTUNED: Final = ("argmax", "value")
"""The decisions that need no level: the most probable class, and the amount itself."""
DECISIONS: Final = {"untuned": UNTUNED, TUNED: (TUNED,)}

KM_PER_CELL: Final = 5

SCORE_HEADS: Final = ("CSI [95 %]", "F1", "precision", "recall", "bias", "ETS")
PROBABILITY_HEADS: Final = (
    "Brier as fitted", "calibrated", "climatology", "skill [95 %]", "bins within 5 points, as fitted",
    "calibrated",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A line of a table: a row of the experiment, and what it is called there.

    paper: the paper's CSI by threshold in mm, where it has one.
    only: the decisions that ``scores`` shows; all unless given.
    """

    row: str
    label: str
    paper: Mapping[float, float] | None = None
    only: tuple[str, ...] | None = None


def one_run(evaluation: Evaluation) -> str:
    """All decisions of one run, and its probabilities."""
    results = Results([Result(row=evaluation.system, evaluation=evaluation)])
    body, probabilities = [], []
    for at in evaluation.thresholds:
        name = f"{at.threshold_mm:g} mm"
        for decision in at.decisions:
            summary = results.summary(evaluation.system, at.threshold_mm, decision.decision)
            if summary:
                level = "" if decision.level is None else f"{decision.level:.3f}"
                body.append([name, decision.decision, level, *_score_cells(summary)])
        probabilities.append([name, *_probability_cells(results, evaluation.system, at.threshold_mm)])
    tables = [_table(["threshold", "decision", "level", *SCORE_HEADS], body)]
    if any(at.probability for at in evaluation.thresholds):
        tables.append(_table(["threshold", *PROBABILITY_HEADS], probabilities))
    return "\n\n".join(tables)


def scores(
    results: Results,
    lines: Sequence[Line],
    threshold_mm: float,
    decisions: Mapping[str, Sequence[str]] = DECISIONS,
) -> str:
    """All scores at one threshold, a line for each decision of each system.

    Args:
        results, lines, threshold_mm: what is shown.
        decisions: by the name in the table, the first of these that a system makes.
    """
    with_paper = any(line.paper for line in lines)
    with_seeds = any(len(results.seeds(line.row)) > 1 for line in lines)
    head = ["system", "decision", *SCORE_HEADS, "CSI over smoothed [95 %]"]
    head += [*(["seeds", "their CSI"] if with_seeds else []), *(["paper's CSI"] if with_paper else [])]
    body = []
    for line in lines:
        paper = [f"{line.paper[threshold_mm]:.3f}" if line.paper else ""] if with_paper else []
        found = {
            name: _first(results, line.row, threshold_mm, kinds)
            for name, kinds in decisions.items()
            if line.only is None or name in line.only
        }
        if not any(found.values()):
            body.append([line.label, NOT_RUN, *[""] * (len(head) - len(paper) - 2), *paper])
        for name, summary in found.items():
            if summary:
                cells = [line.label, name, *_score_cells(summary)]
                cells.append(with_interval(summary.over_smoothed, signed=True))
                cells += [str(summary.seeds), _range(summary)] if with_seeds else []
                body.append([*cells, *paper])
                paper = [""] * len(paper)
    return _table(head, body)


def _score_cells(summary: Summary) -> list[str]:
    ratios = (summary.f1, summary.precision, summary.recall)
    return [
        with_interval(summary.csi),
        *(f"{ratio.value:.3f}" for ratio in ratios),
        f"{summary.frequency_bias.value:.2f}",
        f"{summary.ets.value:.3f}",
    ]


def comparison(results: Results, lines: Sequence[Line], reference: str | None = None) -> str:
    """CSI at both thresholds and by both decisions; with a reference, the tuned CSI less the reference's.

    The difference is over the seeds that both have, with its 95 % interval.
    """
    with_paper = any(line.paper for line in lines)
    head = ["", "seeds"]
    for threshold in THRESHOLDS_MM:
        head += [f"{threshold:g} mm: untuned", "tuned"]
        head += [f"less {reference}"] if reference else []
        head += ["paper"] if with_paper else []
    body = []
    for line in lines:
        seeds = results.seeds(line.row)
        cells = [line.label, str(len(seeds)) if seeds else NOT_RUN]
        for threshold in THRESHOLDS_MM:
            untuned = _untuned(results, line.row, threshold)
            tuned = results.summary(line.row, threshold, TUNED)
            cells += [_with_range(untuned), _with_range(tuned)]
            cells += [_difference(results, line.row, reference, threshold)] if reference else []
            cells += [f"{line.paper[threshold]:.3f}" if line.paper else ""] if with_paper else []
        body.append(cells)
    return _table(head, body)


def ranking(results: Results, lines: Sequence[Line]) -> str:
    """The rank correlation (Spearman) of the CSI with the paper's, over the rows that both have.

    Rows without a tuned decision, as the raw forecast, take part in both rankings as they are.
    """
    body = []
    for threshold in THRESHOLDS_MM:
        for name, decisions in (("untuned", UNTUNED), ("tuned", (TUNED, *UNTUNED))):
            labels, here, paper = [], [], []
            for line in lines:
                found = _first(results, line.row, threshold, decisions)
                if line.paper and found:
                    labels.append(line.label)
                    here.append(found.csi.value)
                    paper.append(line.paper[threshold])
            if len(labels) < 3:
                body.append([f"{threshold:g} mm", name, str(len(labels)), NOT_RUN, "", ""])
                continue
            correlation = float(scipy.stats.spearmanr(here, paper).statistic)
            orders = [_order(labels, here), _order(labels, paper)]
            body.append([f"{threshold:g} mm", name, str(len(labels)), f"{correlation:+.2f}", *orders])
    return _table(["", "decision", "rows", "Spearman", "order here", "order in the paper"], body)


def distance(results: Results, lines: Sequence[Line], raw: Line, smoothed: Line, ceiling: Line) -> str:
    """The tuned CSI as a multiple of raw and smoothed, and as a share of what can be known, with intervals.

    Over the days on which all of them were scored.
    """
    head = [""]
    for threshold in THRESHOLDS_MM:
        way = f"of the way from {raw.label} to {ceiling.label}"
        head += [
            f"{threshold:g} mm: x {raw.label}",
            f"x {smoothed.label}",
            f"% of {ceiling.label}",
            f"% {way}",
        ]
    body = []
    for line in lines:
        days = results.days(line.row, raw.row, smoothed.row, ceiling.row)
        cells = [line.label]
        for threshold in THRESHOLDS_MM:
            wanted = ((line, TUNED), (raw, "value"), (smoothed, TUNED), (ceiling, TUNED))
            found = (results.series(one.row, threshold, decision, days=days) for one, decision in wanted)
            mine, base, smooth, best = (one["csi"] if one else None for one in found)
            cells += [_multiple(mine, base), _multiple(mine, smooth), _share(mine, best)]
            if mine is None or base is None or best is None:
                cells.append(NOT_RUN)
            else:
                cells.append(_share(mine - base, best - base))
        body.append(cells)
    return _table(head, body)


def reliability(results: Results, lines: Sequence[Line]) -> str:
    """Brier scores beside climatology's, and in how many bins the event is as frequent as forecast."""
    head = ["system", "threshold", *PROBABILITY_HEADS]
    body = []
    for line in lines:
        for threshold in THRESHOLDS_MM:
            cells = _probability_cells(results, line.row, threshold)
            body.append([line.label, f"{threshold:g} mm", *cells])
    return _table(head, body)


def _probability_cells(results: Results, row: str, threshold_mm: float) -> list[str]:
    fitted, calibrated = (results.probability(row, threshold_mm, calibrated=after) for after in (False, True))
    if fitted is None or calibrated is None:
        return ["no probabilities" if results.seeds(row) else NOT_RUN, *[""] * (len(PROBABILITY_HEADS) - 1)]
    return [
        f"{fitted.brier.value:.5f}",
        f"{calibrated.brier.value:.5f}",
        f"{calibrated.climatology.value:.5f}",
        with_interval(calibrated.skill),
        *("{} of {}".format(*one.within()) for one in (fitted, calibrated)),
    ]


def fractions(results: Results, lines: Sequence[Line], threshold_mm: float) -> str:
    """Fractions skill score by the width of the neighbourhood, tuned decision."""
    found = {line.row: results.summary(line.row, threshold_mm, TUNED) for line in lines}
    sizes = sorted({size for summary in found.values() if summary for size in summary.fss})
    body = []
    for line in lines:
        summary = found[line.row]
        if summary is None:
            body.append([line.label, NOT_RUN, *[""] * (len(sizes) - 1)])
        else:
            body.append(
                [
                    line.label,
                    *(with_interval(summary.fss[size]) if size in summary.fss else "" for size in sizes),
                ]
            )
    return _table(["system", *(f"{KM_PER_CELL * size} km [95 %]" for size in sizes)], body)


def by_lead(results: Results, lines: Sequence[Line], threshold_mm: float) -> str:
    """CSI by lead with intervals, tuned decision."""
    found = {line.row: results.by_lead(line.row, threshold_mm, TUNED) for line in lines}
    leads = sorted({lead for scores_of_row in found.values() for lead in scores_of_row})
    body = []
    for line in lines:
        cells = [with_interval(found[line.row].get(lead)) for lead in leads]
        body.append([line.label, *(cells if any(cells) else [NOT_RUN, *[""] * (len(leads) - 1)])])
    return _table(["system", *(f"{lead} h" for lead in leads)], body)


def _untuned(results: Results, row: str, threshold_mm: float) -> Summary | None:
    return _first(results, row, threshold_mm, UNTUNED)


def _first(results: Results, row: str, threshold_mm: float, decisions: Sequence[str]) -> Summary | None:
    found = (results.summary(row, threshold_mm, decision) for decision in decisions)
    return next((summary for summary in found if summary), None)


def _difference(results: Results, row: str, reference: str, threshold_mm: float) -> str:
    found = results.difference(row, reference, threshold_mm)
    return with_interval(found.estimate, signed=True) if found and row != reference else ""


def _multiple(mine: Series | None, other: Series | None) -> str:
    if mine is None or other is None:
        return NOT_RUN
    return with_interval(Estimate.of(mine / other), digits=2)


def _share(mine: Series | None, other: Series | None) -> str:
    if mine is None or other is None:
        return NOT_RUN
    return with_interval(Estimate.of(100 * mine / other), digits=0)


def _order(labels: Sequence[str], values: Sequence[float]) -> str:
    return " < ".join(labels[place] for place in np.argsort(values, kind="stable"))


def _with_range(summary: Summary | None) -> str:
    if summary is None:
        return ""
    seeds = _range(summary)
    return f"{summary.csi.value:.3f} ({seeds})" if seeds else f"{summary.csi.value:.3f}"


def _range(summary: Summary) -> str:
    low, high = summary.csi_range
    return "" if summary.seeds == 1 else f"{low:.3f}-{high:.3f}"


def with_interval(estimate: Estimate | None, *, signed: bool = False, digits: int = 3) -> str:
    """The value with its interval; nothing for None."""
    if estimate is None:
        return ""
    form = f"{'+' if signed else ''}.{digits}f"
    low, high = estimate.interval
    return f"{estimate.value:{form}} [{low:{form}}, {high:{form}}]"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
