"""DCNv3 on CUDA, by the Triton kernels of ``dcnv3_triton``: float32, bfloat16 and float16.

**Never run on a GPU yet.** The kernels are tested through Triton's interpreter on the CPU and compiled for
sm_80, sm_90 and sm_120. Not seen: their speed, the tuning, the launch on a device that is not the current
one, atomic additions that do happen at once, and the deterministic gradient on CUDA.

Every input should come from memory about once: the points of neighbouring cells overlap and are found in the
caches. Forward, the result is written once. Backward, the gradients of offset and logits are sums within a
program. The gradient of the value is scattered with atomic additions into a field of float32, rounded at the
end; their order, and with it the last bits, changes from run to run. Under
``torch.use_deterministic_algorithms`` the scatter is ``dcnv3_reference.scattered``: the same bits every time,
36 passes over the field.

Which tile is fastest is measured once per stage (channels of a group, groups, rows), not per batch size. The
CUDA build of PyTorch for Linux brings Triton along.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
from torch import Tensor

from training.networks import dcnv3_reference
from training.networks.dcnv3_reference import Sampling
from training.networks.dcnv3_triton import backward_kernel, forward_kernel

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether kernels run on the CPU, one program after the other; Triton decides it at import, too."""
INTERPRETED_TILE = 256
FORWARD_TILES = {1024: 4, 512: 2, 256: 2}
BACKWARD_TILES = {512: 4, 256: 2, 1024: 8}
"""Candidates: values at once, and warps. Of those tried, compiled for sm_90, they keep a row's layout through
most of a program; with more values for each thread, many go through shared memory between any two points."""


def _from_zero(arguments: dict[str, Any], reset_only: bool = False) -> None:  # noqa: ARG001
    """Takes back what a trial has added; Triton's own ``reset_to_zero`` knows no missing tensor."""
    if arguments["to_value"] is not None:
        arguments["to_value"].zero_()


def _tuned(kernel: Any, tiles: dict[int, int], before: Callable[..., None] | None = None) -> Any:
    return triton.autotune(
        configs=[triton.Config({"TILE": tile}, num_warps=warps) for tile, warps in tiles.items()],
        key=["CHANNELS", "groups", "rows"],
        pre_hook=before,
    )(kernel)


_FORWARD = forward_kernel if INTERPRETED else _tuned(forward_kernel, FORWARD_TILES)
_BACKWARD = backward_kernel if INTERPRETED else _tuned(backward_kernel, BACKWARD_TILES, _from_zero)


def forward(value: Tensor, offset: Tensor, logits: Tensor, sampling: Sampling) -> Tensor:
    """(batch, out height, out width, channels); contiguous tensors, shapes as in ``dcnv3_reference``."""
    out = value.new_empty(*offset.shape[:3], value.shape[3])
    _launch(_FORWARD, value, (offset, logits, out), sampling)
    return out


def backward(
    value: Tensor, offset: Tensor, logits: Tensor, gradient: Tensor, sampling: Sampling
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, offset and logits."""
    scatter = not torch.are_deterministic_algorithms_enabled()
    to_value = torch.zeros_like(value, dtype=torch.float32) if scatter else None
    to_offset, to_logits = torch.empty_like(offset), torch.empty_like(logits)
    rest = (offset, logits, gradient, to_value, to_offset, to_logits)
    _launch(_BACKWARD, value, rest, sampling, SCATTER=scatter)
    if to_value is None:
        to_value = dcnv3_reference.scattered(value, offset, logits, gradient, sampling)
    return to_value.to(value.dtype), to_offset, to_logits


def _launch(
    kernel: Any, value: Tensor, rest: tuple[Tensor | None, ...], sampling: Sampling, **options: Any
) -> None:
    """One program per tile of rows and sample; ``rest`` begins with the offsets.

    Raises:
        ValueError: a sample has more numbers than 32 bits can count.
    """
    _, height, width, channels = value.shape
    batch, out_height, out_width, groups, *_ = rest[0].shape  # type: ignore[union-attr]
    rows = out_height * out_width * groups
    if max(height * width * channels, 18 * rows) >= 2**31:
        raise ValueError(
            f"dcnv3: a sample of {(height, width, channels)} is too large: cut the field in parts"
        )
    block = triton.next_power_of_2(channels // groups)
    if INTERPRETED:
        options["TILE"] = INTERPRETED_TILE

    def programs(chosen: dict[str, Any]) -> tuple[int]:
        return (batch * triton.cdiv(rows, max(chosen["TILE"] // block, 1)),)

    if batch and rows:
        with _on(value):
            kernel[programs](
                value, *rest, rows, groups, height, width, out_width, CHANNELS=channels // groups,
                BLOCK=block, STRIDE=sampling.stride, DILATION=sampling.dilation, **options,
            )  # fmt: skip


def _on(value: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device, whatever the tensors say."""
    return torch.cuda.device(value.device) if value.is_cuda else nullcontext()
