"""What follows from stored scores: means over seeds, gains on the same days, pooled folds, reliability."""

import json
from pathlib import Path

import numpy as np
import pytest

from service.errors import InputError
from tests.training.sample_evaluations import evaluation, probability, reliability
from training.bootstrap import weights
from training.results import Result, Results, read_results, write_results

RAW = [(5, 30), (2, 25), (8, 40), (4, 20)]
SMOOTHED = [(8, 30), (6, 25), (12, 40), (9, 30)]
ONE = [(14, 28), (10, 22), (17, 30), (12, 26)]
TWO = [(12, 28), (11, 24), (15, 30), (10, 26)]
RESULTS = Results(
    [
        Result(row="raw", evaluation=evaluation({"value": RAW}, system="raw")),
        Result(row="smoothed", evaluation=evaluation({"tuned": SMOOTHED}, system="smoothed")),
        Result(row="ours", evaluation=evaluation({"tuned": TWO}, seed=2)),
        Result(row="ours", evaluation=evaluation({"tuned": ONE, "argmax": RAW}, seed=1)),
        Result(row="other", evaluation=evaluation({"tuned": SMOOTHED}, seed=2)),
        Result(row="other", evaluation=evaluation({"tuned": SMOOTHED}, seed=3)),
    ]
)


def _csi(by_day: list[tuple[int, int]], times: np.ndarray | None = None) -> np.ndarray:
    """Of 20 events a day; ``times``: how often each day counts."""
    times = np.ones(len(by_day)) if times is None else times
    hits, warnings = times @ np.array(by_day, float)[:, 0], times @ np.array(by_day, float)[:, 1]
    result: np.ndarray = hits / (warnings + 20 * times.sum(axis=-1) - hits)
    return result


def test_a_row_is_the_mean_of_its_seeds_on_every_draw() -> None:
    summary = RESULTS.summary("ours", 0.1, "tuned")
    assert summary is not None
    one, two = _csi(ONE), _csi(TWO)
    assert summary.seeds == 2
    assert summary.csi.value == pytest.approx((one + two) / 2)
    assert summary.csi_range == pytest.approx((two, one))
    draws = weights(4)[1:]
    expected = np.quantile((_csi(ONE, draws) + _csi(TWO, draws)) / 2, [0.025, 0.975])
    assert summary.csi.interval == pytest.approx(expected)
    assert RESULTS.csi_by_seed("ours", 0.1, "tuned") == pytest.approx({1: one, 2: two})
    assert RESULTS.seeds("ours") == (1, 2)


def test_gains_are_over_the_same_draws() -> None:
    summary = RESULTS.summary("ours", 0.1, "tuned")
    assert summary is not None
    draws = weights(4)[1:]
    mean = (_csi(ONE, draws) + _csi(TWO, draws)) / 2
    for gain, reference in ((summary.over_smoothed, SMOOTHED), (summary.over_raw, RAW)):
        assert gain is not None
        assert gain.value == pytest.approx(summary.csi.value - _csi(reference))
        assert gain.interval == pytest.approx(np.quantile(mean - _csi(reference, draws), [0.025, 0.975]))
    smoothed = RESULTS.summary("smoothed", 0.1, "tuned")
    assert smoothed is not None
    assert smoothed.over_smoothed is not None
    assert (smoothed.over_smoothed.value, smoothed.over_smoothed.interval) == (0, (0, 0))


def test_without_the_reference_there_is_no_gain() -> None:
    alone = Results([Result(row="ours", evaluation=evaluation({"tuned": ONE}))])
    summary = alone.summary("ours", 0.1, "tuned")
    assert summary is not None
    assert summary.over_smoothed is None
    assert summary.over_raw is None


def test_the_references_can_be_other_rows() -> None:
    renamed = [
        Result(row="real_smoothed", evaluation=evaluation({"tuned": SMOOTHED})),
        Result(row="ours", evaluation=evaluation({"tuned": ONE})),
    ]
    summary = Results(renamed, smoothed="real_smoothed").summary("ours", 0.1, "tuned")
    assert summary is not None
    assert summary.over_smoothed is not None
    assert summary.over_smoothed.value == pytest.approx(_csi(ONE) - _csi(SMOOTHED))


def test_other_scores_follow_from_the_same_counts() -> None:
    summary = RESULTS.summary("smoothed", 10.0, "tuned")
    assert summary is not None
    hits, warnings, events = 35, 125, 80
    assert summary.precision.value == pytest.approx(hits / warnings)
    assert summary.recall.value == pytest.approx(hits / events)
    assert summary.frequency_bias.value == pytest.approx(warnings / events)
    assert summary.f1.value == pytest.approx(2 * hits / (warnings + events))
    assert summary.fss[1].value == pytest.approx(summary.f1.value)
    assert summary.fss[1].interval == pytest.approx(summary.f1.interval)
    assert summary.fss[5].value == pytest.approx((1 + summary.f1.value) / 2)


def test_what_was_not_run_or_not_decided_so_has_no_summary() -> None:
    assert RESULTS.summary("absent", 0.1, "tuned") is None
    assert RESULTS.summary("raw", 0.1, "tuned") is None
    assert RESULTS.summary("ours", 1.0, "tuned") is None
    assert RESULTS.by_lead("absent", 0.1, "tuned") == {}
    assert RESULTS.probability("absent", 0.1) is None
    assert RESULTS.probability("ours", 0.1) is None
    assert RESULTS.seeds("absent") == ()


def test_a_seed_without_the_decision_is_left_out() -> None:
    summary = RESULTS.summary("ours", 0.1, "argmax")
    assert summary is not None
    assert summary.seeds == 1
    assert summary.csi.value == pytest.approx(_csi(RAW))


def test_a_difference_pairs_the_seeds_that_both_have() -> None:
    difference = RESULTS.difference("ours", "other", 0.1)
    assert difference is not None
    assert difference.seeds == 1
    expected = _csi(TWO) - _csi(SMOOTHED)
    assert difference.estimate.value == pytest.approx(expected)
    assert difference.range == pytest.approx((expected, expected))
    assert RESULTS.difference("ours", "smoothed", 0.1) is None
    assert RESULTS.difference("ours", "absent", 0.1) is None


def test_scores_by_lead() -> None:
    by_lead = RESULTS.by_lead("smoothed", 0.1, "tuned")
    assert list(by_lead) == [25, 28]
    assert by_lead[25].value == pytest.approx(_csi(SMOOTHED))


def test_folds_are_one_sample() -> None:
    folds = [
        Result(row="ours", evaluation=evaluation({"tuned": ONE[:1]}, seed=1, fold=1, days=["2022-08-09"])),
        Result(row="ours", evaluation=evaluation({"tuned": ONE[1:]}, seed=1, fold=0)),
    ]
    results = Results(folds)
    summary = results.summary("ours", 0.1, "tuned")
    assert summary is not None
    assert summary.seeds == 1
    assert summary.csi.value == pytest.approx(_csi(ONE))
    assert [one.fold for one in results.evaluations("ours", 1)] == [0, 1]
    assert results.days("ours") == ("2022-08-01", "2022-08-02", "2022-08-03", "2022-08-09")


def test_a_run_that_lacks_a_fold_counts_as_not_run() -> None:
    folds = [
        Result(row="ours", evaluation=evaluation({"tuned": ONE[:1]}, seed=1, fold=0)),
        Result(row="ours", evaluation=evaluation({"tuned": ONE[1:]}, seed=1, fold=1)),
        Result(row="ours", evaluation=evaluation({"tuned": ONE[1:]}, seed=2, fold=1)),
        Result(row="other", evaluation=evaluation({"tuned": ONE[:1]}, seed=1, fold=0)),
    ]
    results = Results(folds)
    assert results.rows == ("ours",)
    assert results.seeds("ours") == (1,)
    assert results.summary("other", 0.1, "tuned") is None


def test_rows_are_compared_on_the_days_that_both_have() -> None:
    fewer = evaluation({"tuned": ONE[:2]}, days=["2022-08-03", "2022-08-02"])
    results = Results(
        [
            Result(row="ceiling", evaluation=fewer),
            Result(row="smoothed", evaluation=evaluation({"tuned": SMOOTHED})),
        ]
    )
    assert results.days("smoothed", "ceiling") == ("2022-08-02", "2022-08-03")
    summary = results.summary("ceiling", 0.1, "tuned")
    assert summary is not None
    assert summary.over_smoothed is not None
    assert summary.over_smoothed.value == pytest.approx(_csi(ONE[:2]) - _csi(SMOOTHED[1:3]))


def test_rows_without_a_common_day_cannot_be_compared() -> None:
    results = Results(
        [
            Result(row="ours", evaluation=evaluation({"tuned": ONE[:1]}, days=["2023-08-01"])),
            Result(row="smoothed", evaluation=evaluation({"tuned": SMOOTHED})),
        ]
    )
    with pytest.raises(InputError, match="not scored on the same days"):
        results.summary("ours", 0.1, "tuned")


def test_probabilities_are_summed_over_the_seeds() -> None:
    fitted = reliability(4, 40.0, {0: (100, 20, 2.0)})
    for_one = reliability(4, 16.0, {0: (700, 14, 14.0), 10: (100, 60, 52.0), 14: (0, 0, 0.0)})
    for_two = reliability(4, 24.0, {0: (700, 14, 14.0), 10: (100, 40, 52.0)})
    results = Results(
        Result(
            row="ours",
            evaluation=evaluation(
                {"tuned": ONE}, seed=seed, probabilities=probability(4, fitted, calibrated)
            ),
        )
        for seed, calibrated in ((1, for_one), (2, for_two))
    )
    summary = results.probability("ours", 0.1)
    assert summary is not None
    assert summary.brier.value == pytest.approx(20 / 200)
    # 40 events a day in 200 cells, forecast by 0.25: 200 / 16 + 40 (1 - 1 / 2).
    assert summary.climatology.value == pytest.approx((12.5 + 20) / 200)
    assert summary.skill.value == pytest.approx(1 - 20 / 32.5)
    assert summary.forecast[[0, 10]] == pytest.approx([0.02, 0.52])
    assert summary.observed[[0, 10]] == pytest.approx([0.02, 0.5])
    assert summary.share[[0, 10]] == pytest.approx([0.875, 0.125])
    assert np.isnan(summary.observed[14])
    assert summary.within() == (2, 2)
    assert summary.within(0.01) == (1, 2)
    before = results.probability("ours", 0.1, calibrated=False)
    assert before is not None
    assert before.brier.value == pytest.approx(0.2)
    assert before.within() == (0, 1)


def test_results_are_kept_one_a_line_in_order(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert read_results(path) == ()
    kept = [
        Result(row="b", evaluation=evaluation({"tuned": ONE}, seed=2)),
        Result(row="b", evaluation=evaluation({"tuned": ONE}, seed=1, fold=1)),
        Result(row="b", evaluation=evaluation({"tuned": ONE}, seed=1, fold=0)),
        Result(row="a", evaluation=evaluation({"value": ONE})),
    ]
    write_results(kept, path)
    read = read_results(path)
    for one, other in zip(read, reversed(kept), strict=True):
        name = one.evaluation.thresholds[0].decisions[0].decision
        counts, expected = (part.evaluation.counts(0.1, name) for part in (one, other))
        assert counts is not None
        assert expected is not None
        assert np.array_equal(counts, expected)
        value = one.evaluation.thresholds[0].decisions[0].ratios.csi
        assert value == pytest.approx(other.evaluation.thresholds[0].decisions[0].ratios.csi, rel=1e-6)
    text = path.read_text()
    write_results(read, path)
    assert path.read_text() == text
    lines = text.splitlines()
    assert len(lines) == 6
    assert [json.loads(line.rstrip(","))["row"] for line in lines[1:-1]] == ["a", "b", "b", "b"]
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_results_of_another_form_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('[{"row": "a"}]')
    with pytest.raises(InputError, match=r"another form.*gather them anew"):
        read_results(tmp_path / "results.json")
