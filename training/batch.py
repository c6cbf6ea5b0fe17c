"""A batch in memory, and the crops that training may take of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from training.samples import Indices, Split

VALIDATION_BATCH: Final = 16
"""Samples at a time where no gradient is taken."""


@dataclass(frozen=True)
class Batch:
    """Inputs (sample, channel, y, x) as the network takes them; rain (sample, y, x), mm, NaN not observed."""

    fields: Tensor
    rain_mm: Tensor


def read(split: Split, indices: Indices, device: torch.device) -> Batch:
    """Some samples of a split."""
    fields = torch.from_numpy(split.fields(indices))
    return Batch(
        fields.to(device, memory_format=torch.channels_last),
        torch.from_numpy(split.rain_mm(indices)).to(device),
    )


def cropped(batch: Batch, size: tuple[int, int] | None, generator: torch.Generator) -> Batch:
    """The same random rectangle (height, width) of all samples; the batch itself where ``size`` is None."""
    if size is None:
        return batch
    starts = [
        int(torch.randint(whole - part + 1, (), generator=generator))
        for whole, part in zip(batch.rain_mm.shape[-2:], size, strict=True)
    ]
    rows, columns = (slice(start, start + part) for start, part in zip(starts, size, strict=True))
    return Batch(batch.fields[..., rows, columns], batch.rain_mm[..., rows, columns])
