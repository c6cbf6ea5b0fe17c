"""Counting, tuning and scoring against counts made by hand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.errors import InputError
from training.evaluate import (
    AMOUNTS_MM,
    SCORES,
    Evaluation,
    brier,
    counts_by_level,
    critical_success_index,
    cycle_counts,
    evaluate,
    resampled_csi,
    score,
    smoothed,
    table,
    tuned_level,
    tuned_smoothing,
)
from training.finetune import Configuration, finetune
from training.samples import DataSettings, Split

FIELD = hnp.arrays(np.float32, (3, 4), elements=st.floats(0, 20, width=32))


@given(FIELD, FIELD)
def test_counts_equal_direct_comparison(strength: np.ndarray, observed: np.ndarray) -> None:
    observed[0, 0] = np.nan
    levels = np.array([0.5, 1.0, 7.0])
    counts = counts_by_level(strength, observed, 10.0, levels)
    seen = ~np.isnan(observed)
    for level, row in zip(levels, counts, strict=True):
        warning, event = strength >= level, observed >= 10
        direct = [event & warning, event & ~warning, ~event & warning & seen, ~event & ~warning & seen]
        assert row.tolist() == [int(field.sum()) for field in direct]
        assert row.sum() == 11


def test_scores_of_known_counts() -> None:
    counts = np.array([[20, 10, 40, 30], [10, 10, 20, 60]])
    row = score("raw", "value", 0.1, counts)
    assert row.csi == pytest.approx(30 / 110)
    assert row.precision == pytest.approx(30 / 90)
    assert row.recall == pytest.approx(30 / 50)
    assert row.frequency_bias == pytest.approx(90 / 50)
    assert row.f1 == pytest.approx(60 / 140)
    assert critical_success_index(counts).tolist() == pytest.approx([20 / 70, 10 / 40])


def test_without_a_warning_precision_is_zero() -> None:
    row = score("raw", "value", 10, np.array([[0, 5, 0, 95]]))
    assert (row.csi, row.f1, row.precision, row.recall, row.frequency_bias) == (0, 0, 0, 0, 0)


def test_without_an_event_there_is_nothing_to_score() -> None:
    with pytest.raises(InputError, match="No event to score against; where: threshold 10 mm"):
        score("raw", "value", 10, np.array([[0, 0, 5, 95]]))


def test_csi_without_events_or_warnings_is_zero() -> None:
    assert critical_success_index(np.array([0, 0, 0, 9])) == 0


def test_tuning_finds_the_level_that_separates() -> None:
    observed = np.array([0, 0, 12, 15], np.float32)
    level, csi = tuned_level(
        np.array([0.1, 0.2, 0.55, 0.9], np.float32), observed, 10, np.array([0.1, 0.4, 0.8])
    )
    assert (level, csi) == (0.4, 1.0)


def test_tuned_smoothing_beats_the_raw_field_where_rain_is_displaced() -> None:
    generator = np.random.default_rng(0)
    truth = (generator.random((4, 40, 40)) < 0.02).astype(np.float32) * 400
    truth = smoothed(truth, 3)
    raw = np.roll(truth, 4, axis=2) * generator.gamma(0.5, 2, truth.shape).astype(np.float32)
    width, level = tuned_smoothing(raw, truth, 5)
    assert width >= 1.5
    _, csi = tuned_level(smoothed(raw, width), truth, 5, np.array([level]))
    _, raw_csi = tuned_level(raw, truth, 5, AMOUNTS_MM)
    assert csi > raw_csi


def test_smoothing_stays_within_the_sample() -> None:
    rain = np.zeros((2, 9, 9), np.float32)
    rain[0, 4, 4] = 10
    result = smoothed(rain, 1)
    assert result[1].max() == 0
    assert 0 < result[0, 4, 5] < result[0, 4, 4] < 10


def test_resampling_brackets_the_csi_and_repeats() -> None:
    generator = np.random.default_rng(1)
    counts = generator.integers(5, 50, (30, 4))
    values = resampled_csi(counts)
    low, high = np.quantile(values, [0.025, 0.975])
    assert low < critical_success_index(counts.sum(axis=0)) < high
    assert np.array_equal(values, resampled_csi(counts))


def test_counts_by_cycle_join_the_leads_of_a_cycle(dataset: DataSettings) -> None:
    split = Split(dataset, "test")
    observed = split.rain_mm(range(len(split)))
    warning = np.zeros(observed.shape, bool)
    warning[4:6] = True
    counts = cycle_counts(warning, split, observed, 0.1)
    assert counts.shape == (5, 4)
    assert counts.sum(axis=1).tolist() == [2 * (32 * 32 - 3)] * 5
    assert counts[2, 1] == counts[2, 3] == 0
    assert counts[[0, 1, 3, 4]][:, [0, 2]].sum() == 0


def test_brier_of_a_known_case() -> None:
    observed = np.array([0, 20, np.nan, 0], np.float32)
    result = brier(np.array([0.5, 1, 0, 0], np.float32), observed, 10, 0.25)
    assert result.model == pytest.approx(0.25 / 3)
    assert result.climatology == pytest.approx((0.0625 * 2 + 0.5625) / 3)


def test_an_evaluation_has_every_row_and_is_stored(
    configuration: Configuration, dataset: DataSettings, tmp_path: Path
) -> None:
    finetune(configuration, tmp_path / "run")
    evaluation = evaluate(tmp_path / "run")
    keys = [(row.score.threshold_mm, row.score.system, row.score.decision) for row in evaluation.rows]
    systems = [("raw", "value"), ("raw_smoothed", "tuned"), ("model", "argmax"), ("model", "tuned")]
    assert keys == [(threshold, *system) for threshold in (0.1, 10.0) for system in systems]
    assert Evaluation.model_validate_json((tmp_path / "run" / SCORES).read_text()) == evaluation
    assert set(evaluation.decision_thresholds) == {"0.1", "10"}
    split = Split(dataset, "test")
    hits, misses, false_alarms, _ = evaluation.rows[0].counts
    observed = split.rain_mm(range(len(split)))
    raw = split.channel(15)
    assert hits == int(((raw >= 0.1) & (observed >= 0.1)).sum())
    assert hits + misses == int((observed >= 0.1).sum())
    assert false_alarms == int(((raw >= 0.1) & (observed < 0.1)).sum())
    assert evaluation.rows[1].gain == 0
    assert table(evaluation).count("\n") == 9


def test_a_run_on_other_data_is_refused(
    configuration: Configuration, dataset: DataSettings, tmp_path: Path
) -> None:
    finetune(configuration, tmp_path / "run", last_epoch=1)
    text = (tmp_path / "run" / "run.json").read_text()
    digest = Split(dataset, "test").description.digest
    (tmp_path / "run" / "run.json").write_text(text.replace(digest, "0" * 64))
    with pytest.raises(InputError, match="other data"):
        evaluate(tmp_path / "run")
