"""Heads and calibration: always a distribution, always monotone, exact where it can be calculated."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.networks.heads import HEADS, Calibration, HeadName, Ordinal, PiecewiseLinear, Softmax

LOGITS = st.floats(-60, 60, width=32)
IDENTITY = PiecewiseLinear((0.0, 1.0), (0.0, 1.0))


def _probabilities(name: HeadName, *logits: float) -> Tensor:
    outputs = torch.tensor(logits).reshape(1, -1, 1, 1)
    log_probabilities: Tensor = HEADS[name]()(outputs)
    return log_probabilities.exp().flatten()


@given(logits=st.tuples(LOGITS, LOGITS, LOGITS), name=st.sampled_from(sorted(HEADS)))
def test_probabilities_are_a_distribution(logits: tuple[float, ...], name: HeadName) -> None:
    result = _probabilities(name, *logits)
    assert result.shape == (3,)
    assert (result >= 0).all()
    assert result.sum().item() == pytest.approx(1, abs=1e-6)


@given(rain=LOGITS, gap=LOGITS)
def test_ordinal_probabilities_are_the_cumulative_sigmoids(rain: float, gap: float) -> None:
    result = _probabilities("ordinal", rain, gap).double()
    a, d = torch.tensor([rain, gap], dtype=torch.float64)
    heavy = torch.sigmoid(a - torch.log1p(torch.exp(d)))
    assert (result[1] + result[2]).item() == pytest.approx(torch.sigmoid(a).item(), abs=1e-6)
    assert result[2].item() == pytest.approx(heavy.item(), abs=1e-6)
    assert result[2] <= result[1] + result[2]


@given(logits=st.tuples(LOGITS, LOGITS, LOGITS), name=st.sampled_from(sorted(HEADS)))
def test_probabilities_without_the_logarithm_are_the_same(logits: tuple[float, ...], name: HeadName) -> None:
    outputs = torch.tensor(logits).reshape(1, -1, 1, 1)
    found = HEADS[name]().probabilities(outputs).flatten()
    torch.testing.assert_close(found, _probabilities(name, *logits), atol=1e-6, rtol=1e-4)


def test_the_logarithm_of_an_unlikely_class_is_not_lost() -> None:
    """exp(-60) is far below the spacing of float32 numbers near one."""
    log = Ordinal()(torch.tensor([60.0, 0.0]).reshape(1, 2, 1, 1)).flatten()
    assert log[0].item() == pytest.approx(-60, rel=1e-4)
    assert log[1].item() == pytest.approx(-60, rel=1e-4)


def test_log_probabilities_are_logits() -> None:
    outputs = torch.randn(2, 2, 4, 4)
    log = Ordinal()(outputs)
    torch.testing.assert_close(log.log_softmax(dim=1), log)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_an_output_after_the_logits_is_no_logit(name: HeadName) -> None:
    head = HEADS[name]()
    outputs = torch.randn(1, head.logits + 1, 2, 2)
    assert torch.equal(head(outputs), head(outputs[:, : head.logits]))


@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_logit_gets_a_gradient_for_every_class(name: HeadName) -> None:
    head = HEADS[name]()
    for index in range(3):
        outputs = torch.randn(1, head.logits, 1, 1).requires_grad_()
        head(outputs)[:, index].sum().backward()
        assert outputs.grad is not None
        touched = (outputs.grad != 0).flatten().tolist()
        # No rain is the complement of the first cumulative logit alone.
        assert touched == ([True, False] if (name, index) == ("ordinal", 0) else [True] * head.logits)


_KNOTS = st.lists(st.integers(0, 5 * 10**5), min_size=2, max_size=12, unique=True).map(
    lambda numbers: [number / (5 * 10**5) for number in sorted(numbers)]
)


@given(knots=_KNOTS, data=st.data())
def test_a_piecewise_linear_map_meets_its_knots_and_is_monotone(
    knots: list[float], data: st.DataObject
) -> None:
    count = st.lists(st.floats(0, 1, width=32), min_size=len(knots), max_size=len(knots))
    values = sorted(data.draw(count))
    curve = PiecewiseLinear(knots, values)
    torch.testing.assert_close(curve(torch.tensor(knots)), torch.tensor(values), atol=2e-6, rtol=0)
    everywhere = curve(torch.linspace(0, 1, 301))
    assert (everywhere.diff() >= 0).all()
    assert ((everywhere >= 0) & (everywhere <= 1)).all()


def test_a_step_between_near_knots_is_whole() -> None:
    """As isotonic regression makes them; float32 numbers near 0.6 are 6e-8 apart."""
    knots = torch.tensor([0.6, 0.6000014], dtype=torch.float64)
    curve = PiecewiseLinear(knots.tolist(), (0.0, 1.0))
    torch.testing.assert_close(curve(knots.float()), torch.tensor([0.0, 1.0]), atol=1e-6, rtol=0)


def test_between_knots_it_is_linear_and_beyond_them_constant() -> None:
    curve = PiecewiseLinear((0.2, 0.4, 0.8), (0.1, 0.5, 0.6))
    result = curve(torch.tensor([0.0, 0.3, 0.6, 1.0]))
    torch.testing.assert_close(result, torch.tensor([0.1, 0.3, 0.55, 0.6]))


@pytest.mark.parametrize(
    ("knots", "values"),
    [
        ((0.5,), (0.5,)),
        ((0.0, 1.0), (0.0, 0.5, 1.0)),
        ((0.0, 0.5, 0.5), (0.0, 0.5, 1.0)),
        ((0.0, 1e-7), (0.0, 1.0)),
        ((0.0, 1.1), (0.0, 1.0)),
        ((0.0, 1.0), (0.6, 0.5)),
        ((0.0, 1.0), (-0.1, 0.5)),
        ((0.0, float("nan")), (0.0, 1.0)),
    ],
)
def test_wrong_knots_are_refused(knots: tuple[float, ...], values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="a calibration needs"):
        PiecewiseLinear(knots, values)


def test_a_calibration_that_changes_nothing() -> None:
    probabilities = torch.randn(2, 3, 5, 5).softmax(dim=1)
    torch.testing.assert_close(Calibration(IDENTITY, IDENTITY)(probabilities), probabilities)


def test_each_threshold_has_its_own_map() -> None:
    halved = PiecewiseLinear((0.0, 1.0), (0.0, 0.5))
    tenth = PiecewiseLinear((0.0, 1.0), (0.0, 0.1))
    probabilities = torch.tensor([0.2, 0.5, 0.3]).reshape(1, 3, 1, 1)
    result = Calibration(halved, tenth)(probabilities).flatten()
    torch.testing.assert_close(result, torch.tensor([0.6, 0.37, 0.03]))


def test_heavy_rain_never_becomes_likelier_than_rain() -> None:
    lowered = PiecewiseLinear((0.0, 1.0), (0.0, 0.2))
    raised = PiecewiseLinear((0.0, 0.1), (0.0, 1.0))
    result = Calibration(lowered, raised)(Softmax()(torch.randn(4, 3, 8, 8)).exp())
    assert (result >= 0).all()
    torch.testing.assert_close(result.sum(dim=1), torch.ones(4, 8, 8))
    assert (result[:, 1] == 0).any()
