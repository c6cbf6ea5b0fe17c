"""Tables of the experiment as Markdown. A row that was not run says so; no number is invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.stats

from service.channels import THRESHOLDS_MM
from training.results import Interval, Results, Summary

NOT_RUN: Final = "not run"
FITTED, TUNED = "argmax", "tuned"
UNTUNED: Final = ("argmax", "value")
"""The decisions that need no threshold: the most probable class, and the amount itself."""


@dataclass(frozen=True)
class Line:
    """A line of a table: a row of the experiment, and what it is called there.

    paper: the paper's CSI by threshold in mm, where it has one.
    """

    row: str
    label: str
    paper: Mapping[float, float] | None = None


def scores(results: Results, lines: Sequence[Line], threshold_mm: float) -> str:
    """All scores at one threshold, by the tuned decision, with the CSI of the untuned one before them."""
    head = [
        "system", "seeds", "CSI untuned", "CSI tuned [95 %]", "seeds' range", "over smoothed [95 %]", "F1",
        "precision", "recall", "bias", "paper's CSI",
    ]  # fmt: skip
    return _table(head, [_score_cells(results, line, threshold_mm) for line in lines])


def _score_cells(results: Results, line: Line, threshold_mm: float) -> list[str]:
    paper = f"{line.paper[threshold_mm]:.3f}" if line.paper else ""
    untuned = _untuned(results, line.row, threshold_mm)
    tuned = results.summary(line.row, threshold_mm, TUNED)
    shown = tuned or untuned
    if shown is None:
        return [line.label, NOT_RUN, *[""] * 8, paper]
    return [
        line.label,
        str(shown.seeds),
        f"{untuned.csi:.3f}" if untuned else "",
        f"{tuned.csi:.3f} {_interval(tuned.csi_interval)}" if tuned else "",
        _range(shown),
        f"{shown.gain:+.3f} {_interval(shown.gain_interval, signed=True)}",
        f"{shown.f1:.3f}",
        f"{shown.precision:.3f}",
        f"{shown.recall:.3f}",
        f"{shown.frequency_bias:.2f}",
        paper,
    ]


def comparison(results: Results, lines: Sequence[Line], reference: str | None = None) -> str:
    """CSI at both thresholds and by both decisions; with a reference, the tuned CSI less the reference's.

    The difference is that of the same seeds; in brackets its smallest and largest value over them.
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
        cells = [line.label, str(seeds) if seeds else NOT_RUN]
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
                    here.append(found.csi)
                    paper.append(line.paper[threshold])
            if len(labels) < 3:
                body.append([f"{threshold:g} mm", name, str(len(labels)), NOT_RUN, "", ""])
                continue
            correlation = float(scipy.stats.spearmanr(here, paper).statistic)
            orders = [_order(labels, here), _order(labels, paper)]
            body.append([f"{threshold:g} mm", name, str(len(labels)), f"{correlation:+.2f}", *orders])
    return _table(["", "decision", "rows", "Spearman", "order here", "order in the paper"], body)


def distance(results: Results, lines: Sequence[Line], raw: str, smoothed: str, ceiling: str) -> str:
    """The tuned CSI as a multiple of the raw and the smoothed, and as a share of what can be known."""
    head = [""]
    for threshold in THRESHOLDS_MM:
        head += [f"{threshold:g} mm: x raw", "x smoothed", "of the ceiling", "of the way from raw to it"]
    body = []
    for line in lines:
        cells = [line.label]
        for threshold in THRESHOLDS_MM:
            mine, base, smooth, best = (
                _first(results, row, threshold, (TUNED, *UNTUNED))
                for row in (line.row, raw, smoothed, ceiling)
            )
            cells += [
                f"{mine.csi / base.csi:.2f}" if mine and base else NOT_RUN,
                f"{mine.csi / smooth.csi:.2f}" if mine and smooth else NOT_RUN,
                f"{100 * mine.csi / best.csi:.0f} %" if mine and best else NOT_RUN,
                f"{100 * (mine.csi - base.csi) / (best.csi - base.csi):.0f} %"
                if mine and base and best
                else NOT_RUN,
            ]
        body.append(cells)
    return _table(head, body)


def _untuned(results: Results, row: str, threshold_mm: float) -> Summary | None:
    return _first(results, row, threshold_mm, UNTUNED)


def _first(results: Results, row: str, threshold_mm: float, decisions: Sequence[str]) -> Summary | None:
    found = (results.summary(row, threshold_mm, decision) for decision in decisions)
    return next((summary for summary in found if summary), None)


def _difference(results: Results, row: str, reference: str, threshold_mm: float) -> str:
    mine, theirs = (
        {seed: scored.csi for seed, scored in results.scored(name, threshold_mm, TUNED).items()}
        for name in (row, reference)
    )
    differences = [mine[seed] - theirs[seed] for seed in mine.keys() & theirs.keys()]
    if not differences:
        return ""
    bounds = (min(differences), max(differences))
    return f"{np.mean(differences):+.3f} {_interval(bounds, signed=True)}"


def _order(labels: Sequence[str], values: Sequence[float]) -> str:
    return " < ".join(labels[place] for place in np.argsort(values, kind="stable"))


def _with_range(summary: Summary | None) -> str:
    if summary is None:
        return ""
    low, high = summary.csi_range
    return f"{summary.csi:.3f}" if summary.seeds == 1 else f"{summary.csi:.3f} ({low:.3f}-{high:.3f})"


def _range(summary: Summary) -> str:
    low, high = summary.csi_range
    return "" if summary.seeds == 1 else f"{low:.3f}-{high:.3f}"


def _interval(bounds: Interval, *, signed: bool = False) -> str:
    low, high = (f"{bound:+.3f}" if signed else f"{bound:.3f}" for bound in bounds)
    return f"[{low}, {high}]"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
