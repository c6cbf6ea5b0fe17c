"""The parts of a loss against their formulas and their limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor
from torch.nn import functional

from service.channels import THRESHOLDS_MM
from training.engine import Part
from training.labels import interpolated_labels, one_hot_labels
from training.losses import amount_error, masked_error, soft_csi_loss, weighted_soft_cross_entropy

WEIGHTS = (1.0, 5.0, 10.0)
LOGITS = hnp.arrays(np.float64, (2, 3, 4), elements=st.floats(-20, 20))
RAIN = hnp.arrays(np.float64, (2, 4), elements=st.floats(0, 30))
SEEN = torch.ones(2, 4, dtype=torch.bool)
SCENES = (3, 4, 5)


def _mean(part: Part) -> Tensor:
    return part.total / part.count


def _cross_entropy(
    logits: np.ndarray, rain: np.ndarray, weights: tuple[float, ...] = WEIGHTS, observed: Tensor = SEEN
) -> float:
    labels = interpolated_labels(torch.from_numpy(rain))
    logarithms = torch.from_numpy(logits).log_softmax(dim=1)
    return _mean(weighted_soft_cross_entropy(logarithms, labels, weights, observed)).item()


@given(LOGITS, RAIN)
def test_cross_entropy_equals_the_formula_cell_by_cell(logits: np.ndarray, rain: np.ndarray) -> None:
    total = 0.0
    for n, cell in np.ndindex(2, 4):
        rain_mm = float(rain[n, cell])
        a = min(rain_mm / 0.1, 1.0)
        b = min(max((rain_mm - 0.1) / 9.9, 0.0), 1.0)
        exponentials = [math.exp(value) for value in logits[n, :, cell]]
        for weight, label, exponential in zip(WEIGHTS, (1 - a, a - b, b), exponentials, strict=True):
            total -= weight * label * math.log(exponential / sum(exponentials))
    assert _cross_entropy(logits, rain) == pytest.approx(total / 8, rel=1e-9, abs=1e-9)


@given(LOGITS, RAIN)
def test_cross_entropy_is_linear_in_the_weights_and_not_negative(
    logits: np.ndarray, rain: np.ndarray
) -> None:
    """Weights are not divided out: doubling them doubles the loss."""
    loss = _cross_entropy(logits, rain)
    assert loss >= 0
    assert _cross_entropy(logits, rain, (2.0, 10.0, 20.0)) == pytest.approx(2 * loss)


@given(RAIN)
def test_cross_entropy_is_least_where_the_prediction_is_the_label(rain: np.ndarray) -> None:
    labels = interpolated_labels(torch.from_numpy(rain)).numpy()
    exact = _cross_entropy(np.log(labels + 1e-12), rain, (1.0, 1.0, 1.0))
    assert exact <= _cross_entropy(np.log(0.9 * labels + 0.1 / 3), rain, (1.0, 1.0, 1.0)) + 1e-9


def test_unweighted_with_hard_labels_is_plain_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, rain = torch.randn(3, 3, 5, 4), torch.rand(3, 5, 4) * 20
    classes = one_hot_labels(rain).argmax(1)
    observed = torch.ones(3, 5, 4, dtype=torch.bool)
    part = weighted_soft_cross_entropy(logits.log_softmax(1), one_hot_labels(rain), (1, 1, 1), observed)
    torch.testing.assert_close(_mean(part), functional.cross_entropy(logits, classes))


def test_parts_of_two_halves_add_up_to_the_whole() -> None:
    """What makes several processes agree with one: sums and counts, the ratio last."""
    torch.manual_seed(0)
    logits, rain = torch.randn(4, 3, 6, 5), 15 * torch.rand(4, 6, 5)
    rain[0, :4] = math.nan
    observed = ~rain.isnan()

    def _parts(rows: slice) -> list[Part]:
        logarithms = logits[rows].log_softmax(1)
        labels = interpolated_labels(rain[rows])
        return [
            weighted_soft_cross_entropy(logarithms, labels, WEIGHTS, observed[rows]),
            amount_error(logits[rows, 0], rain[rows], observed[rows]),
            soft_csi_loss(logarithms, rain[rows], observed[rows]),
        ]

    for whole, first, second in zip(_parts(slice(4)), _parts(slice(2)), _parts(slice(2, 4)), strict=True):
        torch.testing.assert_close(first.total + second.total, whole.total)
        assert float(first.count + second.count) == float(whole.count)


@pytest.mark.parametrize("name", ["cross_entropy", "amount", "csi"])
def test_cells_without_observation_count_neither_in_loss_nor_in_gradient(name: str) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(1, 3, 1, 4)
    rain = torch.tensor([[[0.0, 12.0, math.nan, 3.0]]])

    def _part(outputs: Tensor, rain: Tensor) -> Part:
        logarithms, observed = outputs.log_softmax(1), ~rain.isnan()
        if name == "cross_entropy":
            return weighted_soft_cross_entropy(logarithms, interpolated_labels(rain), WEIGHTS, observed)
        if name == "amount":
            return amount_error(outputs[:, 0], rain, observed)
        return soft_csi_loss(logarithms, rain, observed)

    leaf = outputs.clone().requires_grad_()
    part = _part(leaf, rain)
    keep = [0, 1, 3]
    expected = _part(outputs[..., keep], rain[..., keep])
    torch.testing.assert_close(_mean(part), _mean(expected))
    part.total.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert leaf.grad[..., 2].abs().max() == 0
    assert leaf.grad[..., keep].abs().max() > 0


def test_without_any_observation_the_sum_and_the_count_are_zero() -> None:
    part = weighted_soft_cross_entropy(torch.zeros(2, 3, 4), torch.full((2, 3, 4), math.nan), WEIGHTS, ~SEEN)
    assert (part.total.item(), part.count.item()) == (0, 0)


@given(hnp.arrays(np.float64, (2, 4), elements=st.floats(-3, 5)), RAIN)
def test_the_error_of_the_amount_is_that_of_its_logarithm(predicted: np.ndarray, rain: np.ndarray) -> None:
    part = amount_error(torch.from_numpy(predicted), torch.from_numpy(rain), SEEN)
    assert _mean(part).item() == pytest.approx(((predicted - np.log(1 + rain)) ** 2).mean())


@given(
    classes=hnp.arrays(np.int64, SCENES, elements=st.integers(0, 2)),
    rain=hnp.arrays(np.float64, SCENES, elements=st.sampled_from([0.0, 0.1, 3.0, 10.0, math.nan])),
)
def test_soft_csi_of_certain_forecasts_is_the_score_up_to_the_smoothing(
    classes: np.ndarray, rain: np.ndarray
) -> None:
    logarithms = functional.one_hot(torch.from_numpy(classes), 3).movedim(-1, 1).double().log()
    observed = ~np.isnan(rain)
    part = soft_csi_loss(logarithms, torch.from_numpy(rain), torch.from_numpy(observed))
    exact, bound = 0.0, 0.0
    for scene in range(len(rain)):
        for index, threshold_mm in enumerate(THRESHOLDS_MM):
            warning, event = classes[scene] > index, rain[scene] >= threshold_mm
            hits = int((warning & event).sum())
            union = int(((warning | event) & observed[scene]).sum())
            exact += 1 - hits / union if union else 0
            bound += 1 / (union + 1)
    assert part.count.item() == 2 * len(rain)
    assert abs(part.total.item() - exact) <= bound + 1e-9


def test_soft_csi_of_known_scenes() -> None:
    """Dry without a warning: nothing lost. Dry with four warned cells: all but the smoothing, 1 - 1/5."""
    dry = torch.zeros(1, 2, 4)
    silent, warned = torch.zeros(1, 2, 4, dtype=torch.long), torch.zeros(1, 2, 4, dtype=torch.long)
    warned[0, 0] = 2
    for classes, loss in ((silent, 0.0), (warned, 0.8)):
        logarithms = functional.one_hot(classes, 3).movedim(-1, 1).double().log()
        assert _mean(soft_csi_loss(logarithms, dry, torch.ones_like(dry).bool())).item() == pytest.approx(
            loss
        )


def test_soft_csi_falls_as_the_probability_of_the_event_grows() -> None:
    rain = torch.tensor([[[12.0, 0.0]]])
    observed = torch.ones_like(rain).bool()
    losses = []
    for heavy in (0.1, 0.5, 0.9):
        event = torch.tensor([0.1, 0.9 - heavy + 0.0, heavy])
        dry = torch.tensor([0.98, 0.01, 0.01])
        logarithms = torch.stack([event, dry], dim=1)[None, :, None, :].log()
        losses.append(_mean(soft_csi_loss(logarithms.nan_to_num(neginf=-30), rain, observed)).item())
    assert losses[0] > losses[1] > losses[2]


def test_the_masked_error_counts_masked_values_only() -> None:
    torch.manual_seed(0)
    predicted, fields = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    masked = torch.rand(2, 3, 4, 5) < 0.5
    part = masked_error(predicted, fields, masked)
    assert part.count.item() == masked.sum().item()
    torch.testing.assert_close(_mean(part), (predicted - fields)[masked].square().mean())
    visible = torch.where(masked, fields, torch.full_like(fields, 1e3))
    torch.testing.assert_close(masked_error(predicted, visible, masked).total, part.total)
    hidden = torch.where(masked, fields + 1, fields)
    assert masked_error(predicted, hidden, masked).total != part.total
