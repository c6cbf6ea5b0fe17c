"""DCNv3 against a reference written from the paper's formula, cell by cell, in float64."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.networks.dcnv3 import DCNv3, dcnv3_sample

Array = NDArray[np.float64]


def _bilinear(field: Array, y: float, x: float) -> float:
    """Value of (height, width) at a fractional position; cells outside are zero."""
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < field.shape[0] and 0 <= column < field.shape[1]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * field[row, column]
    return total


def _reference_core(value: Array, offset: Array, mask: Array, groups: int, scale: float) -> Array:
    """Channels last; the kernel counted column by column, offsets as (x, y), as InternImage has it."""
    batch, height, width, channels = value.shape
    offset = offset.reshape(batch, height, width, groups, 9, 2)
    mask = mask.reshape(batch, height, width, groups, 9)
    result = np.zeros_like(value)
    for n, y, x, c in np.ndindex(batch, height, width, channels):
        g = c // (channels // groups)
        k = 0
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                shift_x, shift_y = offset[n, y, x, g, k]
                sample = _bilinear(value[n, :, :, c], y + dy + scale * shift_y, x + dx + scale * shift_x)
                result[n, y, x, c] += mask[n, y, x, g, k] * sample
                k += 1
    return result


def _linear(layer: nn.Linear, x: Array) -> Array:
    return np.asarray(x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())


def _reference_layer(layer: DCNv3, x: Array) -> Array:
    batch, height, width, _ = x.shape
    kernel, bias = layer.depthwise.weight.detach().numpy(), layer.depthwise.bias
    assert bias is not None
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    context = np.zeros_like(x) + bias.detach().numpy()
    for row in range(3):
        for column in range(3):
            context += padded[:, row : row + height, column : column + width] * kernel[:, 0, row, column]
    mean, variance = context.mean(-1, keepdims=True), context.var(-1, keepdims=True)
    context = (context - mean) / np.sqrt(variance + 1e-6)
    context = context * layer.norm.weight.detach().numpy() + layer.norm.bias.detach().numpy()
    context *= 0.5 * (1 + np.vectorize(math.erf)(context / math.sqrt(2)))
    mask = _linear(layer.mask, context).reshape(batch, height, width, layer.groups, 9)
    mask = np.exp(mask) / np.exp(mask).sum(-1, keepdims=True)
    value = _linear(layer.input_projection, x)
    core = _reference_core(value, _linear(layer.offset, context), mask, layer.groups, layer.offset_scale)
    return _linear(layer.output_projection, core)


def _randomised(layer: DCNv3, offset_size: float) -> DCNv3:
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    nn.init.normal_(layer.offset.bias, std=offset_size)
    return layer


@pytest.mark.parametrize(
    ("height", "width", "channels", "groups", "offset_size", "scale"),
    [(5, 7, 6, 3, 1.0, 1.0), (7, 3, 4, 1, 30.0, 1.0), (1, 1, 4, 4, 0.5, 1.0), (4, 5, 6, 2, 1.0, 2.0)],
)
def test_layer_equals_the_reference(
    height: int, width: int, channels: int, groups: int, offset_size: float, scale: float
) -> None:
    torch.manual_seed(height)
    layer = _randomised(DCNv3(channels, groups, scale).double(), offset_size)
    x = torch.randn(2, height, width, channels, dtype=torch.float64)
    np.testing.assert_allclose(
        layer(x).detach().numpy(), _reference_layer(layer, x.numpy()), rtol=1e-9, atol=1e-10
    )


def test_samples_far_outside_are_zero() -> None:
    value = torch.ones(1, 2, 4, 4)
    offset = torch.full((1, 18, 4, 4), 100.0)
    mask = torch.full((1, 9, 4, 4), 1 / 9)
    assert dcnv3_sample(value, offset, mask, 1).abs().max() == 0


def test_without_offsets_it_is_a_mean_with_zero_padding() -> None:
    value = torch.ones(1, 1, 4, 5)
    result = dcnv3_sample(value, torch.zeros(1, 18, 4, 5), torch.full((1, 9, 4, 5), 1 / 9), 1)
    assert result[0, 0, 1, 1].item() == pytest.approx(1)
    assert result[0, 0, 0, 0].item() == pytest.approx(4 / 9)
    assert result[0, 0, 0, 2].item() == pytest.approx(6 / 9)


def _arguments() -> tuple[Tensor, Tensor, Tensor, int]:
    generator = torch.Generator().manual_seed(3)
    value = torch.randn(2, 4, 3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    # Away from whole cells, where bilinear interpolation has no derivative.
    whole = torch.randint(-3, 3, (2, 36, 3, 4), generator=generator)
    offset = (whole + 0.2 + 0.6 * torch.rand(2, 36, 3, 4, generator=generator)).double().requires_grad_()
    mask = torch.rand(2, 18, 3, 4, dtype=torch.float64, generator=generator).requires_grad_()
    return value, offset, mask, 2


def test_gradients_equal_finite_differences() -> None:
    assert torch.autograd.gradcheck(dcnv3_sample, _arguments())  # type: ignore[arg-type]


def test_operator_obeys_the_rules_of_the_library() -> None:
    torch.library.opcheck(dcnv3_sample, _arguments())


def test_groups_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="6 channels cannot be divided into 4 groups"):
        DCNv3(6, 4)
