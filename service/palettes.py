"""Colours of the layers: those of the page (``page/palettes.js``), for pictures that the service draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.layers import Layer

Colour = str
"""#rrggbb."""

NO_VALUE: Final[Colour] = "#b9bec4"
"""Of cells of the product without a value: a missing lead is not dry."""


@dataclass(frozen=True)
class Palette:
    """colours: from each level to the next one, the last without an end; None is transparent."""

    levels: tuple[float, ...]
    colours: tuple[Colour | None, ...]

    def paint(self, values: ArrayLike) -> NDArray[np.uint8]:
        """Red, green, blue and opacity (..., 4) of values; below the first level nothing is drawn."""
        amounts = np.asarray(values, np.float64)
        table = np.array([_rgba(None), *(_rgba(one) for one in self.colours), _rgba(NO_VALUE)], np.uint8)
        # A value that is a level but for the rounding of float32 has reached it, as on the page.
        index = np.digitize(amounts * (1.0 + 2e-7), self.levels)
        return table[np.where(np.isnan(amounts), len(table) - 1, index)]


RAIN: Final = Palette(
    (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0),
    (
        *("#cfe8f5", "#a5d3ec", "#74b9e1", "#3f98d1", "#1f6fb8"),
        *("#4b4bb0", "#6b2a9c", "#6d0f6e", "#3b0236"),
    ),
)
PROBABILITY: Final = Palette(
    (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    (
        *("#e9f3fa", "#d3e6f4", "#b7d7ed", "#94c4e3", "#6caed7"),
        *("#4896c9", "#2c7cb9", "#1862a3", "#0c4783", "#08306b"),
    ),
)
RARE_PROBABILITY: Final = Palette(
    (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8),
    (
        *("#fff3c4", "#fee59a", "#fed272", "#feb550", "#fd9640"),
        *("#f87132", "#e94a26", "#cd2320", "#9f0f26", "#64031f"),
    ),
)
CLASSES: Final = Palette((0.0, 1.0, 2.0), (None, "#5aa6dc", "#c4401c"))


def palette_of(layer: Layer, thresholds_mm: tuple[float, ...]) -> Palette:
    """The palette of a layer of a product with these thresholds; the highest one is rare."""
    if layer.kind == "rain":
        return RAIN
    if layer.kind == "class":
        return CLASSES
    return RARE_PROBABILITY if layer.threshold_mm == max(thresholds_mm) else PROBABILITY


def _rgba(colour: Colour | None) -> tuple[int, int, int, int]:
    if colour is None:
        return 0, 0, 0, 0
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:], 16), 255
