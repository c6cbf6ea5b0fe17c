"""DCNv3 through ``grid_sample``: what the compiled kernels are measured against, on any device.

Fields are channels last. With G groups and the output cells of ``Sampling.output_size``:

    value   (batch, height, width, channels)
    offset  (batch, out height, out width, G, 9, 2)   in cells, as (y, x), points row by row
    logits  (batch, out height, out width, G, 9)      of the weights of the points, before the softmax
    result  (batch, out height, out width, channels)

Half precisions are computed in float32 and rounded at the end: ``grid_sample`` would compute even the
positions in their eight or eleven digits.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

KERNEL_SIZE: Final = 3
POINTS: Final = KERNEL_SIZE * KERNEL_SIZE


class Sampling(NamedTuple):
    """Where the points of an output cell lie; the padding is the dilation: a stride of 1 keeps the size."""

    groups: int
    stride: int = 1
    dilation: int = 1

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        return (height - 1) // self.stride + 1, (width - 1) // self.stride + 1


def forward(value: Tensor, offset: Tensor, logits: Tensor, sampling: Sampling) -> Tensor:
    """(batch, out height, out width, channels) in the precision of ``value``."""
    value, offset, logits, dtype = *_wide(value, offset, logits), value.dtype
    sampled = _sample(_folded(value, sampling), _grid(offset, value, sampling))
    weights = _points_first(logits.softmax(dim=-1))
    return _unfolded((sampled * weights[:, None]).sum(dim=2), offset).to(dtype)


def backward(
    value: Tensor, offset: Tensor, logits: Tensor, gradient: Tensor, sampling: Sampling
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, offset and logits; samples again instead of keeping nine copies of the field."""
    dtype = value.dtype
    value, offset, logits, gradient = _wide(value, offset, logits, gradient)
    folded, grid = _folded(value, sampling), _grid(offset, value, sampling)
    weights = logits.softmax(dim=-1)
    here = _folded(gradient, sampling).flatten(2)[:, :, None]
    to_weights = (here * _sample(folded, grid)).sum(dim=1)
    to_value, to_grid = torch.ops.aten.grid_sampler_2d_backward(
        here * _points_first(weights)[:, None], folded, grid, 0, 0, False, [True, True]
    )
    height, width = value.shape[1:3]
    to_offset = to_grid.flip(-1) * to_grid.new_tensor([2 / height, 2 / width])
    return (
        _unfolded(to_value, value).to(dtype),
        _points_last(to_offset, offset).to(dtype),
        softmax_gradient(weights, _points_last(to_weights, logits)).to(dtype),
    )


def softmax_gradient(weights: Tensor, to_weights: Tensor) -> Tensor:
    """Gradient of the logits from that of the weights (..., 9)."""
    return torch.ops.aten._softmax_backward_data(to_weights, weights, -1, weights.dtype)  # type: ignore[no-any-return]


def scattered(value: Tensor, offset: Tensor, logits: Tensor, gradient: Tensor, sampling: Sampling) -> Tensor:
    """The gradient of the value alone, by ``index_add_``: on any device in a fixed order if torch is told so.

    In CUDA ``grid_sample`` has no such gradient. One addition of (rows, channels / groups) per point and
    corner; a row is one group of one output cell.
    """
    dtype = value.dtype
    value, offset, logits, gradient = _wide(value, offset, logits, gradient)
    batch, height, width, channels = value.shape
    weights = logits.softmax(dim=-1)
    rows, columns = _positions(offset, sampling)
    kwargs: dict[str, Any] = {"device": value.device}
    samples = torch.arange(batch, **kwargs).view(-1, 1, 1, 1) * height
    groups = torch.arange(sampling.groups, **kwargs)
    per_group = divided(gradient, sampling.groups, -1)
    result = value.new_zeros(batch * height * width * sampling.groups, channels // sampling.groups)
    for k in range(POINTS):
        for row, share_y in _neighbours(rows[..., k], height):
            for column, share_x in _neighbours(columns[..., k], width):
                place = ((samples + row) * width + column) * sampling.groups + groups
                share = (weights[..., k] * share_y * share_x)[..., None]
                result.index_add_(0, place.flatten(), (share * per_group).flatten(0, 3))
    return result.view(value.shape).to(dtype)


def divided(x: Tensor, *sizes: int) -> Tensor:
    """The last axis as several."""
    return x.reshape(*x.shape[:-1], *sizes)


def _neighbours(position: Tensor, cells: int) -> list[tuple[Tensor, Tensor]]:
    """The cells before and after a position along one axis with their shares: zero outside or of a NaN."""
    near = (position > -1) & (position < cells)
    position = torch.where(near, position, 0)
    first = position.floor()
    return [
        (cell.long().clamp(0, cells - 1), torch.where(near & (cell >= 0) & (cell < cells), share, 0))
        for cell, share in ((first, 1 - (position - first)), (first + 1, position - first))
    ]


def _wide(*tensors: Tensor) -> tuple[Tensor, ...]:
    """At least float32."""
    return tuple(tensor if tensor.dtype == torch.float64 else tensor.to(torch.float32) for tensor in tensors)


def _folded(x: Tensor, sampling: Sampling) -> Tensor:
    """(batch, height, width, channels) to (batch * groups, channels / groups, height, width)."""
    return divided(x, sampling.groups, -1).permute(0, 3, 4, 1, 2).flatten(0, 1)


def _unfolded(x: Tensor, like: Tensor) -> Tensor:
    """Back, to the batch, height and width of ``like``."""
    batch, height, width = like.shape[:3]
    return x.reshape(batch, -1, height, width).permute(0, 2, 3, 1).contiguous()


def _points_first(x: Tensor) -> Tensor:
    """(batch, height, width, groups, 9, ...) to (batch * groups, 9, height * width, ...)."""
    return x.movedim((1, 2), (3, 4)).flatten(0, 1).flatten(2, 3)


def _points_last(x: Tensor, like: Tensor) -> Tensor:
    """Back, in the shape of ``like``."""
    batch, height, width, groups = like.shape[:4]
    split = x.reshape(batch, groups, POINTS, height, width, *x.shape[3:])
    return split.movedim((3, 4), (1, 2)).contiguous()


def _positions(offset: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Row and column of every point in cells of the value: (batch, out height, out width, groups, 9) each."""
    height, width = offset.shape[1:3]
    kwargs: dict[str, Any] = {"dtype": offset.dtype, "device": offset.device}
    reach = (torch.arange(KERNEL_SIZE, **kwargs) - KERNEL_SIZE // 2) * sampling.dilation
    rows = torch.arange(height, **kwargs).view(-1, 1, 1, 1) * sampling.stride
    columns = torch.arange(width, **kwargs).view(-1, 1, 1) * sampling.stride
    return (
        rows + reach.repeat_interleave(KERNEL_SIZE) + offset[..., 0],
        columns + reach.repeat(KERNEL_SIZE) + offset[..., 1],
    )


def _grid(offset: Tensor, value: Tensor, sampling: Sampling) -> Tensor:
    """The points in the units of ``grid_sample``: (batch * groups, 9, out cells, 2) as (x, y)."""
    height, width = value.shape[1:3]
    rows, columns = _positions(offset, sampling)
    return _points_first(torch.stack(((2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1), dim=-1))


def _sample(folded: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples, zero outside: (batch * groups, channels / groups, 9, out height * out width)."""
    return functional.grid_sample(folded, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
