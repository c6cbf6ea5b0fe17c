"""Tables: numbers from the results alone, averaged over seeds, and no number for what was not run."""

from __future__ import annotations

import pytest

from training.result_tables import NOT_RUN, Line, comparison, distance, ranking, scores
from training.results import Result, Results, Scored


def scored(
    csi: float, threshold_mm: float = 0.1, decision: str = "tuned", gain: float = 0.0, **others: float
) -> Scored:
    values = {"f1": 0.5, "precision": 0.4, "recall": 0.6, "frequency_bias": 1.5} | others
    return Scored(
        decision=decision,
        threshold_mm=threshold_mm,
        csi=csi,
        csi_interval=(csi - 0.02, csi + 0.04),
        gain=gain,
        gain_interval=(gain - 0.01, gain + 0.01),
        csi_by_lead={25: csi},
        **values,
    )


def result(row: str, seed: int | None, *scores_of_run: Scored) -> Result:
    return Result(row=row, seed=seed, commit="c", machine="m", data_digest="d", scores=scores_of_run)


def both(csi: float, factor: float = 0.1, decision: str = "tuned") -> tuple[Scored, Scored]:
    return scored(csi, 0.1, decision), scored(csi * factor, 10.0, decision)


RESULTS = Results(
    [
        result("raw", None, *both(0.30, decision="value")),
        result("smoothed", None, *both(0.36)),
        result("ceiling", None, *both(0.60)),
        result("ours", 3, *both(0.54), scored(0.46, decision="argmax", gain=0.2)),
        result("ours", 1, *both(0.50), scored(0.44, decision="argmax", gain=0.1)),
        result("other", 1, *both(0.40)),
        result("other", 2, *both(0.60)),
    ]
)


def _cells(table: str, label: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {label} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def _column(table: str, label: str, head: str) -> str:
    heads = [cell.strip() for cell in table.splitlines()[0].strip("|").split("|")]
    return _cells(table, label)[heads.index(head)]


def test_a_row_is_the_mean_of_its_seeds_with_their_range() -> None:
    summary = RESULTS.summary("ours", 0.1, "tuned")
    assert summary is not None
    assert summary.seeds == 2
    assert summary.csi == pytest.approx(0.52)
    assert summary.csi_range == (0.50, 0.54)
    assert summary.csi_interval == pytest.approx((0.50, 0.56))
    argmax = RESULTS.summary("ours", 0.1, "argmax")
    assert argmax is not None
    assert argmax.gain_interval == pytest.approx((0.14, 0.16))
    assert RESULTS.summary("ours", 10.0, "argmax") is None
    assert RESULTS.summary("absent", 0.1, "tuned") is None


def test_scores_show_both_decisions_and_the_papers_number() -> None:
    table = scores(RESULTS, [Line("ours", "I + p*", {0.1: 0.347, 10.0: 0.093}), Line("raw", "raw")], 0.1)
    assert _column(table, "I + p*", "CSI untuned") == "0.450"
    assert _column(table, "I + p*", "CSI tuned [95 %]") == "0.520 [0.500, 0.560]"
    assert _column(table, "I + p*", "seeds' range") == "0.500-0.540"
    assert _column(table, "I + p*", "paper's CSI") == "0.347"
    assert _column(table, "raw", "CSI untuned") == "0.300"
    assert _column(table, "raw", "CSI tuned [95 %]") == ""
    assert _column(table, "raw", "paper's CSI") == ""
    assert _column(table, "raw", "bias") == "1.50"


def test_what_was_not_run_has_no_number() -> None:
    lines = [Line("absent", "a missing row", {0.1: 0.276, 10.0: 0.007})]
    table = scores(RESULTS, lines, 10.0)
    assert _column(table, "a missing row", "seeds") == NOT_RUN
    assert [cell for cell in _cells(table, "a missing row") if cell] == ["a missing row", NOT_RUN, "0.007"]
    assert _cells(comparison(RESULTS, lines, "ours"), "a missing row").count("") == 6
    assert set(_cells(distance(RESULTS, lines, "raw", "smoothed", "ceiling"), "a missing row")[1:]) == {
        NOT_RUN
    }


def test_differences_pair_the_seeds_that_both_have() -> None:
    table = comparison(RESULTS, [Line("ours", "ours"), Line("other", "other")], "other")
    assert _column(table, "ours", "less other") == "+0.100 [+0.100, +0.100]"
    assert _column(table, "other", "less other") == "+0.000 [+0.000, +0.000]"
    assert _column(table, "other", "tuned") == "0.500 (0.400-0.600)"


def test_ranks_are_compared_with_the_papers() -> None:
    paper = {"raw": 0.296, "smoothed": 0.350, "ours": 0.320}
    lines = [Line(row, row, {0.1: csi, 10.0: csi}) for row, csi in paper.items()]
    table = ranking(RESULTS, lines)
    tuned = next(line for line in table.splitlines() if "| 0.1 mm | tuned |" in line)
    assert "+0.50" in tuned
    assert "raw < smoothed < ours" in tuned
    assert "raw < ours < smoothed" in tuned
    untuned = next(line for line in table.splitlines() if "| 10 mm | untuned |" in line)
    assert NOT_RUN in untuned


def test_the_distance_to_the_ceiling() -> None:
    table = distance(RESULTS, [Line("ours", "ours")], "raw", "smoothed", "ceiling")
    assert _cells(table, "ours")[1:5] == ["1.73", "1.44", "87 %", "73 %"]
