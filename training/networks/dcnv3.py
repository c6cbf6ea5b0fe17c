"""Deformable convolution, third version (DCNv3), the operator of InternImage.

Source: Wang et al. (2023), InternImage, https://doi.org/10.1109/CVPR52729.2023.01385, section 3.1:
for every group g and output cell p0

    y_g(p0) = sum_k  m_gk(p0) * x_g(p0 + p_k + s * dp_gk(p0)),      k over a regular 3 x 3 grid

with offsets ``dp`` and masks ``m`` (softmax over k) predicted from the input by a depth-wise convolution.
Weights are shared among the cells through the input and output projections; the sampling itself has none.

The sampling is one registered operator, ``rainpost::dcnv3``: PyTorch runs it through ``grid_sample``, and
the ONNX exporter writes it as the standard ``DeformConv`` (opset 22) with one group per channel and weights
of one. The operator counts the kernel as ONNX does: row by row, each offset as (y, x). InternImage's own
parameters count it column by column, each offset as (x, y); the module keeps that order in its parameters
and reorders the rows of the two small linear layers, so that nothing is moved at run time.
"""

from collections.abc import Callable
from typing import Any

import onnx
import torch
from onnxscript import opset22 as op
from torch import Tensor, nn
from torch.nn import functional

from training.networks import dcnv3_cpu

KERNEL_SIZE = 3
POINTS = KERNEL_SIZE * KERNEL_SIZE


def _grid(offset: Tensor, groups: int) -> Tensor:
    """Sampling points in the units of ``grid_sample``: (batch * groups, 9, height * width, 2) as (x, y)."""
    batch, _, height, width = offset.shape
    offset = offset.reshape(batch * groups, POINTS, 2, height * width)
    kwargs: dict[str, Any] = {"dtype": offset.dtype, "device": offset.device}
    reach = torch.arange(KERNEL_SIZE, **kwargs) - KERNEL_SIZE // 2
    rows = torch.arange(height, **kwargs).view(1, height, 1) + reach.repeat_interleave(KERNEL_SIZE).view(
        POINTS, 1, 1
    )
    columns = torch.arange(width, **kwargs).view(1, 1, width) + reach.repeat(KERNEL_SIZE).view(POINTS, 1, 1)
    rows = rows.expand(POINTS, height, width).reshape(POINTS, height * width)
    columns = columns.expand(POINTS, height, width).reshape(POINTS, height * width)
    x = (2 * (columns + offset[:, :, 1]) + 1) / width - 1
    y = (2 * (rows + offset[:, :, 0]) + 1) / height - 1
    return torch.stack((x, y), dim=-1)


def _sample(value: Tensor, grid: Tensor, groups: int) -> Tensor:
    """Bilinear samples, zero outside: (batch * groups, channels / groups, 9, height * width)."""
    batch, channels, height, width = value.shape
    folded = value.reshape(batch * groups, channels // groups, height, width)
    return functional.grid_sample(folded, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


@torch.library.custom_op("rainpost::dcnv3", mutates_args=())
def dcnv3_sample(value: Tensor, offset: Tensor, mask: Tensor, groups: int) -> Tensor:
    """Sum of nine masked bilinear samples per group.

    Args:
        value: (batch, channels, height, width).
        offset: (batch, groups * 9 * 2, height, width) in cells, per point (y, x), points row by row.
        mask: (batch, groups * 9, height, width), points row by row.
        groups: number of groups that share offsets and masks; divides ``channels``.

    Returns:
        (batch, channels, height, width). Samples outside the field count as zero.
    """
    if _compiled(value, offset, mask):
        found = dcnv3_cpu.forward(*_channels_last(value, offset, mask, groups))
        return _laid_out(found.permute(0, 3, 1, 2), value)
    return reference(value, offset, mask, groups)


def reference(value: Tensor, offset: Tensor, mask: Tensor, groups: int) -> Tensor:
    """The same sum through ``grid_sample``, on any device and in any precision."""
    batch, _, height, width = value.shape
    sampled = _sample(value, _grid(offset, groups), groups)
    weights = mask.reshape(batch * groups, 1, POINTS, height * width)
    return _laid_out((sampled * weights).sum(dim=2).reshape(value.shape), value)


def _laid_out(x: Tensor, like: Tensor) -> Tensor:
    """In the strides of ``like``, which the fake tensors of tracing promise."""
    return x if x.stride() == like.stride() else torch.empty_like(like).copy_(x)


def _compiled(*tensors: Tensor) -> bool:
    """Whether the compiled kernel takes them: all on the CPU and of one of its precisions."""
    return all(
        tensor.device.type == "cpu" and tensor.dtype in {torch.float32, torch.float64} for tensor in tensors
    )


def _channels_last(value: Tensor, offset: Tensor, mask: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """The layout of the compiled kernel; without a copy where memory is channels last already."""
    batch, _, height, width = value.shape
    return (
        value.permute(0, 2, 3, 1).contiguous(),
        offset.permute(0, 2, 3, 1).contiguous().view(batch, height, width, groups, POINTS, 2),
        mask.permute(0, 2, 3, 1).contiguous().view(batch, height, width, groups, POINTS),
    )


@dcnv3_sample.register_fake
def _shape(value: Tensor, offset: Tensor, mask: Tensor, groups: int) -> Tensor:  # noqa: ARG001
    return torch.empty_like(value)


def _remember(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:  # noqa: ARG001
    value, offset, mask, ctx.groups = inputs
    ctx.save_for_backward(value, offset, mask)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    return (*dcnv3_gradients(*ctx.saved_tensors, ctx.groups, gradient), None)


@torch.library.custom_op("rainpost::dcnv3_gradients", mutates_args=())
def dcnv3_gradients(
    value: Tensor, offset: Tensor, mask: Tensor, groups: int, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, offset and mask: an operator of its own, so that a graph can hold it."""
    if not _compiled(value, offset, mask):
        return reference_gradients(value, offset, mask, groups, gradient)
    found = dcnv3_cpu.backward(
        *_channels_last(value, offset, mask, groups), gradient.permute(0, 2, 3, 1).contiguous()
    )
    value_gradient, offset_gradient, mask_gradient = (
        _laid_out(each.flatten(3).permute(0, 3, 1, 2), like)
        for each, like in zip(found, (value, offset, mask), strict=True)
    )
    return value_gradient, offset_gradient, mask_gradient


@dcnv3_gradients.register_fake
def _gradient_shapes(
    value: Tensor,
    offset: Tensor,
    mask: Tensor,
    groups: int,  # noqa: ARG001
    gradient: Tensor,  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(value), torch.empty_like(offset), torch.empty_like(mask)


def reference_gradients(
    value: Tensor, offset: Tensor, mask: Tensor, groups: int, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, offset and mask; samples again instead of keeping nine copies of the field."""
    batch, channels, height, width = value.shape
    folded = value.reshape(batch * groups, channels // groups, height, width)
    grid = _grid(offset, groups)
    sampled = _sample(value, grid, groups)
    gradient = gradient.reshape(batch * groups, channels // groups, 1, height * width)
    mask_gradient = (gradient * sampled).sum(dim=1).reshape(mask.shape)
    sample_gradient = gradient * mask.reshape(batch * groups, 1, POINTS, height * width)
    value_gradient, grid_gradient = torch.ops.aten.grid_sampler_2d_backward(
        sample_gradient, folded, grid, 0, 0, False, [True, True]
    )
    scale = grid_gradient.new_tensor([2 / height, 2 / width]).view(1, 1, 2, 1)
    offset_gradient = grid_gradient.flip(-1).transpose(2, 3) * scale
    return (
        _laid_out(value_gradient.reshape(value.shape), value),
        _laid_out(offset_gradient.reshape(offset.shape), offset),
        _laid_out(mask_gradient, mask),
    )


dcnv3_sample.register_autograd(_backward, setup_context=_remember)


def _as_deform_conv(value: Any, offset: Any, mask: Any, groups: int) -> Any:
    """The same sum in standard ONNX: DeformConv with one group per channel and weights of one."""
    channels = int(value.shape[1])
    ones = op.Constant(
        value=onnx.helper.make_tensor(
            "ones",
            onnx.TensorProto.FLOAT,
            (channels, 1, KERNEL_SIZE, KERNEL_SIZE),
            [1.0] * (channels * POINTS),
        )
    )
    return op.DeformConv(
        value, ones, offset, None, mask, group=channels, offset_group=groups,
        kernel_shape=[KERNEL_SIZE, KERNEL_SIZE], pads=[1, 1, 1, 1], strides=[1, 1], dilations=[1, 1],
    )  # fmt: skip


def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """``custom_translation_table`` of ``torch.onnx.export`` for this operator."""
    return {torch.ops.rainpost.dcnv3.default: _as_deform_conv}


class DCNv3(nn.Module):
    """One DCNv3 layer on fields with the channels last.

    Args:
        channels: channels in and out.
        groups: groups with offsets and masks of their own; divides ``channels``.
        offset_scale: factor on the predicted offsets (1.0 in InternImage-T).

    Shapes: (batch, height, width, channels) in and out.

    Raises:
        ValueError: ``groups`` does not divide ``channels``.
    """

    row_by_row: Tensor

    def __init__(self, channels: int, groups: int, offset_scale: float = 1.0) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"DCNv3: {channels} channels cannot be divided into {groups} groups")
        self.groups = groups
        self.offset_scale = offset_scale
        self.depthwise = nn.Conv2d(channels, channels, KERNEL_SIZE, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.offset = nn.Linear(channels, groups * POINTS * 2)
        self.mask = nn.Linear(channels, groups * POINTS)
        self.input_projection = nn.Linear(channels, channels)
        self.output_projection = nn.Linear(channels, channels)
        self.register_buffer("row_by_row", _row_by_row(groups), persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """As InternImage: a regular 3 x 3 mean at the start."""
        for layer in (self.offset, self.mask):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.input_projection, self.output_projection):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        value = self.input_projection(x).permute(0, 3, 1, 2)
        context = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        context = functional.gelu(self.norm(context))
        order = self.row_by_row
        swapped = (order[:, None] * 2 + order.new_tensor([1, 0])).flatten()
        offset = _reordered(self.offset, swapped, context)
        mask = _reordered(self.mask, order, context)
        mask = mask.reshape(batch, height, width, self.groups, POINTS).softmax(dim=-1).flatten(3)
        offset = (offset * self.offset_scale).permute(0, 3, 1, 2)
        y: Tensor = dcnv3_sample(value, offset, mask.permute(0, 3, 1, 2), self.groups)
        result: Tensor = self.output_projection(y.permute(0, 2, 3, 1))
        return result


def _reordered(layer: nn.Linear, order: Tensor, x: Tensor) -> Tensor:
    """The layer's outputs in another order; a graph optimiser folds the reordering into constant weights."""
    return functional.linear(x, layer.weight.index_select(0, order), layer.bias.index_select(0, order))


def _row_by_row(groups: int) -> Tensor:
    """Position, in InternImage's column-by-column order, of each point counted row by row."""
    points = torch.arange(POINTS).view(KERNEL_SIZE, KERNEL_SIZE).T.flatten()
    return (torch.arange(groups)[:, None] * POINTS + points).flatten()
