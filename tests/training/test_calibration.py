"""Calibration: monotone, with few knots, right where the truth is known; reliability against direct sums."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.calibration import BINS, STEPS, calibrated, fitted, reliability
from training.counting import PROBABILITIES, Observed, counts_by_level
from training.evaluation import Calibration
from training.forecasts import class_probabilities
from training.networks.heads import Calibration as CalibrationInGraph
from training.networks.heads import PiecewiseLinear


def _observed(rain_mm: np.ndarray) -> Observed:
    samples = len(rain_mm)
    days = tuple(str(day) for day in range(samples))
    return Observed(rain_mm, days, np.arange(samples), (25,), np.zeros(samples, np.intp))


def _fit(probability: np.ndarray, event: np.ndarray) -> Calibration:
    rain_mm = np.where(event, 20, 0).astype(np.float32)
    return fitted(counts_by_level(probability, rain_mm, 10, PROBABILITIES))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.floats(0.01, 0.9))
def test_it_is_a_monotone_map_that_the_graph_can_hold(seed: int, cells: int, frequency: float) -> None:
    generator = np.random.default_rng(seed)
    probability = generator.beta(0.3, 1, cells).astype(np.float32)
    calibration = _fit(probability, generator.random(cells) < frequency * probability)
    assert 2 <= len(calibration.knots) <= STEPS + 1
    assert (calibration.knots[0], calibration.values[0]) == (0, 0)
    assert (np.diff(calibration.values) >= 0).all()
    PiecewiseLinear(calibration.knots, calibration.values)


def test_probabilities_that_are_too_high_come_down_to_the_frequencies() -> None:
    generator = np.random.default_rng(0)
    truth = generator.beta(0.5, 2, 400_000)
    stated = np.sqrt(truth).astype(np.float32)
    calibration = _fit(stated, generator.random(len(truth)) < truth)
    assert len(calibration.knots) == STEPS + 1
    mapped = np.interp(stated, calibration.knots, calibration.values)
    assert np.abs(mapped - truth).mean() < 0.01
    for low in (0.1, 0.3, 0.5, 0.7):
        chosen = (mapped >= low) & (mapped < low + 0.1)
        assert truth[chosen].mean() == pytest.approx(mapped[chosen].mean(), abs=0.01)


def test_a_storm_or_two_do_not_decide_what_a_high_probability_means() -> None:
    """Above 0.8 there are few cells, and all of them had the event."""
    generator = np.random.default_rng(3)
    truth = generator.uniform(0, 0.4, 100_000)
    stated = np.concatenate([2 * truth, np.full(30, 0.95)]).astype(np.float32)
    event = np.concatenate([generator.random(len(truth)) < truth, np.ones(30, bool)])
    calibration = _fit(stated, event)
    assert calibration.values[-1] < 0.6
    assert np.interp(0.5, calibration.knots, calibration.values) == pytest.approx(0.25, abs=0.02)


def test_reliable_probabilities_stay_as_they_are() -> None:
    generator = np.random.default_rng(1)
    truth = generator.random(400_000).astype(np.float32)
    calibration = _fit(truth, generator.random(len(truth)) < truth)
    assert np.abs(np.interp(truth, calibration.knots, calibration.values) - truth).max() < 0.03


def test_the_map_in_numpy_is_the_one_in_the_graph() -> None:
    generator = np.random.default_rng(2)
    classes = generator.dirichlet((4, 1, 1), (3, 4, 5)).astype(np.float32).transpose(0, 3, 1, 2)
    maps = [
        Calibration(knots=(0.0, 0.2, 0.7), values=(0.0, 0.1, 0.4)),
        Calibration(knots=(0.0, 0.1, 0.5), values=(0.0, 0.3, 0.9)),
    ]
    module = CalibrationInGraph(*(PiecewiseLinear(one.knots, one.values) for one in maps))
    expected = module(torch.from_numpy(classes)).numpy()
    exceeding = np.stack([classes[:, 1] + classes[:, 2], classes[:, 2]])
    mapped = calibrated(exceeding, maps)
    np.testing.assert_allclose(class_probabilities(mapped), expected, atol=1e-6)
    assert (mapped[1] == mapped[0]).any(), "the case where heavy rain would exceed rain does not occur"
    assert (mapped[1] <= mapped[0]).all()


def test_reliability_of_a_known_case() -> None:
    rain_mm = np.array([[[0, 20, np.nan]], [[0, 0, 20]]], np.float32)
    probability = np.array([[[0.5, 1.0, 0.0]], [[0.02, 0.5, 0.52]]], np.float32)
    found = reliability(probability, _observed(rain_mm), 10)
    assert found.squared_errors == pytest.approx((0.25, 0.02**2 + 0.25 + 0.48**2))
    assert found.brier == pytest.approx((0.5 + 0.02**2 + 0.48**2) / 5)
    filled = {place: number for place, number in enumerate(found.cells) if number}
    assert filled == {0: 1, 10: 3, 19: 1}
    assert (found.events[10], found.events[19]) == (1, 1)
    assert found.probabilities[10] == pytest.approx(1.52)
    assert len(found.cells) == BINS


def test_a_day_without_observations_adds_nothing() -> None:
    rain_mm = np.array([[[np.nan, np.nan]], [[0, 20]]], np.float32)
    found = reliability(np.full((2, 1, 2), 0.5, np.float32), _observed(rain_mm), 10)
    assert found.squared_errors == (0.0, 0.5)
    assert found.brier == 0.25
