"""A forecast cycle as one array: the path that training and serving share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.fields import FieldHeader, Values
from service.specification import CycleSpecification


@dataclass(frozen=True)
class CycleInput:
    """What the network sees, in physical units.

    values: float32 (lead, channel, y, x), without NaN; winds relative to the earth, precipitation in mm
    over the specification's period ending at the lead.
    """

    reference_time: np.datetime64
    leads_hours: tuple[int, ...]
    channels: tuple[str, ...]
    values: NDArray[np.float32]


def assemble(
    headers: Sequence[FieldHeader],
    read: Callable[[FieldHeader], Values],
    specification: CycleSpecification,
) -> CycleInput:
    """Choose, read, difference, rotate, remap and check the fields that the specification asks for."""
    raise NotImplementedError


def read_cycle(paths: Iterable[Path], specification: CycleSpecification) -> CycleInput:
    """``assemble`` over all fields of the files."""
    raise NotImplementedError
