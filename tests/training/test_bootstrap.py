"""Draws of days."""

import numpy as np
import pytest

from training.bootstrap import RESAMPLES, Estimate, weights


def test_the_first_row_counts_every_day_once_and_the_others_draw_as_many() -> None:
    drawn = weights(30)
    assert drawn.shape == (1 + RESAMPLES, 30)
    assert (drawn[0] == 1).all()
    assert (drawn.sum(axis=1) == 30).all()
    assert drawn[1:].mean(axis=0) == pytest.approx(1, abs=0.15)
    assert (drawn[1:] == 0).mean() == pytest.approx((1 - 1 / 30) ** 30, abs=0.01)
    assert np.array_equal(drawn, weights(30))


def test_the_interval_holds_95_percent_of_the_draws() -> None:
    series = np.concatenate([[0.25], np.arange(RESAMPLES) / RESAMPLES])
    estimate = Estimate.of(series)
    assert estimate.value == 0.25
    assert estimate.interval == pytest.approx((0.025, 0.975), abs=1e-3)


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal(size=200)
    drawn = weights(200)
    low, high = Estimate.of(drawn @ values / 200).interval
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.1)
