"""Skill per millisecond: scores of the file beside times of the run, nothing for what was not fitted."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from rich.console import Console

from service.channels import THRESHOLDS_MM
from tests.bench import widths
from training import figures
from training.report import RESULTS
from training.results import Results, read_results
from training.rows import WIDTHS


@pytest.fixture(scope="module")
def results() -> Results:
    """Of the row of nano, and of none of the others."""
    return Results(result for result in read_results(RESULTS) if result.row == WIDTHS[widths.SHIPPED])


def test_only_what_was_fitted_is_drawn(results: Results) -> None:
    (cost,) = widths.costs({width: float(width) for width in WIDTHS}, results)
    assert (cost.name, cost.milliseconds) == ("32 channels", 32.0)
    for value, low, high in (cost.csi[threshold] for threshold in THRESHOLDS_MM):
        assert 0 < low < value < high < 1


def test_a_width_that_was_not_fitted_says_so(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    found = {width: [10.0 * width, 20.0 * width, 12.0 * width] for width in WIDTHS}
    Console(width=110).print(widths.table(found, results, "times"))
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if "│" in line}
    assert lines["64"].count("not run") == 2
    assert "not run" not in lines["32"]
    assert [lines["64"].split()[place] for place in (3, 5, 7)] == ["768.0", "640.0", "2.00"]


def test_points_stand_at_their_cost_with_their_interval() -> None:
    csi = dict.fromkeys(THRESHOLDS_MM, (0.4, 0.3, 0.45))
    figure = figures.skill_by_cost([figures.Cost("64", 20.0, csi), figures.Cost("8", 5.0, csi)])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["64", "8"]
    for axes in figure.axes:
        assert isinstance(axes, Axes)
        points = [
            np.asarray(line.get_xydata()).tolist() for line in axes.lines if line.get_marker() in ("o", "s")
        ]
        assert points == [[[20.0, 0.4]], [[5.0, 0.4]]]
        for place, bars in zip((20.0, 5.0), axes.collections, strict=True):
            assert isinstance(bars, LineCollection)
            (segment,) = bars.get_segments()
            np.testing.assert_allclose(segment, [(place, 0.3), (place, 0.45)])
