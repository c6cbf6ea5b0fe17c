"""Quantile mapping: every amount is exceeded as often as it was observed, and the order of amounts stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.quantile_mapping import AMOUNTS_MM, QuantileMap, fit
from training.samples import DataSettings, Split


def _numbers(amounts: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(AMOUNTS_MM, amounts, side="right"), minlength=len(AMOUNTS_MM) + 1)


def _rain(generator: np.random.Generator, wet: float, scale: float, cells: int = 100_000) -> np.ndarray:
    rain = generator.gamma(0.6, scale, cells) * (generator.random(cells) < wet)
    return rain.astype(np.float32)


@pytest.mark.parametrize(("wet", "scale"), [(0.5, 12.0), (0.2, 2.0)])
def test_thresholds_are_exceeded_as_often_as_observed(wet: float, scale: float) -> None:
    generator = np.random.default_rng(0)
    forecast, observed = _rain(generator, wet, scale), _rain(generator, 0.3, 5.0)
    mapped = QuantileMap.of(_numbers(forecast), _numbers(observed))(forecast)
    for threshold in (1.0, 5.0, 10.0, 20.0):
        assert (mapped >= threshold).mean() == pytest.approx((observed >= threshold).mean(), abs=6e-4)
    # Dry cells cannot be told apart: none of them becomes wet.
    assert (mapped >= 0.1).mean() == pytest.approx(
        min((observed >= 0.1).mean(), (forecast >= AMOUNTS_MM[0]).mean()), abs=1e-3
    )


def test_drizzle_that_is_too_frequent_becomes_no_rain() -> None:
    generator = np.random.default_rng(5)
    forecast, observed = _rain(generator, 0.9, 5.0), _rain(generator, 0.2, 5.0)
    mapped = QuantileMap.of(_numbers(forecast), _numbers(observed))(forecast)
    assert (mapped > 0).mean() == pytest.approx((observed >= AMOUNTS_MM[0]).mean(), abs=2e-3)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.9), st.floats(0.5, 20))
def test_more_forecast_rain_never_becomes_less(seed: int, wet: float, scale: float) -> None:
    generator = np.random.default_rng(seed)
    forecast, observed = _rain(generator, wet, scale, 2000), _rain(generator, 0.3, 5.0, 2000)
    mapping = QuantileMap.of(_numbers(forecast), _numbers(observed))
    amounts = np.concatenate([[0.0], np.geomspace(1e-3, 900, 500)]).astype(np.float32)
    mapped = mapping(amounts)
    assert (np.diff(mapped) >= 0).all()
    assert mapped[0] == 0
    assert mapped[-1] <= observed.max() * 1.01


def test_it_is_fitted_on_the_training_split(dataset: DataSettings) -> None:
    training = Split(dataset, "train")
    forecast = fit(training)(training)
    observed = training.rain_mm(range(len(training)))
    seen = ~np.isnan(observed)
    for place, threshold in enumerate((0.1, 10.0)):
        mapped = forecast.strengths[place]
        assert (mapped >= threshold)[seen].mean() == pytest.approx(
            (observed >= threshold)[seen].mean(), abs=0.01
        )
    raw = training.raw_rain_mm()
    order = np.argsort(raw, axis=None)
    assert (np.diff(forecast.strengths[0].ravel()[order]) >= 0).all()
