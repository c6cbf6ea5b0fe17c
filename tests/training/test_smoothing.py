"""Smoothing: inside a sample, and worth it where rain is displaced."""

import numpy as np
import pytest

from training.counting import AMOUNTS_MM, tuned_level
from training.samples import DataSettings, Split
from training.smoothing import SmoothedSettings, fit, smoothed, tuned_widths


def test_smoothing_stays_within_the_sample() -> None:
    rain = np.zeros((2, 9, 9), np.float32)
    rain[0, 4, 4] = 10
    result = smoothed(rain, 1)
    assert result[1].max() == 0
    assert 0 < result[0, 4, 5] < result[0, 4, 4] < 10


def test_uniform_rain_stays_as_it_is_to_the_edge() -> None:
    np.testing.assert_allclose(smoothed(np.full((1, 9, 9), 3, np.float32), 4), 3, rtol=1e-5)


def test_a_wide_filter_wins_where_rain_is_displaced() -> None:
    generator = np.random.default_rng(0)
    truth = smoothed((generator.random((4, 40, 40)) < 0.02).astype(np.float32) * 400, 3)
    raw = np.roll(truth, 4, axis=2) * generator.gamma(0.5, 2, truth.shape).astype(np.float32)
    widths = tuned_widths(raw, truth)
    assert widths[1] >= 1.5
    csi = [tuned_level(field, truth, 10, AMOUNTS_MM)[1] for field in (raw, smoothed(raw, widths[1]))]
    assert csi[1] > csi[0]


def test_where_rain_is_where_it_was_forecast_no_filter_is_best() -> None:
    rain = 8 * np.random.default_rng(1).gamma(0.5, 2, (2, 30, 30)).astype(np.float32)
    assert tuned_widths(rain, rain, (0.01, 2.0, 5.0)) == (0.01, 0.01)


def test_each_threshold_is_smoothed_with_its_own_width(
    dataset: DataSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.smoothing.tuned_widths", lambda *_: (1.0, 3.0))
    system, widths = fit(SmoothedSettings(name="smoothed"), Split(dataset, "validation"))
    split = Split(dataset, "test")
    forecast = system(split)
    assert widths == (1.0, 3.0)
    for strength, width in zip(forecast.strengths, widths, strict=True):
        np.testing.assert_array_equal(strength, smoothed(split.raw_rain_mm(), width))
    assert not forecast.probabilistic
