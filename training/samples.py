"""Samples for training and scoring: what the network sees and what was observed, by split.

They come from an archive (``training.archive_store``); the ``[data]`` table of a configuration says which one
and how it is split.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from service.artefact import Normalisation
from service.channels import PRECIPITATION_CHANNEL
from service.errors import InputError
from service.specification import Window
from training.archive_store import Archive, Header
from training.splits import SIMULATED, SPLITS, Rows, Splits, Times, split_rows
from training.statistics import normalisation, statistics_digest

Floats = NDArray[np.float32]
Indices = Sequence[int] | NDArray[np.intp]
Condition = Literal["lead", "hour"]

PAIRS_CHANNEL = "precipitation"
"""The channel of archives of ``training.pairs``, whose period is not known."""

LEAD_CENTRE_HOURS, LEAD_SCALE_HOURS = 27.5, 2.5
"""The leads 25-30 h of the paper map to -1 ... 1."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSettings(_Strict):
    """The ``[data]`` table of a configuration.

    archive: the Zarr archive, relative to the working folder.
    splits: by spans of time or by folds.
    label_share: share of the training cycles that are used, for experiments with few labels. A smaller share
        is part of every larger one. The z-scores stay those of the whole training split.
    conditions: constant planes after the channels: ``lead``, scaled; ``hour``, sine and cosine of the valid
        hour of the day (UTC).
    scored: the part of the fields whose cells are tuned on and scored, all of them unless given. Training
        uses all.
    """

    archive: Path
    splits: Splits = SIMULATED
    label_share: float = Field(default=1.0, gt=0, le=1)
    conditions: tuple[Condition, ...] = ()
    scored: Window | None = None


class Description(Header):
    """What the splits of an archive hold.

    normalisation: of every channel, from the wet samples of the training split.
    samples, wet_samples, cycles: numbers by split; wet means that precipitation was observed in some cell.
    class_shares: shares of the observed cells of each split below and between the thresholds.
    digest: of all samples of the archive. statistics_digest: of the data and the splits together.
    """

    normalisation: dict[str, Normalisation]
    samples: dict[str, int]
    wet_samples: dict[str, int]
    cycles: dict[str, int]
    class_shares: dict[str, tuple[float, ...]]
    digest: str
    statistics_digest: str


class Split:
    """One split, read from the archive sample by sample.

    Args:
        settings: the archive and how it is split.
        name: train, validation or test.
        wet_only: leave out samples in which no precipitation was observed.

    Attributes:
        description: of the archive and all its splits.
        input_names: channels and condition planes, in the order of ``fields``.
        leads_hours, reference_times, cycles: per sample; ``cycles`` numbers the cycle a sample comes from.

    Raises:
        InputError: no finished archive, an empty split, splits too near in time, or a part to be scored that
            is not in the fields.
    """

    def __init__(self, settings: DataSettings, name: str, *, wet_only: bool = False) -> None:
        self._archive = archive = Archive(settings.archive)
        index = archive.index
        _check_scored(settings, archive.field_shape)
        try:
            rows = split_rows(settings.splits, index.reference_times, index.leads_hours)
        except InputError as error:
            error.add_note(f"in {settings.archive}")
            raise
        self.description = _describe(archive, settings, rows)
        cycles = np.unique(index.reference_times[rows[name]], return_inverse=True)[1]
        kept = index.wet[rows[name]] if wet_only else np.ones(len(cycles), bool)
        if name == "train":
            kept &= labelled(index.reference_times[rows[name]], settings.label_share)
        if not kept.any():
            raise InputError(f"The {name} split is empty", where=str(settings.archive))
        self._rows = rows[name][kept]
        self.cycles = cycles[kept]
        self.leads_hours = index.leads_hours[self._rows]
        self.reference_times = index.reference_times[self._rows]
        planes, values = condition_values(settings.conditions, self.reference_times, self.leads_hours)
        self.input_names = (*archive.header.channels, *planes)
        self._conditions = values
        statistics = self.description.normalisation.values()
        self._mean = np.array([s.mean for s in statistics], np.float32)[:, None, None]
        self._deviation = np.array([s.standard_deviation for s in statistics], np.float32)[:, None, None]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def field_shape(self) -> tuple[int, int]:
        """(y, x)."""
        return self._archive.field_shape

    def physical(self, index: int) -> Floats:
        """Inputs (channel, y, x) in physical units."""
        return self._archive.inputs(int(self._rows[index]))

    def channel(self, index: int, samples: Indices | None = None) -> Floats:
        """One input channel of some or all samples (sample, y, x) in physical units."""
        chosen = range(len(self)) if samples is None else samples
        return np.stack([self.physical(int(sample))[index] for sample in chosen])

    def raw_rain_mm(self, samples: Indices | None = None) -> Floats:
        """The raw forecast's precipitation of some or all samples (sample, y, x).

        Raises:
            InputError: no channel of the archive is precipitation.
        """
        for name in (PRECIPITATION_CHANNEL, PAIRS_CHANNEL):
            if name in self.description.channels:
                return self.channel(self.description.channels.index(name), samples)
        raise InputError(
            "No channel is precipitation",
            where=str(self._archive.path),
            expected=f"{PRECIPITATION_CHANNEL} or {PAIRS_CHANNEL}",
            got=", ".join(self.description.channels),
        )

    def fields(self, indices: Indices) -> Floats:
        """z-scored inputs, then the condition planes (sample, channel, y, x)."""
        channels = len(self._mean)
        fields = np.empty((len(indices), len(self.input_names), *self._archive.field_shape), np.float32)
        for field, index in zip(fields, indices, strict=True):
            # In place: arrays of this size are dear to allocate, and reading is the loader's limit.
            np.subtract(self.physical(int(index)), self._mean, out=field[:channels])
            field[:channels] /= self._deviation
            field[channels:] = self._conditions[index][:, None, None]
        return fields

    def rain_mm(self, indices: Indices) -> Floats:
        """Observed rain (sample, y, x), NaN where nothing was observed."""
        return np.stack([self._archive.rain_mm(int(row)) for row in self._rows[indices]])


def _check_scored(settings: DataSettings, field_shape: tuple[int, int]) -> None:
    if settings.scored and any(
        part.stop > cells for part, cells in zip(settings.scored.slices, field_shape, strict=True)
    ):
        raise InputError(
            "The part to be scored is not in the fields",
            where=f"data.scored, {settings.archive}",
            expected=f"inside {field_shape[0]} x {field_shape[1]} cells",
            got=repr(settings.scored),
        )


def condition_values(
    conditions: Sequence[Condition], reference_times: Times, leads_hours: NDArray[np.int64]
) -> tuple[tuple[str, ...], Floats]:
    """Names and values (sample, plane) of the condition planes."""
    leads = leads_hours.astype(np.float64)
    hour = (reference_times - reference_times.astype("datetime64[D]")) / np.timedelta64(1, "h") + leads
    angle = 2 * math.pi * hour / 24
    planes = {
        "lead": {"lead": (leads - LEAD_CENTRE_HOURS) / LEAD_SCALE_HOURS},
        "hour": {"hour_sine": np.sin(angle), "hour_cosine": np.cos(angle)},
    }
    chosen = {name: values for condition in conditions for name, values in planes[condition].items()}
    if not chosen:
        return (), np.empty((len(leads), 0), np.float32)
    return tuple(chosen), np.stack(list(chosen.values()), axis=1).astype(np.float32)


def labelled(reference_times: Times, share: float) -> NDArray[np.bool_]:
    """Which samples belong to a share of the cycles, drawn by a digest of the cycle's time.

    The same cycles on every machine, and a smaller share is part of every larger one.
    """
    cycles, cycle = np.unique(reference_times, return_inverse=True)
    order = sorted(
        range(len(cycles)), key=lambda number: hashlib.sha256(str(cycles[number]).encode()).digest()
    )
    chosen = np.zeros(len(cycles), bool)
    chosen[order[: math.ceil(share * len(cycles))]] = True
    return chosen[cycle]


def _describe(archive: Archive, settings: DataSettings, rows: dict[str, Rows]) -> Description:
    index = archive.index
    shares = {}
    for name in SPLITS:
        cells = index.cells[rows[name]].sum(axis=0)
        if not cells.sum():
            raise InputError(f"The {name} split has no observation", where=str(archive.path))
        shares[name] = tuple(float(share) for share in cells / cells.sum())
    return Description(
        **dict(archive.header),
        normalisation=normalisation(archive, settings.splits, rows["train"]),
        samples={name: len(rows[name]) for name in SPLITS},
        wet_samples={name: int(index.wet[rows[name]].sum()) for name in SPLITS},
        cycles={name: len(np.unique(index.reference_times[rows[name]])) for name in SPLITS},
        class_shares=shares,
        digest=archive.digest,
        statistics_digest=statistics_digest(archive, settings.splits),
    )
