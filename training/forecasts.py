"""What a system says of the samples of a split, in the one form that is scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.channels import THRESHOLDS_MM
from service.specification import Window
from training.samples import Floats, Split

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Forecast:
    """Of all samples of a split, in its order.

    Attributes:
        strengths: (threshold, sample, y, x), what is held against a level that is tuned: probabilities of
            exceeding the threshold, or amounts in mm, which may differ between the thresholds.
        untuned: (threshold, sample, y, x), where the event is called without any tuning.
        probabilistic: strengths are probabilities.
    """

    strengths: Floats
    untuned: Flags
    probabilistic: bool

    def within(self, window: Window) -> Forecast:
        """What it says of a part of the fields."""
        inside = (..., *window.slices)
        return replace(self, strengths=self.strengths[inside], untuned=self.untuned[inside])


System = Callable[[Split], Forecast]
"""Anything that forecasts a split. It must not look at the observations of the split it is given."""


def of_amounts(*amounts_mm: Floats) -> Forecast:
    """From amounts (sample, y, x): one for all thresholds or one for each."""
    each = amounts_mm * len(THRESHOLDS_MM) if len(amounts_mm) == 1 else amounts_mm
    strengths = np.stack(each)
    thresholds = np.array(THRESHOLDS_MM, np.float32)[:, None, None, None]
    return Forecast(strengths, strengths >= thresholds, probabilistic=False)


def of_classes(classes: Floats) -> Forecast:
    """From probabilities of the classes (sample, class, y, x)."""
    return Forecast(exceedances(classes), called(classes), probabilistic=True)


def exceedances(classes: Floats) -> Floats:
    """Probabilities (threshold, sample, y, x) of exceeding, from those of the classes.

    Class probabilities are (sample, class, y, x).
    """
    above = classes[:, :0:-1].cumsum(axis=1)[:, ::-1]
    return np.ascontiguousarray(above.swapaxes(0, 1))


def class_probabilities(exceeding: Floats) -> Floats:
    """The inverse of ``exceedances``."""
    bounds = np.concatenate([np.ones_like(exceeding[:1]), exceeding, np.zeros_like(exceeding[:1])])
    return np.ascontiguousarray((bounds[:-1] - bounds[1:]).swapaxes(0, 1))


def called(classes: Floats) -> Flags:
    """(threshold, sample, y, x), where the most probable class lies above the threshold."""
    likeliest = classes.argmax(axis=1)
    return np.stack([likeliest > index for index in range(len(THRESHOLDS_MM))])
