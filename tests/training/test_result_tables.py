"""Tables: numbers from the results alone, and no number for what was not run."""

from __future__ import annotations

import pytest

from tests.training.sample_evaluations import evaluation, probability, reliability
from training.evaluation import DecisionName
from training.result_tables import (
    NOT_RUN,
    Line,
    by_lead,
    comparison,
    distance,
    fractions,
    one_run,
    ranking,
    scores,
)
from training.result_tables import (
    reliability as reliability_table,
)
from training.results import Result, Results

RELIABLE = reliability(2, 10.0, {0: (300, 3, 3.0), 6: (80, 26, 25.6), 12: (20, 4, 12.4)})
UNRELIABLE = reliability(2, 30.0, {6: (400, 0, 128.0)})
EVENTS = 20


def hits(*numbers: int, warnings: int = 20) -> list[tuple[int, int]]:
    """Warnings where an event was observed as often as each number says, of 20 events a day."""
    return [(number, warnings) for number in numbers]


def csi(*numbers: int, warnings: int = 20) -> float:
    total = sum(numbers)
    return total / ((EVENTS + warnings) * len(numbers) - total)


def result(
    row: str, seed: int | None = None, decisions: dict[DecisionName, list[tuple[int, int]]] | None = None
) -> Result:
    one = evaluation(decisions or {}, system=row, seed=seed, events=EVENTS)
    return Result(row=row, evaluation=one)


RESULTS = Results(
    [
        result("raw", None, {"value": hits(4, 6), "tuned": hits(5, 6)}),
        result("smoothed", None, {"value": hits(1, 1), "tuned": hits(8, 8)}),
        result("ceiling", None, {"argmax": hits(15, 17), "tuned": hits(18, 18)}),
        result("ours", 3, {"argmax": hits(9, 9), "tuned": hits(14, 16)}),
        result("ours", 1, {"argmax": hits(9, 11), "tuned": hits(12, 14)}),
        result("other", 1, {"argmax": hits(6, 6), "tuned": hits(10, 10)}),
        result("other", 2, {"argmax": hits(6, 6), "tuned": hits(16, 16)}),
        Result(
            row="probable",
            evaluation=evaluation(
                {"argmax": hits(9, 9), "tuned": hits(9, 10)},
                probabilities=probability(2, UNRELIABLE, RELIABLE),
            ),
        ),
    ]
)
OURS = Line("ours", "I + p*", {0.1: 0.347, 10.0: 0.093})
ABSENT = Line("absent", "a missing row", {0.1: 0.276, 10.0: 0.007})


def _cells(table: str, *label: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {' | '.join(label)} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def _column(table: str, head: str, *label: str) -> str:
    heads = [cell.strip() for cell in table.splitlines()[0].strip("|").split("|")]
    return _cells(table, *label)[heads.index(head)]


def test_scores_have_a_line_for_each_decision() -> None:
    table = scores(RESULTS, [OURS, Line("raw", "raw")], 0.1)
    untuned, tuned = (csi(9, 9) + csi(9, 11)) / 2, (csi(14, 16) + csi(12, 14)) / 2
    assert _column(table, "CSI [95 %]", "I + p*", "untuned").startswith(f"{untuned:.3f} [")
    assert _column(table, "CSI [95 %]", "I + p*", "tuned").startswith(f"{tuned:.3f} [")
    gain = tuned - csi(8, 8)
    assert _column(table, "CSI over smoothed [95 %]", "I + p*", "tuned").startswith(f"{gain:+.3f} [+")
    assert _column(table, "seeds", "I + p*", "tuned") == "2"
    assert _column(table, "their CSI", "I + p*", "tuned") == f"{csi(12, 14):.3f}-{csi(14, 16):.3f}"
    assert _column(table, "paper's CSI", "I + p*", "untuned") == "0.347"
    assert _column(table, "CSI [95 %]", "raw", "untuned").startswith(f"{csi(4, 6):.3f} [")
    assert _column(table, "CSI [95 %]", "raw", "tuned").startswith(f"{csi(5, 6):.3f} [")
    assert _column(table, "their CSI", "raw", "tuned") == ""
    assert _column(table, "bias", "raw", "untuned") == "1.00"
    assert {line.count("|") for line in table.splitlines()} == {13}


def test_columns_that_say_nothing_are_left_out() -> None:
    table = scores(RESULTS, [Line("raw", "raw", only=("tuned",)), Line("smoothed", "smoothed")], 0.1)
    assert "paper" not in table
    assert "seeds" not in table
    assert table.count("| raw |") == 1
    assert table.count("| smoothed |") == 2


def test_what_was_not_run_has_no_number() -> None:
    lines = [ABSENT]
    assert [cell for cell in _cells(scores(RESULTS, lines, 10.0), "a missing row") if cell] == [
        "a missing row",
        NOT_RUN,
        "0.007",
    ]
    assert _cells(comparison(RESULTS, lines, "ours"), "a missing row").count("") == 6
    far = distance(RESULTS, lines, Line("raw", "raw"), Line("smoothed", "smoothed"), Line("ceiling", "best"))
    assert set(_cells(far, "a missing row")[1:]) == {NOT_RUN}
    shown = _cells(reliability_table(RESULTS, lines), "a missing row", "0.1 mm")
    assert [cell for cell in shown if cell] == ["a missing row", "0.1 mm", NOT_RUN]
    for table in (by_lead(RESULTS, [*lines, OURS], 0.1), fractions(RESULTS, [*lines, OURS], 0.1)):
        assert [cell for cell in _cells(table, "a missing row") if cell] == ["a missing row", NOT_RUN]
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_differences_pair_the_seeds_that_both_have() -> None:
    table = comparison(RESULTS, [OURS, Line("other", "other")], "other")
    heads = [cell.strip() for cell in table.splitlines()[0].strip("|").split("|")]
    assert heads[2:6] == ["0.1 mm: untuned", "tuned", "less other", "paper"]
    cells = _cells(table, "I + p*")
    assert cells[4].startswith(f"{csi(12, 14) - csi(10, 10):+.3f} [")
    other = _cells(table, "other")
    assert other[3] == f"{(csi(10, 10) + csi(16, 16)) / 2:.3f} ({csi(10, 10):.3f}-{csi(16, 16):.3f})"
    assert other[4] == ""


def test_ranks_are_compared_with_the_papers() -> None:
    paper = {"raw": 0.296, "smoothed": 0.350, "ours": 0.320}
    lines = [Line(row, row, {0.1: csi, 10.0: csi}) for row, csi in paper.items()]
    table = ranking(RESULTS, [*lines, ABSENT])
    cells = _cells(table, "0.1 mm", "tuned")
    assert cells[2:] == ["3", "+0.50", "raw < smoothed < ours", "raw < ours < smoothed"]
    untuned = _cells(table, "10 mm", "untuned")
    assert untuned[2:5] == ["3", "-0.50", "smoothed < raw < ours"]
    few = ranking(RESULTS, lines[:2])
    assert few.count(NOT_RUN) == 4


def test_the_distance_to_the_ceiling() -> None:
    raw, smoothed, ceiling = Line("raw", "raw"), Line("smoothed", "smoothed"), Line("ceiling", "best")
    table = distance(RESULTS, [OURS, ceiling], raw, smoothed, ceiling)
    mine, base, smooth, best = (csi(14, 16) + csi(12, 14)) / 2, csi(4, 6), csi(8, 8), csi(18, 18)
    cells = _cells(table, "I + p*")
    assert cells[1].startswith(f"{mine / base:.2f} [")
    assert cells[2].startswith(f"{mine / smooth:.2f} [")
    assert cells[3].startswith(f"{100 * mine / best:.0f} [")
    assert cells[4].startswith(f"{100 * (mine - base) / (best - base):.0f} [")
    assert _cells(table, "best")[3:5] == ["100 [100, 100]"] * 2
    assert len(cells) == 9


def test_reliability_before_and_after_calibration() -> None:
    table = reliability_table(RESULTS, [Line("probable", "p"), Line("raw", "raw")])
    cells = _cells(table, "p", "10 mm")
    climatology = (200 / 16 + 40 / 2) / 200
    assert cells[2:5] == ["0.15000", "0.05000", f"{climatology:.5f}"]
    assert cells[5].startswith(f"{1 - 0.05 / climatology:.3f} [")
    assert cells[6:] == ["0 of 1", "2 of 3"]
    assert _cells(table, "raw", "10 mm")[2] == "no probabilities"


def test_fractions_by_width() -> None:
    table = fractions(RESULTS, [OURS], 0.1)
    assert "5 km [95 %] | 25 km [95 %]" in table
    one = (14 + 16 + 12 + 14) / 80
    assert _cells(table, "I + p*")[1].startswith(f"{one:.3f} [")
    assert _cells(table, "I + p*")[2].startswith(f"{(1 + one) / 2:.3f} [")


def test_scores_by_lead() -> None:
    table = by_lead(RESULTS, [Line("smoothed", "smoothed")], 10.0)
    assert table.splitlines()[0] == "| system | 25 h | 28 h |"
    assert _cells(table, "smoothed")[1:] == [f"{csi(8, 8):.3f} [{csi(8, 8):.3f}, {csi(8, 8):.3f}]"] * 2


def test_one_run_shows_its_decisions_and_its_probabilities() -> None:
    (one,) = RESULTS.evaluations("probable", None)
    table = one_run(one)
    decisions, probabilities = table.split("\n\n")
    assert _column(decisions, "level", "10 mm", "tuned") == "0.400"
    assert _column(decisions, "level", "10 mm", "argmax") == ""
    assert _column(decisions, "CSI [95 %]", "10 mm", "tuned").startswith(f"{csi(9, 10):.3f} [")
    assert _column(probabilities, "Brier as fitted", "10 mm") == "0.15000"
    (raw,) = RESULTS.evaluations("raw", None)
    assert "Brier" not in one_run(raw)


@pytest.mark.parametrize("threshold", [0.1, 10.0])
def test_tables_are_rectangles(threshold: float) -> None:
    lines = [OURS, ABSENT, Line("raw", "raw"), Line("probable", "p")]
    for table in (
        scores(RESULTS, lines, threshold),
        comparison(RESULTS, lines, "other"),
        ranking(RESULTS, lines),
        reliability_table(RESULTS, lines),
        fractions(RESULTS, lines, threshold),
        by_lead(RESULTS, lines, threshold),
    ):
        assert len({line.count("|") for line in table.splitlines()}) == 1
