"""What the reference adds to ``grid_sample``: half precisions and a gradient in a fixed order."""

import pytest
import torch
from torch import Tensor

from training.networks import dcnv3_reference
from training.networks.dcnv3_reference import Sampling


def _case(size: tuple[int, int], sampling: Sampling, reach: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Value, offset, logits and gradient, channels last, two samples of four channels per group."""
    generator = torch.Generator().manual_seed(2)
    cells = (2, *sampling.output_size(*size))

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return (
        draw(2, *size, 4 * sampling.groups),
        draw(*cells, sampling.groups, 9, 2) * reach,
        draw(*cells, sampling.groups, 9),
        draw(*cells, 4 * sampling.groups),
    )


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (6, 2)])
@pytest.mark.parametrize("sampling", [Sampling(1), Sampling(3), Sampling(2, stride=2), Sampling(2, 3, 2)])
@pytest.mark.parametrize("reach", [0.3, 2.0, 50.0])
def test_scattered_gradient_is_that_of_grid_sample(
    size: tuple[int, int], sampling: Sampling, reach: float
) -> None:
    parts = _case(size, sampling, reach)
    expected, _, _ = dcnv3_reference.backward(*parts, sampling)
    torch.testing.assert_close(dcnv3_reference.scattered(*parts, sampling), expected)


def test_scattered_gradient_leaves_out_points_at_nan() -> None:
    value, offset, logits, gradient = _case((4, 4), Sampling(1), 0.3)
    far = offset.clone()
    offset[0, 1, 1, 0, 3] = torch.nan
    far[0, 1, 1, 0, 3] = 1e6
    found = dcnv3_reference.scattered(value, offset, logits, gradient, Sampling(1))
    assert torch.equal(found, dcnv3_reference.scattered(value, far, logits, gradient, Sampling(1)))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precisions_are_rounded_once(precision: torch.dtype) -> None:
    """Every result is within half a unit in the last place of what float64 makes of the same input."""
    sampling = Sampling(2)
    value, offset, logits, gradient = _case((5, 40), sampling, 1.0)
    # Never a whole cell, where a rounded position decides between two slopes.
    offset = offset.floor() + 0.5
    parts = tuple(part.to(precision) for part in (value, offset, logits, gradient))
    found, expected = (
        (
            dcnv3_reference.forward(value, offset, logits, sampling),
            *dcnv3_reference.backward(value, offset, logits, gradient, sampling),
        )
        for value, offset, logits, gradient in (parts, tuple(part.double() for part in parts))
    )
    for half, whole in zip(found, expected, strict=True):
        assert half.dtype == precision
        torch.testing.assert_close(half.double(), whole, rtol=torch.finfo(precision).eps / 2, atol=2e-4)
