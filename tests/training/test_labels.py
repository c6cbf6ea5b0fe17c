"""Properties of the labels, and the table of the method's notes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.labels import LABELS, SIGMA, Labelling, interpolated_labels, one_hot_labels

AMOUNTS = st.floats(0, 200, width=32)


def _row(rain_mm: float, kind: Labelling = "A") -> list[float]:
    row: list[float] = LABELS[kind](torch.tensor([[rain_mm]]))[0, :, 0].tolist()
    return row


@pytest.mark.parametrize(
    ("rain_mm", "expected"),
    [
        (0, (1, 0, 0)),
        (0.05, (0.5, 0.5, 0)),
        (0.1, (0, 1, 0)),
        (1, (0, 0.909, 0.091)),
        (5, (0, 0.505, 0.495)),
        (9.99, (0, 0.001, 0.999)),
        (10, (0, 0, 1)),
        (20, (0, 0, 1)),
        (100, (0, 0, 1)),
    ],
)
def test_interpolated_labels_at_known_amounts(rain_mm: float, expected: tuple[float, ...]) -> None:
    assert _row(rain_mm) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    ("rain_mm", "expected"), [(0, 0), (0.0999, 0), (0.1, 1), (9.999, 1), (10, 2), (300, 2)]
)
def test_one_hot_labels_include_the_lower_threshold(rain_mm: float, expected: int) -> None:
    assert _row(rain_mm, "one_hot") == [float(index == expected) for index in range(3)]


@given(AMOUNTS, st.sampled_from(sorted(LABELS)))
def test_labels_are_distributions(rain_mm: float, kind: Labelling) -> None:
    row = _row(rain_mm, kind)
    assert min(row) >= 0
    assert sum(row) == pytest.approx(1, abs=1e-6)


@given(AMOUNTS, AMOUNTS)
def test_interpolated_labels_are_continuous_and_monotone(a: float, b: float) -> None:
    """The steepest piece is 1 / 0.1 mm; more rain never means less probability of exceeding a threshold."""
    less, more = sorted((a, b))
    low, high = _row(less), _row(more)
    assert max(abs(p - q) for p, q in zip(low, high, strict=True)) <= 10 * (more - less) + 1e-6
    assert high[0] <= low[0] + 1e-6
    assert high[2] >= low[2] - 1e-6


@pytest.mark.parametrize("threshold_mm", [0.1, 10.0])
def test_lognormal_labels_halve_at_a_threshold_and_are_one_hot_far_from_it(threshold_mm: float) -> None:
    below, at, above = (_row(factor * threshold_mm, "E") for factor in (0.2, 1.0, 5.0))
    assert max(below) == pytest.approx(1, abs=1e-5)
    assert sorted(at) == pytest.approx([0, 0.5, 0.5], abs=1e-5)
    assert max(above) == pytest.approx(1, abs=1e-5)
    # One standard deviation of ln(y) above the threshold: Phi(1).
    assert max(_row(math.exp(SIGMA) * threshold_mm, "E")) == pytest.approx(0.8413, abs=1e-4)


@given(AMOUNTS, AMOUNTS)
def test_lognormal_labels_are_monotone(a: float, b: float) -> None:
    """More rain never means less probability of exceeding a threshold."""
    low, high = (_row(amount, "E") for amount in sorted((a, b)))
    assert high[0] <= low[0] + 1e-6
    assert high[2] >= low[2] - 1e-6


@given(st.lists(AMOUNTS, min_size=1, max_size=8))
def test_both_labels_agree_on_the_first_and_last_node(amounts: list[float]) -> None:
    rain = torch.tensor([amounts])
    outside = (rain == 0) | (rain >= 10)
    same = (interpolated_labels(rain) - one_hot_labels(rain)).abs().sum(1) < 1e-6
    assert bool(same[outside].all())


@pytest.mark.parametrize("kind", sorted(LABELS))
def test_a_missing_observation_gives_no_label(kind: Labelling) -> None:
    assert all(math.isnan(value) for value in _row(math.nan, kind)[:2])


def test_shape_has_the_class_second() -> None:
    assert interpolated_labels(torch.zeros(2, 5, 7)).shape == (2, 3, 5, 7)
