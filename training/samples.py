"""Samples on disk, for reading: what the network sees, what was observed, and where it comes from.

The folder holds, per split, ``<split>_inputs.npy`` float32 (sample, channel, y, x) in physical units,
``<split>_rain_mm.npy`` float32 (sample, y, x) with NaN where nothing was observed, and ``<split>.jsonl``, one
line per cycle; ``plan.json`` says what was asked for, ``dataset.json`` (written last) what came out.
``training.dataset`` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from service.artefact import Normalisation
from service.errors import InputError
from service.specification import CycleSpecification

SPLITS: Final = ("train", "validation", "test")

Floats = NDArray[np.float32]
Indices = Sequence[int] | NDArray[np.intp]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Plan(_Strict):
    """What is asked for: numbers of cycles, consecutive leads of each, and the seed of everything."""

    training_cycles: int
    evaluation_cycles: int
    leads_per_cycle: int
    seed: int

    def cycles(self, split: str) -> int:
        return self.training_cycles if split == "train" else self.evaluation_cycles

    def samples(self, split: str) -> int:
        return self.cycles(split) * self.leads_per_cycle


class Description(_Strict):
    """What came out. ``digest`` is the sha256 over the digests of all samples in order."""

    plan: Plan
    simulated: bool
    specification: CycleSpecification
    normalisation: dict[str, Normalisation]
    samples: dict[str, int]
    wet_samples: dict[str, int]
    class_shares: dict[str, tuple[float, ...]]
    """Shares of the observed cells of each split below and between the thresholds."""
    digest: str


def records(folder: Path, split: str) -> list[dict[str, Any]]:
    """Finished cycles in the order of their slots; a line cut short by a kill is left out."""
    records = {}
    path = folder / f"{split}.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        records[record["slot"]] = record
    return [records[slot] for slot in sorted(records)]


def wet_leads(record: dict[str, Any]) -> list[bool]:
    """Per lead, whether any cell was observed to have precipitation."""
    return [sum(cells[1:]) > 0 for cells in record["cells"]]


def open_description(folder: Path) -> Description:
    """The description of a finished dataset.

    Raises:
        InputError: there is none.
    """
    path = folder / "dataset.json"
    if not path.exists():
        raise InputError(
            "No finished dataset",
            where=str(folder),
            advice="run python -m training.dataset, again if it was stopped",
        )
    return Description.model_validate_json(path.read_text())


class Split:
    """One split, read from disk sample by sample.

    Args:
        folder: a finished dataset.
        name: train, validation or test.
        wet_only: leave out samples in which no precipitation was observed.

    Attributes:
        leads_hours, reference_times, cycles: per sample; ``cycles`` numbers the cycle a sample comes from.

    Raises:
        InputError: no finished dataset, or an empty split.
    """

    def __init__(self, folder: Path, name: str, *, wet_only: bool = False) -> None:
        self.description = open_description(folder)
        cycles = records(folder, name)
        per_cycle = self.description.plan.leads_per_cycle
        wet = np.array([flag for record in cycles for flag in wet_leads(record)], dtype=bool)
        self._rows = np.flatnonzero(wet) if wet_only else np.arange(len(wet))
        if not self._rows.size:
            raise InputError(f"The {name} split is empty", where=str(folder))
        self._inputs = np.load(folder / f"{name}_inputs.npy", mmap_mode="r")
        self._rain_mm = np.load(folder / f"{name}_rain_mm.npy", mmap_mode="r")
        leads = np.array([lead for record in cycles for lead in record["leads_hours"]])
        times = np.array([record["reference_time"] for record in cycles], dtype="datetime64[s]")
        self.leads_hours = leads[self._rows]
        self.cycles = self._rows // per_cycle
        self.reference_times = times[self.cycles]
        order = self.description.specification.channels
        statistics = [self.description.normalisation[channel] for channel in order]
        self._mean = np.array([s.mean for s in statistics], np.float32)[:, None, None]
        self._deviation = np.array([s.standard_deviation for s in statistics], np.float32)[:, None, None]

    def __len__(self) -> int:
        return len(self._rows)

    def physical(self, index: int) -> Floats:
        """Inputs (channel, y, x) in physical units."""
        return np.array(self._inputs[self._rows[index]])

    def channel(self, index: int) -> Floats:
        """One input channel of all samples (sample, y, x) in physical units."""
        return np.stack([self._inputs[row, index] for row in self._rows])

    def fields(self, indices: Indices) -> Floats:
        """z-scored inputs (sample, channel, y, x)."""
        return np.stack([(self._inputs[row] - self._mean) / self._deviation for row in self._rows[indices]])

    def rain_mm(self, indices: Indices) -> Floats:
        """Observed rain (sample, y, x), NaN where nothing was observed."""
        return np.stack([self._rain_mm[row] for row in self._rows[indices]])
