"""Other implementations of the deformable convolution, brought to the operator's arguments and result.

Each is used where it can be imported. How to get them, in an environment with the CUDA build of torch:

    torchvision     pip install torchvision
    DCNv3           build ``segmentation/ops_dcnv3`` of github.com/OpenGVLab/InternImage; put the folder that
                    holds ``ops_dcnv3`` on PYTHONPATH
    DCNv4           build ``DCNv4_op`` of github.com/OpenGVLab/DCNv4

They have been called here with stand-ins only, never as built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from training.networks import dcnv3, dcnv3_reference
from training.networks.dcnv3_reference import POINTS, Sampling, divided

Call = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""As ``dcnv3_sample`` with a stride and dilation of one: value, offset, logits and groups, channels first."""
COLUMN_BY_COLUMN = [0, 3, 6, 1, 4, 7, 2, 5, 8]
"""Of each point in the official order, its place row by row."""


@dataclass(frozen=True)
class Way:
    """One implementation."""

    name: str
    call: Call
    half: torch.dtype | None = None
    """The only half precision it has; it takes the place of others."""

    def precision(self, asked: torch.dtype) -> torch.dtype:
        return self.half if self.half is not None and asked.itemsize == 2 else asked


def through_grid_sample(value: Tensor, offset: Tensor, logits: Tensor, groups: int) -> Tensor:
    """As the operator's reference, but left to torch's own differentiation."""
    parts = dcnv3._channels_last(value, offset, logits, groups)
    return dcnv3_reference.forward(*parts, Sampling(groups)).permute(0, 3, 1, 2)


def weights(logits: Tensor) -> Tensor:
    """Softmax over the points: (batch, groups * 9, height, width) to the same."""
    batch, _, height, width = logits.shape
    return logits.reshape(batch, -1, POINTS, height, width).softmax(dim=2).flatten(1, 2)


def through_deform_conv2d(operator: Callable[..., Tensor]) -> Call:
    """``torchvision.ops.deform_conv2d``: one group per channel, weights of one, channels first in memory."""

    def call(value: Tensor, offset: Tensor, logits: Tensor, groups: int) -> Tensor:
        ones = value.new_ones(value.shape[1], 1, 3, 3)
        mask = weights(logits).contiguous()
        return operator(value.contiguous(), offset.contiguous(), ones, padding=(1, 1), mask=mask)

    return call


def official(points: Tensor, groups: int, numbers: int) -> Tensor:
    """Row by row to column by column, and of two numbers (y, x) to (x, y).

    (batch, groups * 9 * numbers, height, width) to (batch, height, width, groups, 9, numbers).
    """
    split = divided(points.permute(0, 2, 3, 1), groups, POINTS, numbers)
    return split[..., COLUMN_BY_COLUMN, :].flip(-1)


def through_dcnv3(function: Any) -> Call:
    """InternImage's ``DCNv3Function``. Its order is made before the operator, in the time of both."""

    def call(value: Tensor, offset: Tensor, logits: Tensor, groups: int) -> Tensor:
        found: Tensor = function.apply(
            value.permute(0, 2, 3, 1).contiguous(),
            official(offset, groups, 2).flatten(3).contiguous(),
            official(logits, groups, 1).squeeze(-1).softmax(dim=-1).flatten(3).contiguous(),
            3, 3, 1, 1, 1, 1, 1, 1, groups, value.shape[1] // groups, 1.0, 256, 0,
        )  # fmt: skip
        return found.permute(0, 3, 1, 2)

    return call


def through_dcnv4(function: Any) -> Call:
    """``DCNv4Function``: offsets and weights in one tensor, padded to eight; it has no softmax of its own."""

    def call(value: Tensor, offset: Tensor, logits: Tensor, groups: int) -> Tensor:
        shares = official(logits, groups, 1).squeeze(-1).softmax(dim=-1)
        both = torch.cat([official(offset, groups, 2).flatten(4), shares], dim=-1).flatten(3)
        found: Tensor = function.apply(
            value.permute(0, 2, 3, 1).contiguous(), functional.pad(both, (0, -both.shape[3] % 8)),
            3, 3, 1, 1, 1, 1, 1, 1, groups, value.shape[1] // groups, 1.0, 256, False,
        )  # fmt: skip
        return found.permute(0, 3, 1, 2)

    return call


def ways() -> tuple[list[Way], list[str]]:
    """Ours first, then those that can be imported; and why the others cannot."""
    found = [Way("rainpost::dcnv3", dcnv3.dcnv3_sample), Way("grid_sample", through_grid_sample)]
    missing = []
    peers: list[tuple[str, str, str, Callable[[Any], Call], torch.dtype | None]] = [
        ("torchvision", "torchvision.ops", "deform_conv2d", through_deform_conv2d, torch.float16),
        ("DCNv3", "ops_dcnv3.functions", "DCNv3Function", through_dcnv3, torch.float16),
        ("DCNv4", "DCNv4.functions", "DCNv4Function", through_dcnv4, torch.float16),
    ]
    for name, module, attribute, adapted, half in peers:
        try:
            found.append(Way(name, adapted(getattr(import_module(module), attribute)), half))
        except (ImportError, AttributeError, OSError, RuntimeError) as problem:
            missing.append(f"{name}: {problem}")
    return found, missing
