"""The charts of the experiment, and the look that its maps share.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which every kind of colour vision tells
apart; what they mean is also written or marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.channels import CLASSES, THRESHOLDS_MM

DOTS_PER_INCH: Final = 110
GREY, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    "#7a7a7a", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip
SEQUENCE: Final = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
LETTERS_PER_INCH, MARKER_LETTERS = 13, 8
"""Of the text of a legend, and how wide a marker is beside it."""
CLASS_NAMES: Final = {"no_rain": "no rain", "rain": "rain", "heavy_rain": "heavy rain"}

look: Final = mpl.rc_context(
    {
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "figure.constrained_layout.h_pad": 0.08,
        "figure.constrained_layout.w_pad": 0.08,
    }
)
"""Decorates what draws."""


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty figure, laid out when it is saved; pyplot never learns of it."""
    figure = Figure(figsize=(width_inches, height_inches), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG that is the same, byte for byte, for the same figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


@dataclass(frozen=True)
class LabelShares:
    """Shares of the observed cells: by the class of the amount, and with a probability above zero."""

    one_hot: tuple[float, ...]
    non_zero: tuple[float, ...]


@dataclass(frozen=True)
class LeadScores:
    """CSI of one system by lead at one threshold."""

    system: str
    threshold_mm: float
    csi: Mapping[int, float]


@dataclass(frozen=True)
class Reliability:
    """How often it rained where a probability was forecast.

    forecast, observed: mean probability and frequency of the event per bin; NaN where a bin is empty.
    share: of the cells in each bin.
    """

    name: str
    threshold_mm: float
    forecast: NDArray[np.float64]
    observed: NDArray[np.float64]
    share: NDArray[np.float64]


@dataclass(frozen=True)
class Learning:
    """CSI by the share of the labels, a value per seed."""

    name: str
    threshold_mm: float
    csi: Mapping[float, Sequence[float]]


@dataclass(frozen=True)
class Cost:
    """What a network costs and what it brings: milliseconds of CPU for a lead, CSI and its 95 % interval."""

    name: str
    milliseconds: float
    csi: Mapping[float, tuple[float, float, float]]
    """By threshold in mm: value, lower and upper end."""


@look
def class_shares(shares: LabelShares) -> Figure:
    """Figure 2: how many cells tell the network something about each class, without and with smoothing."""
    figure = new_figure(7.0, 2.6)
    panels = figure.subplots(1, 2, sharey=True)
    titles = ("(a) class of the amount", "(b) classes with a probability above zero")
    names = [CLASS_NAMES[name] for name in CLASSES]
    for axes, title, values in zip(panels, titles, (shares.one_hot, shares.non_zero), strict=True):
        percent = [100 * value for value in values]
        bars = axes.barh(names, percent, color=(GREY, SKY, VERMILION), height=0.65)
        axes.bar_label(bars, [f"{value:.2f} %" for value in percent], padding=3)
        axes.set(title=title, xlim=(0, 118), xticks=range(0, 101, 25), xlabel="% of the observed cells")
        axes.tick_params(axis="y", length=0)
    panels[0].invert_yaxis()
    return figure


@look
def scores_by_lead(scores: Sequence[LeadScores], reference: str) -> Figure:
    """Figure 5: CSI by lead, and over the bars by how much it exceeds that of the reference system."""
    figure = new_figure(9.0, 3.4)
    panels = figure.subplots(1, len(THRESHOLDS_MM))
    for axes, threshold in zip(panels, THRESHOLDS_MM, strict=True):
        here = [row for row in scores if row.threshold_mm == threshold]
        base = next(row.csi for row in here if row.system == reference)
        leads = sorted(base)
        width = 0.8 / len(here)
        for number, row in enumerate(here):
            places = np.arange(len(leads)) + (number - (len(here) - 1) / 2) * width
            csi = [row.csi[lead] for lead in leads]
            colour = GREY if row.system == reference else SEQUENCE[(number - 1) % len(SEQUENCE)]
            bars = axes.bar(places, csi, width * 0.94, color=colour, label=row.system)
            if row.system != reference:
                gains = [f"{100 * (row.csi[lead] / base[lead] - 1):+.0f} %" for lead in leads]
                axes.bar_label(bars, gains, padding=2, fontsize=7, rotation=90)
        highest = max(max(row.csi.values()) for row in here)
        axes.set(
            title=f"{threshold:g} mm or more",
            xticks=range(len(leads)),
            xticklabels=[str(lead) for lead in leads],
            xlabel="lead, h",
            ylabel="CSI",
            ylim=(0, 1.22 * highest),
        )
    _legend_below(figure, panels[0])
    return figure


@look
def reliability(curves: Sequence[Reliability]) -> Figure:
    """Observed frequency over forecast probability; below, how many of the cells had that probability."""
    figure = new_figure(8.0, 5.2)
    panels = figure.subplots(2, len(THRESHOLDS_MM), sharex=True, height_ratios=(3, 1))
    for column, threshold in enumerate(THRESHOLDS_MM):
        upper, lower = panels[:, column]
        upper.plot((0, 1), (0, 1), color="0.75", linewidth=1, label="as often as forecast")
        for number, curve in enumerate(c for c in curves if c.threshold_mm == threshold):
            filled = np.flatnonzero(curve.share > 0)
            look = {"color": SEQUENCE[number], "marker": MARKERS[number], "markersize": 4}
            upper.plot(curve.forecast[filled], curve.observed[filled], label=curve.name, **look)
            lower.plot(curve.forecast[filled], curve.share[filled], **look)
        upper.set(title=f"{threshold:g} mm or more", xlim=(0, 1), ylim=(0, 1), ylabel="observed frequency")
        lower.set(yscale="log", ylabel="share of cells", xlabel="forecast probability")
    _legend_below(figure, panels[0, 0])
    return figure


@look
def scores_by_label_share(learnings: Sequence[Learning]) -> Figure:
    """CSI over the share of the labels: a small point per seed, a line through the means."""
    figure = new_figure(8.0, 3.4)
    panels = figure.subplots(1, len(THRESHOLDS_MM))
    shares = sorted({share for row in learnings for share in row.csi})
    for axes, threshold in zip(panels, THRESHOLDS_MM, strict=True):
        for number, row in enumerate(row for row in learnings if row.threshold_mm == threshold):
            look_of_row = {"color": SEQUENCE[number], "marker": MARKERS[number]}
            ordered = sorted(row.csi.items())
            means = [float(np.mean(csi)) for _, csi in ordered]
            axes.plot([share for share, _ in ordered], means, label=row.name, markersize=6, **look_of_row)
            points = [(share, value) for share, csi in ordered for value in csi]
            axes.plot(*zip(*points, strict=True), linestyle="none", markersize=3, alpha=0.5, **look_of_row)
        axes.set(title=f"{threshold:g} mm or more", xscale="log", xlabel="share of the labels", ylabel="CSI")
        axes.set_xticks(shares, [f"{100 * share:g} %" for share in shares])
        axes.minorticks_off()
    _legend_below(figure, panels[0])
    return figure


@look
def skill_by_cost(costs: Sequence[Cost]) -> Figure:
    """CSI with its interval over the milliseconds of a lead."""
    figure = new_figure(8.0, 3.2)
    panels = figure.subplots(1, len(THRESHOLDS_MM))
    for axes, threshold in zip(panels, THRESHOLDS_MM, strict=True):
        for number, cost in enumerate(costs):
            if threshold in cost.csi:
                value, *interval = cost.csi[threshold]
                axes.errorbar(
                    [cost.milliseconds],
                    [value],
                    np.abs(np.array(interval) - value)[:, None],
                    label=cost.name,
                    color=SEQUENCE[number],
                    marker=MARKERS[number],
                    markersize=6,
                    capsize=3,
                    linestyle="none",
                )
        axes.set(title=f"{threshold:g} mm or more", xlabel="ms of CPU for a lead", ylabel="CSI, tuned")
        axes.set_xlim(left=0)
        axes.margins(x=0.12)
    _legend_below(figure, panels[0])
    return figure


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels), default=1)
    columns = max(1, int(figure.get_figwidth() * LETTERS_PER_INCH / (longest + MARKER_LETTERS)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
