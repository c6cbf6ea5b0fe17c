"""DCNv3 on the CPU: forward and backward compiled by numba, one thread per part of the batch.

PyTorch has no deformable convolution for the CPU; through ``grid_sample`` the nine samples of a cell are
written out, weighted and read again. Here a cell's nine points are summed where they are read. The samples of
a batch share no memory that is written to, so the result does not depend on the number of threads.

Shapes as in ``dcnv3_reference``; ``mask`` is the softmax of the logits. Samples outside the field count as
zero, and so does a point whose offset is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.networks.dcnv3_reference import Sampling, softmax_gradient

Array = NDArray[Any]

# Sums may be reordered, but nothing is assumed about infinities and NaN: they must reach the loss.
_compiled = numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")


@_compiled
def _axis(position: float, cells: int) -> tuple[int, int, float, float, int, int]:
    """The two cells around a position, their linear weights (zero outside), and whether each is inside."""
    first = int(np.floor(position))
    share = position - first
    low, high = int(first >= 0), int(first + 1 < cells)
    return max(first, 0), min(first + 1, cells - 1), (1 - share) * low, share * high, low, high


@lru_cache(maxsize=8)
def _forward(channels: int) -> Callable[..., None]:
    """The kernel for groups of this many channels: loops of known length are unrolled into registers."""

    @_compiled
    def kernel(stride: int, dilation: int, value: Array, offset: Array, mask: Array, out: Array) -> None:
        batch, out_height, out_width, groups, points = mask.shape
        height, width = value.shape[1:3]
        total = np.zeros(channels, value.dtype)
        for place in range(batch * out_height * out_width * groups):
            cell, g = divmod(place, groups)
            line, x = divmod(cell, out_width)
            n, y = divmod(line, out_height)
            s = g * channels
            total[:] = 0
            for k in range(points):
                row = y * stride + (k // 3 - 1) * dilation + offset[n, y, x, g, k, 0]
                column = x * stride + (k % 3 - 1) * dilation + offset[n, y, x, g, k, 1]
                if not (-1 < row < height and -1 < column < width):
                    continue
                m = mask[n, y, x, g, k]
                top, bottom, upper, lower, _, _ = _axis(row, height)
                west, east, left, right, _, _ = _axis(column, width)
                a, b, c, d = (
                    m * upper * left,
                    m * upper * right,
                    m * lower * left,
                    m * lower * right,
                )
                for i in range(channels):
                    total[i] += (
                        a * value[n, top, west, s + i]
                        + b * value[n, top, east, s + i]
                        + c * value[n, bottom, west, s + i]
                        + d * value[n, bottom, east, s + i]
                    )
            for i in range(channels):
                out[n, y, x, s + i] = total[i]

    return kernel


@lru_cache(maxsize=8)
def _backward(channels: int) -> Callable[..., None]:
    """The kernel of the gradients; the arrays it writes start at zero."""

    @_compiled
    def kernel(
        stride: int,
        dilation: int,
        value: Array,
        offset: Array,
        mask: Array,
        gradient: Array,
        to_value: Array,
        to_offset: Array,
        to_mask: Array,
    ) -> None:
        batch, out_height, out_width, groups, points = mask.shape
        height, width = value.shape[1:3]
        here = np.zeros(channels, value.dtype)
        for place in range(batch * out_height * out_width * groups):
            cell, g = divmod(place, groups)
            line, x = divmod(cell, out_width)
            n, y = divmod(line, out_height)
            s = g * channels
            here[:] = gradient[n, y, x, s : s + channels]
            for k in range(points):
                row = y * stride + (k // 3 - 1) * dilation + offset[n, y, x, g, k, 0]
                column = x * stride + (k % 3 - 1) * dilation + offset[n, y, x, g, k, 1]
                if not (-1 < row < height and -1 < column < width):
                    continue
                m = mask[n, y, x, g, k]
                top, bottom, upper, lower, above, below = _axis(row, height)
                west, east, left, right, before, after = _axis(column, width)
                a = b = c = d = here[0] * 0
                for i in range(channels):
                    a += here[i] * value[n, top, west, s + i]
                    b += here[i] * value[n, top, east, s + i]
                    c += here[i] * value[n, bottom, west, s + i]
                    d += here[i] * value[n, bottom, east, s + i]
                # One loop for each corner: at an edge two corners are the same cell.
                share = m * upper * left
                for i in range(channels):
                    to_value[n, top, west, s + i] += share * here[i]
                share = m * upper * right
                for i in range(channels):
                    to_value[n, top, east, s + i] += share * here[i]
                share = m * lower * left
                for i in range(channels):
                    to_value[n, bottom, west, s + i] += share * here[i]
                share = m * lower * right
                for i in range(channels):
                    to_value[n, bottom, east, s + i] += share * here[i]
                north, south = left * a + right * b, left * c + right * d
                to_mask[n, y, x, g, k] = upper * north + lower * south
                to_offset[n, y, x, g, k, 0] = m * (below * south - above * north)
                to_offset[n, y, x, g, k, 1] = m * (
                    after * (upper * b + lower * d) - before * (upper * a + lower * c)
                )

    return kernel


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="dcnv3")


def _run(kernel: Callable[..., None], sampling: Sampling, *tensors: Tensor) -> None:
    arrays = [tensor.detach().numpy() for tensor in tensors]
    batch = len(arrays[0])
    parts = min(torch.get_num_threads(), batch)
    if parts <= 1:
        kernel(sampling.stride, sampling.dilation, *arrays)
        return
    cuts = [slice(*bounds) for bounds in pairwise(batch * part // parts for part in range(parts + 1))]

    def part(cut: slice) -> None:
        kernel(sampling.stride, sampling.dilation, *(array[cut] for array in arrays))

    list(_pool(parts).map(part, cuts))


def forward(value: Tensor, offset: Tensor, logits: Tensor, sampling: Sampling) -> Tensor:
    """(batch, out height, out width, channels) of contiguous tensors."""
    out = value.new_empty(*offset.shape[:3], value.shape[3])
    _run(_forward(value.shape[3] // sampling.groups), sampling, value, offset, logits.softmax(dim=-1), out)
    return out


def backward(
    value: Tensor, offset: Tensor, logits: Tensor, gradient: Tensor, sampling: Sampling
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, offset and logits."""
    weights = logits.softmax(dim=-1)
    results = torch.zeros_like(value), torch.zeros_like(offset), torch.zeros_like(weights)
    kernel = _backward(value.shape[3] // sampling.groups)
    _run(kernel, sampling, value, offset, weights, gradient, *results)
    return *results[:2], softmax_gradient(weights, results[2])
