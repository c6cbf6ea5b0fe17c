"""Few numbers of a cycle that show whether its input and its output look as they should."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from service.artefact import Manifest, normalise
from service.channels import PRECIPITATION_CHANNEL
from service.cycle import CycleInput
from service.decisions import called_classes
from service.verification_counts import Source


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChannelSummary(_Frozen):
    """z-scores of one channel over all leads and cells.

    mean, standard_deviation and largest, the largest magnitude, are 0, 1 and a few where the input is like
    that of the training. missing_ratio: share of the values of the model's leads that are not there.
    """

    mean: float
    standard_deviation: float
    largest: float
    missing_ratio: float


class ClassRatio(_Frozen):
    """Share of the cells of one lead that one source puts into one class."""

    source: Source
    lead_hours: int
    name: str
    ratio: float


class CycleSummary(_Frozen):
    """Input by channel, output by source, lead and class."""

    channels: dict[str, ChannelSummary]
    classes: tuple[ClassRatio, ...]


def summarise(cycle: CycleInput, probabilities: NDArray[np.float32], manifest: Manifest) -> CycleSummary:
    """What a cycle came in as and went out as.

    probabilities: (lead, class, y, x) for the leads of the cycle, which may be fewer than the manifest's.
    """
    scores = normalise(cycle.values, manifest).astype(np.float64)
    cells = len(manifest.cycle.leads_hours) * scores[0, 0].size
    rain_mm = cycle.values[:, cycle.channels.index(PRECIPITATION_CHANNEL)]
    return CycleSummary(
        channels={
            channel: _summarise_channel(scores[:, index], cells)
            for index, channel in enumerate(cycle.channels)
        },
        classes=(
            *_ratios("model", called_classes(probabilities, manifest), cycle, manifest),
            *_ratios("raw", np.digitize(rain_mm, _thresholds(manifest)), cycle, manifest),
        ),
    )


def _thresholds(manifest: Manifest) -> NDArray[np.float32]:
    # In the precision of the amounts: 0.1 as float64 is more than 0.1 as float32.
    return np.array(manifest.thresholds_mm, np.float32)


def _summarise_channel(scores: NDArray[np.float64], cells: int) -> ChannelSummary:
    present = scores[np.isfinite(scores)]
    if present.size == 0:
        return ChannelSummary(mean=0.0, standard_deviation=0.0, largest=0.0, missing_ratio=1.0)
    return ChannelSummary(
        mean=float(present.mean()),
        standard_deviation=float(present.std()),
        largest=float(np.abs(present).max()),
        missing_ratio=1.0 - present.size / cells,
    )


def _ratios(
    source: Source, classes: NDArray[np.integer], cycle: CycleInput, manifest: Manifest
) -> list[ClassRatio]:
    """classes: number of the class, (lead, y, x)."""
    return [
        ClassRatio(source=source, lead_hours=lead, name=name, ratio=float(np.mean(classes[index] == number)))
        for index, lead in enumerate(cycle.leads_hours)
        for number, name in enumerate(manifest.classes)
    ]
