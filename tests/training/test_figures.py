"""Charts: they show the numbers they were given, and say so in words."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.figures import (
    LabelShares,
    LeadScores,
    Learning,
    Reliability,
    class_shares,
    reliability,
    save,
    scores_by_label_share,
    scores_by_lead,
)

SHARES = LabelShares((0.87, 0.1213, 0.0087), (0.871, 0.1300, 0.1287))


def _texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def _legend(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_class_shares_are_written_beside_their_bars() -> None:
    left, right = class_shares(SHARES).axes
    assert _texts(left) == ["87.00 %", "12.13 %", "0.87 %"]
    assert _texts(right) == ["87.10 %", "13.00 %", "12.87 %"]
    assert [bar.get_width() for bar in right.patches] == pytest.approx([87.1, 13.0, 12.87])  # type: ignore[attr-defined] # bars are rectangles


def test_gains_by_lead_are_over_the_reference_at_the_same_lead() -> None:
    rows = [
        LeadScores("raw", 0.1, {25: 0.2, 26: 0.4}),
        LeadScores("ours", 0.1, {25: 0.3, 26: 0.3}),
        LeadScores("raw", 10.0, {25: 0.05, 26: 0.05}),
        LeadScores("ours", 10.0, {25: 0.1, 26: 0.05}),
    ]
    figure = scores_by_lead(rows, "raw")
    low, high = figure.axes
    assert _texts(low) == ["+50 %", "-25 %"]
    assert _texts(high) == ["+100 %", "+0 %"]
    assert [bar.get_height() for bar in low.patches] == [0.2, 0.4, 0.3, 0.3]  # type: ignore[attr-defined] # bars are rectangles
    assert _legend(figure) == ["raw", "ours"]


def test_empty_bins_are_left_out_of_the_reliability_diagram() -> None:
    curves = [
        Reliability(
            "as fitted", threshold, np.array([0.1, np.nan, 0.9]), np.array([0.2, np.nan, 0.7]),
            np.array([0.95, 0.0, 0.05]),
        )
        for threshold in (0.1, 10.0)
    ]  # fmt: skip
    figure = reliability(curves)
    upper: Axes = figure.axes[0]
    diagonal, curve = upper.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(curve.get_xydata(), [[0.1, 0.2], [0.9, 0.7]])
    assert _legend(figure) == ["as often as forecast", "as fitted"]


def test_label_shares_show_the_mean_and_every_seed() -> None:
    rows = [Learning("pre-trained", mm, {1.0: [0.3], 0.05: [0.1, 0.2]}) for mm in (0.1, 10.0)]
    axes = scores_by_label_share(rows).axes[0]
    mean, seeds = (np.asarray(line.get_xydata(), np.float64) for line in axes.lines)
    np.testing.assert_allclose(mean, np.array([[0.05, 0.15], [1.0, 0.3]]))
    np.testing.assert_allclose(seeds, np.array([[0.05, 0.1], [0.05, 0.2], [1.0, 0.3]]))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5 %", "100 %"]


def test_a_saved_figure_is_the_same_every_time_and_pyplot_knows_nothing_of_it(tmp_path: Path) -> None:
    files = [tmp_path / "new" / "a.png", tmp_path / "new" / "b.png"]
    for file in files:
        save(class_shares(SHARES), file)
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    assert plt.get_fignums() == []


def test_the_look_does_not_leak() -> None:
    with plt.rc_context({"axes.spines.top": True, "font.size": 20.0}):
        assert not class_shares(SHARES).axes[0].spines["top"].get_visible()
        assert plt.rcParams["axes.spines.top"]
        assert plt.rcParams["font.size"] == 20.0
