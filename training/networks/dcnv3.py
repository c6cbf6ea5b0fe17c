"""Deformable convolution, third version (DCNv3), the operator of InternImage.

Source: Wang et al. (2023), InternImage, https://doi.org/10.1109/CVPR52729.2023.01385, section 3.1:
for every group g and output cell p0

    y_g(p0) = sum_k  m_gk(p0) * x_g(p0 + p_k + s * dp_gk(p0)),      k over a regular 3 x 3 grid

with offsets ``dp`` and masks ``m`` (softmax over k) predicted from the input by a depth-wise convolution.
Weights are shared among the cells through the input and output projections; the sampling itself has none.

Softmax and sampling are one registered operator, ``rainpost::dcnv3``. What computes it:

    CPU   float32, float64              dcnv3_cpu (numba)
    CUDA  float32, bfloat16, float16    dcnv3_cuda (Triton)
    else  the other float types         dcnv3_reference (``grid_sample``)
    ONNX                                Softmax and the standard ``DeformConv`` (opset 22) with one group per
                                        channel and weights of one

The operator counts the kernel as ONNX does: row by row, each offset as (y, x). InternImage's own
parameters count it column by column, each offset as (x, y); the module keeps that order in its parameters
and reorders the rows of the two small linear layers, so that nothing is moved at run time.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import onnx
import torch
from onnxscript import opset22 as op
from torch import Tensor, nn
from torch.nn import functional

from training.networks import dcnv3_cpu, dcnv3_reference
from training.networks.dcnv3_reference import KERNEL_SIZE, POINTS, Sampling, divided

DEVICES = ("cpu", "cuda", "meta")
PRECISIONS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@torch.library.custom_op("rainpost::dcnv3", mutates_args=())
def dcnv3_sample(
    value: Tensor, offset: Tensor, logits: Tensor, groups: int, stride: int = 1, dilation: int = 1
) -> Tensor:
    """Mean of nine bilinear samples per group, weighted by the softmax of the logits.

    Args:
        value: (batch, channels, height, width).
        offset: (batch, groups * 9 * 2, out height, out width) in cells, per point (y, x), points row by row.
        logits: (batch, groups * 9, out height, out width), points row by row.
        groups: number of groups that share offsets and weights; divides ``channels``.
        stride: cells of ``value`` from one output cell to the next.
        dilation: cells between the points of the regular grid, and the padding on each side.

    Returns:
        (batch, channels, out height, out width), channels last in memory; out height = (height - 1) // stride
        + 1. Samples outside the field and at offsets of NaN count as zero.

    Raises:
        TypeError: devices or precisions that are mixed or not in ``DEVICES`` and ``PRECISIONS``.
        ValueError: shapes that do not fit together.
    """
    sampling = Sampling(groups, stride, dilation)
    _check(value, offset, logits, sampling)
    result: Tensor = _backend(value).forward(*_channels_last(value, offset, logits, groups), sampling)
    return result.permute(0, 3, 1, 2)


def _backend(value: Tensor) -> Any:
    """The module whose ``forward`` and ``backward`` compute in this device and precision."""
    device, precision = value.device.type, value.dtype
    if device == "cuda" and precision != torch.float64:
        return import_module("training.networks.dcnv3_cuda")  # Triton is there with the CUDA build only
    if device == "cpu" and precision in {torch.float32, torch.float64}:
        return dcnv3_cpu
    return dcnv3_reference


def _check(value: Tensor, offset: Tensor, logits: Tensor, sampling: Sampling) -> None:
    """The kernels read and write without looking: nothing that does not fit may reach them."""
    for name in ("device", "dtype"):
        found = [str(getattr(tensor, name)) for tensor in (value, offset, logits)]
        if len(set(found)) > 1:
            raise TypeError(f"dcnv3: value, offset and logits must have one {name}, not {', '.join(found)}")
    if value.device.type not in DEVICES:
        raise TypeError(f"dcnv3: runs on {', '.join(DEVICES[:2])}, not on {value.device.type}; move it there")
    if value.dtype not in PRECISIONS:
        raise TypeError(f"dcnv3: computes in {', '.join(map(str, PRECISIONS))}, not in {value.dtype}")
    if value.ndim != 4:
        raise ValueError(f"dcnv3: value must be (batch, channels, height, width), not {tuple(value.shape)}")
    batch, channels, height, width = value.shape
    if min(sampling) < 1 or channels % sampling.groups:
        raise ValueError(f"dcnv3: {channels} channels cannot be sampled with {sampling}")
    for name, tensor, numbers in (("offset", offset, 2 * POINTS), ("logits", logits, POINTS)):
        expected = (batch, sampling.groups * numbers, *sampling.output_size(height, width))
        if tuple(tensor.shape) != expected:
            raise ValueError(f"dcnv3: {name} must be {expected}, not {tuple(tensor.shape)}")


def _channels_last(
    value: Tensor, offset: Tensor, logits: Tensor, groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Contiguous, as the backends want them; without a copy where memory is channels last already."""
    return (
        value.permute(0, 2, 3, 1).contiguous(),
        divided(offset.permute(0, 2, 3, 1).contiguous(), groups, POINTS, 2),
        divided(logits.permute(0, 2, 3, 1).contiguous(), groups, POINTS),
    )


def _promised(like: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """(batch, channels, height, width) without content, channels last in memory."""
    return like.new_empty(like.shape[0], *size, channels).permute(0, 3, 1, 2)


@dcnv3_sample.register_fake
def _shape(
    value: Tensor, offset: Tensor, logits: Tensor, groups: int, stride: int = 1, dilation: int = 1
) -> Tensor:
    sampling = Sampling(groups, stride, dilation)
    _check(value, offset, logits, sampling)
    return _promised(value, value.shape[1], sampling.output_size(*value.shape[2:]))


@torch.library.custom_op("rainpost::dcnv3_gradients", mutates_args=())
def dcnv3_gradients(
    value: Tensor,
    offset: Tensor,
    logits: Tensor,
    gradient: Tensor,
    groups: int,
    stride: int = 1,
    dilation: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, offset and logits: an operator of its own, so that a graph can hold it."""
    sampling = Sampling(groups, stride, dilation)
    _check(value, offset, logits, sampling)
    found = _backend(value).backward(
        *_channels_last(value, offset, logits, groups),
        gradient.to(value.dtype).permute(0, 2, 3, 1).contiguous(),
        sampling,
    )
    to_value, to_offset, to_logits = (each.flatten(3).permute(0, 3, 1, 2) for each in found)
    return to_value, to_offset, to_logits


@dcnv3_gradients.register_fake
def _gradient_shapes(
    value: Tensor,
    offset: Tensor,
    logits: Tensor,
    gradient: Tensor,  # noqa: ARG001
    groups: int,  # noqa: ARG001
    stride: int = 1,  # noqa: ARG001
    dilation: int = 1,  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor]:
    to_value, to_offset, to_logits = (
        _promised(each, each.shape[1], (each.shape[2], each.shape[3])) for each in (value, offset, logits)
    )
    return to_value, to_offset, to_logits


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[:3])
    ctx.sampling = inputs[3:]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    found = dcnv3_gradients(*ctx.saved_tensors, gradient, *ctx.sampling)
    return (*found, None, None, None)


dcnv3_sample.register_autograd(_backward, setup_context=_remember)


def _as_deform_conv(
    value: Any, offset: Any, logits: Any, groups: int, stride: int = 1, dilation: int = 1
) -> Any:
    """The same sum in standard ONNX: DeformConv with one group per channel and weights of one."""
    channels = int(value.shape[1])
    # Channels last, as the layer has them: the optimiser then drops this transposition with the layer's.
    rows = op.Transpose(logits, perm=[0, 2, 3, 1])
    apart: Any = op.Constant(value_ints=[0, 0, 0, groups, POINTS])
    together: Any = op.Constant(value_ints=[0, 0, 0, groups * POINTS])
    weights = op.Reshape(op.Softmax(op.Reshape(rows, apart), axis=-1), together)
    mask = op.Transpose(weights, perm=[0, 3, 1, 2])
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
        kernel_shape=[KERNEL_SIZE, KERNEL_SIZE], pads=[dilation] * 4, strides=[stride] * 2,
        dilations=[dilation] * 2,
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
        value = self.input_projection(x).permute(0, 3, 1, 2)
        context = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        context = functional.gelu(self.norm(context))
        order = self.row_by_row
        swapped = (order[:, None] * 2 + order.new_tensor([1, 0])).flatten()
        offset = _reordered(self.offset, swapped, context)
        logits = _reordered(self.mask, order, context)
        offset = (offset * self.offset_scale).permute(0, 3, 1, 2)
        y: Tensor = dcnv3_sample(value, offset, logits.permute(0, 3, 1, 2), self.groups)
        result: Tensor = self.output_projection(y.permute(0, 2, 3, 1))
        return result


def _reordered(layer: nn.Linear, order: Tensor, x: Tensor) -> Tensor:
    """The layer's outputs in another order; a graph optimiser folds the reordering into constant weights."""
    return functional.linear(x, layer.weight.index_select(0, order), layer.bias.index_select(0, order))


def _row_by_row(groups: int) -> Tensor:
    """Position, in InternImage's column-by-column order, of each point counted row by row."""
    points = torch.arange(POINTS).view(KERNEL_SIZE, KERNEL_SIZE).T.flatten()
    return (torch.arange(groups)[:, None] * POINTS + points).flatten()
