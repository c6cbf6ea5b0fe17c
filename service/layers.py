"""Layers of a product for the map: whole fields of all leads, packed small enough for a phone.

A layer is (lead, y, x) in the order of the product, C order, little-endian, without a header. An amount or a
probability is stored in whole steps, rounded down: what is below a threshold that is a number of steps stays
below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from service.decisions import called
from service.errors import NotFound
from service.product import EXCEEDANCE, PRESENT, RAW_PRECIPITATION

Kind = Literal["probability", "class", "rain"]
Storage = Literal["uint8", "uint16"]

CLASS_LAYER: Final = "class"
RAW_LAYER: Final = "raw"
OBSERVED_LAYER: Final = "observed"
_PROBABILITY_LAYER: Final = "probability-"

_UP: Final = 1.0 + 2e-7
"""Factor before rounding down: 0.7 in float32, divided by its step, comes out just below a whole number."""


@dataclass(frozen=True)
class Packing:
    """How values become integers. step: value of one; unit: of values; missing: the integer of no value."""

    storage: Storage
    step: float
    unit: str
    missing: int

    def pack(self, values: NDArray[np.floating] | NDArray[np.integer]) -> bytes:
        """Of any shape; NaN and what cannot be stored become missing and the largest integer."""
        steps = np.floor(values.astype(np.float64) / self.step * _UP)
        packed = np.where(np.isnan(steps), self.missing, np.clip(steps, 0, self.missing - 1))
        return packed.astype(np.dtype(self.storage).newbyteorder("<")).tobytes()


PACKINGS: Final[dict[Kind, Packing]] = {
    "probability": Packing("uint8", 0.005, "1", 255),
    "class": Packing("uint8", 1.0, "", 255),
    "rain": Packing("uint16", 0.01, "mm", 65535),
}


@dataclass(frozen=True)
class Layer:
    """A layer that a product has. threshold_mm: of a probability."""

    name: str
    kind: Kind
    threshold_mm: float | None = None


def layers_of(dataset: xr.Dataset) -> tuple[Layer, ...]:
    """All layers, probabilities first, with the one of observations, which may hold none."""
    probabilities = [
        Layer(f"{_PROBABILITY_LAYER}{threshold:g}", "probability", threshold)
        for threshold in _thresholds(dataset)
    ]
    others = (Layer(CLASS_LAYER, "class"), Layer(RAW_LAYER, "rain"), Layer(OBSERVED_LAYER, "rain"))
    return (*probabilities, *others)


def find_layer(dataset: xr.Dataset, name: str) -> Layer:
    """The layer of a name. Raises NotFound."""
    layers = layers_of(dataset)
    for layer in layers:
        if layer.name == name:
            return layer
    raise NotFound(
        "no such layer", where="layer", expected=f"one of {', '.join(one.name for one in layers)}", got=name
    )


def pack_layer(dataset: xr.Dataset, layer: Layer) -> bytes:
    """The bytes of a layer that the product itself holds: any but the observations."""
    packing = PACKINGS[layer.kind]
    if layer.kind == "probability":
        index = [one.threshold_mm for one in layers_of(dataset)].index(layer.threshold_mm)
        return packing.pack(dataset[EXCEEDANCE].values[index])
    if layer.kind == "class":
        return packing.pack(called_class(dataset))
    return packing.pack(dataset[RAW_PRECIPITATION].values)


def pack_observations(fields: Sequence[NDArray[np.float32] | None], shape: tuple[int, int]) -> bytes:
    """The bytes of the observed rain, a field of (y, x) or None for each lead."""
    nothing = np.full(shape, np.nan, np.float32)
    whole = np.stack([nothing if field is None else field for field in fields])
    return PACKINGS["rain"].pack(whole)


def called_class(dataset: xr.Dataset) -> NDArray[np.float64]:
    """The class (lead, y, x) that the model calls (``service.decisions``), NaN where the lead is missing."""
    likely = dataset["most_likely_class"].values
    classes = called(list(dataset[EXCEEDANCE].values), likely, decision_probabilities(dataset)).astype(
        np.float64
    )
    classes[dataset["lead_status"].values != PRESENT] = np.nan
    return classes


def decision_probabilities(dataset: xr.Dataset) -> tuple[float | None, ...]:
    """For each threshold the probability from which on the model calls it, None where it has none."""
    thresholds = _thresholds(dataset)
    found = dataset[EXCEEDANCE].attrs.get("decision_probability", [np.nan] * len(thresholds))
    return tuple(None if np.isnan(one) else float(one) for one in np.atleast_1d(found))


def _thresholds(dataset: xr.Dataset) -> list[float]:
    return [float(one) for one in dataset["threshold"].values]
