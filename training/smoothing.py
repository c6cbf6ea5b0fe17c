"""The raw forecast smoothed by a Gaussian: no learning but a width and a level, and hard to beat.

Smoothing admits that the place of rain is uncertain; the level makes up for the peaks that it takes away.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveFloat
from scipy import ndimage

from service.channels import THRESHOLDS_MM
from training.counting import AMOUNTS_MM, Observed, tuned_level
from training.forecasts import Forecast, System, of_amounts
from training.progress import Progress
from training.samples import Floats, Split

WIDTHS_CELLS: Final = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 17.0, 22.0, 28.0, 36.0)


class SmoothedSettings(BaseModel):
    """``[system]`` of the raw forecast, smoothed. widths_cells: standard deviations to choose from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["smoothed"]
    widths_cells: tuple[PositiveFloat, ...] = WIDTHS_CELLS


def smoothed(rain_mm: Floats, width_cells: float) -> Floats:
    """Gaussian smoothing of (sample, y, x) in space; the edge value continues outside."""
    result: Floats = ndimage.gaussian_filter(rain_mm, (0, width_cells, width_cells), mode="nearest")
    return result


def tuned_widths(
    rain_mm: Floats, observed_mm: Floats, widths_cells: tuple[float, ...] = WIDTHS_CELLS
) -> tuple[float, ...]:
    """The width with the highest CSI at each threshold, each width with its own best level."""
    best = [(-1.0, 0.0)] * len(THRESHOLDS_MM)
    progress = Progress("widths", len(widths_cells), "widths")
    for width in widths_cells:
        strength = smoothed(rain_mm, width)
        for place, threshold in enumerate(THRESHOLDS_MM):
            _, csi = tuned_level(strength, observed_mm, threshold, AMOUNTS_MM)
            best[place] = max(best[place], (csi, width))
        progress.advance()
    return tuple(width for _, width in best)


def fit(settings: SmoothedSettings, validation: Split) -> tuple[System, tuple[float, ...]]:
    """The system, and its widths in cells by threshold."""
    observed = Observed.of(validation)
    widths = tuned_widths(validation.raw_rain_mm(), observed.rain_mm, settings.widths_cells)

    def _forecast(split: Split) -> Forecast:
        rain_mm = split.raw_rain_mm()
        by_width = {width: smoothed(rain_mm, width) for width in np.unique(widths)}
        return of_amounts(*(by_width[width] for width in widths))

    return _forecast, widths
