"""From amounts and class probabilities to the form that is scored, and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training.forecasts import called, class_probabilities, exceedances, of_amounts, of_classes

LOGITS = hnp.arrays(np.float64, (4, 3, 2, 5), elements=st.floats(-6, 6))


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits)
    classes: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return classes


@given(LOGITS)
def test_exceedances_are_sums_of_the_classes_above(logits: np.ndarray) -> None:
    classes = _softmax(logits)
    exceeding = exceedances(classes)
    assert exceeding.shape == (2, 4, 2, 5)
    np.testing.assert_allclose(exceeding[0], classes[:, 1] + classes[:, 2], rtol=1e-6)
    np.testing.assert_array_equal(exceeding[1], classes[:, 2])
    np.testing.assert_allclose(class_probabilities(exceeding), classes, atol=1e-6)


@given(LOGITS)
def test_the_most_probable_class_decides(logits: np.ndarray) -> None:
    classes = _softmax(logits)
    forecast = of_classes(classes)
    likeliest = classes.argmax(axis=1)
    np.testing.assert_array_equal(forecast.untuned[0], likeliest >= 1)
    np.testing.assert_array_equal(forecast.untuned[1], likeliest == 2)
    np.testing.assert_array_equal(called(classes), forecast.untuned)
    assert forecast.probabilistic


def test_an_amount_calls_what_it_reaches() -> None:
    amounts = np.array([0, 0.1, 9.99, 10], np.float32).reshape(1, 2, 2)
    forecast = of_amounts(amounts)
    assert forecast.strengths.shape == (2, 1, 2, 2)
    assert forecast.untuned[0].ravel().tolist() == [False, True, True, True]
    assert forecast.untuned[1].ravel().tolist() == [False, False, False, True]
    assert not forecast.probabilistic


def test_amounts_may_differ_between_the_thresholds() -> None:
    forecast = of_amounts(np.full((1, 1, 1), 5, np.float32), np.full((1, 1, 1), 12, np.float32))
    assert forecast.strengths.ravel().tolist() == [5, 12]
    assert forecast.untuned.ravel().tolist() == [True, True]
