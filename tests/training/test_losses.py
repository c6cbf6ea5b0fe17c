"""The loss against its formula and its limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional

from training.labels import interpolated_labels, one_hot_labels
from training.losses import weighted_soft_cross_entropy

WEIGHTS = (1.0, 5.0, 10.0)
LOGITS = hnp.arrays(np.float64, (2, 3, 4), elements=st.floats(-20, 20))
RAIN = hnp.arrays(np.float64, (2, 4), elements=st.floats(0, 30))
SEEN = torch.ones(2, 4, dtype=torch.bool)


def _loss(
    logits: np.ndarray, rain: np.ndarray, weights: tuple[float, ...] = WEIGHTS, observed: torch.Tensor = SEEN
) -> float:
    labels = interpolated_labels(torch.from_numpy(rain))
    return weighted_soft_cross_entropy(torch.from_numpy(logits), labels, weights, observed).item()


@given(LOGITS, RAIN)
def test_equals_the_formula_cell_by_cell(logits: np.ndarray, rain: np.ndarray) -> None:
    total = 0.0
    for n, cell in np.ndindex(2, 4):
        rain_mm = float(rain[n, cell])
        a = min(rain_mm / 0.1, 1.0)
        b = min(max((rain_mm - 0.1) / 9.9, 0.0), 1.0)
        exponentials = [math.exp(value) for value in logits[n, :, cell]]
        for weight, label, exponential in zip(WEIGHTS, (1 - a, a - b, b), exponentials, strict=True):
            total -= weight * label * math.log(exponential / sum(exponentials))
    assert _loss(logits, rain) == pytest.approx(total / 8, rel=1e-9, abs=1e-9)


@given(LOGITS, RAIN, st.floats(-5, 5))
def test_a_constant_added_to_all_logits_changes_nothing(
    logits: np.ndarray, rain: np.ndarray, shift: float
) -> None:
    assert _loss(logits + shift, rain) == pytest.approx(_loss(logits, rain), rel=1e-9, abs=1e-9)


@given(LOGITS, RAIN)
def test_is_linear_in_the_weights_and_not_negative(logits: np.ndarray, rain: np.ndarray) -> None:
    """Weights are not divided out: doubling them doubles the loss."""
    loss = _loss(logits, rain)
    assert loss >= 0
    assert _loss(logits, rain, (2.0, 10.0, 20.0)) == pytest.approx(2 * loss)


@given(RAIN)
def test_least_where_the_prediction_is_the_label(rain: np.ndarray) -> None:
    labels = interpolated_labels(torch.from_numpy(rain)).numpy()
    exact = _loss(np.log(labels + 1e-12), rain, (1.0, 1.0, 1.0))
    assert exact <= _loss(np.log(0.9 * labels + 0.1 / 3), rain, (1.0, 1.0, 1.0)) + 1e-9


def test_unweighted_with_hard_labels_is_plain_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, rain = torch.randn(3, 3, 5, 4), torch.rand(3, 5, 4) * 20
    classes = one_hot_labels(rain).argmax(1)
    observed = torch.ones(3, 5, 4, dtype=torch.bool)
    loss = weighted_soft_cross_entropy(logits, one_hot_labels(rain), (1, 1, 1), observed)
    torch.testing.assert_close(loss, functional.cross_entropy(logits, classes))


def test_cells_without_observation_count_neither_in_loss_nor_in_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 4, requires_grad=True)
    rain = torch.tensor([[0.0, 12.0, math.nan, 3.0]])
    observed = ~rain.isnan()
    loss = weighted_soft_cross_entropy(logits, interpolated_labels(rain), WEIGHTS, observed)
    keep = [0, 1, 3]
    expected = weighted_soft_cross_entropy(
        logits[:, :, keep], interpolated_labels(rain[:, keep]), WEIGHTS, observed[:, keep]
    )
    torch.testing.assert_close(loss, expected)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, :, 2].abs().max() == 0


def test_a_batch_without_observations_is_refused() -> None:
    with pytest.raises(ValueError, match="no observed cell"):
        _loss(np.zeros((2, 3, 4)), np.zeros((2, 4)), observed=~SEEN)
