"""Gradient-boosted trees cell by cell: three classes from the channels of the cell and a small neighbourhood.

What a cell is told: every channel; the mean of every channel over 15 x 15 cells; the mean and the maximum
of the rain over 3 x 3, 7 x 7 and 15 x 15 cells; the convergence of the wind at every level that has both
components, over 7 cells; the lead. No training sample is seen whole: a few cells of each class are drawn
from it, and weighted so that the classes count as often as they occur.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier

from service.channels import CLASSES, PRECIPITATION_CHANNEL, THRESHOLDS_MM
from service.errors import InputError
from training.forecasts import Forecast, System, of_classes
from training.progress import Progress
from training.samples import PAIRS_CHANNEL, Floats, Split

NEIGHBOURHOODS_CELLS: Final = (3, 7, 15)
CONVERGENCE_CELLS: Final = 3
"""Half the distance over which winds are compared."""
EASTWARD, NORTHWARD = "eastward_wind_", "northward_wind_"


class TreesSettings(BaseModel):
    """``[system]`` of the trees.

    cells_per_class: most cells of each class that are drawn from a training sample.
    rounds: trees of each class. learning_rate, leaves: of the trees. cells_per_leaf: at least, of the drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["trees"]
    cells_per_class: int = Field(default=50, gt=0)
    rounds: int = Field(default=50, gt=0)
    learning_rate: float = Field(default=0.2, gt=0)
    leaves: int = Field(default=31, gt=1)
    cells_per_leaf: int = Field(default=100, gt=0)


class Neighbourhoods:
    """What the trees are told of every cell.

    Args:
        channels: names, in the order of the fields.

    Raises:
        InputError: no channel is precipitation.
    """

    def __init__(self, channels: Sequence[str]) -> None:
        places = {name: place for place, name in enumerate(channels)}
        rain = [places[name] for name in (PRECIPITATION_CHANNEL, PAIRS_CHANNEL) if name in places]
        if not rain:
            raise InputError("No channel is precipitation", got=", ".join(channels))
        self._rain = rain[0]
        self._winds = [
            (place, places[NORTHWARD + name.removeprefix(EASTWARD)])
            for name, place in places.items()
            if name.startswith(EASTWARD) and NORTHWARD + name.removeprefix(EASTWARD) in places
        ]

    def __call__(self, fields: Floats, lead_hours: int) -> Floats:
        """(cell, feature) of fields (channel, y, x) in physical units, row by row."""
        rain = fields[self._rain]
        widest = NEIGHBOURHOODS_CELLS[-1]
        planes = [*fields, *ndimage.uniform_filter(fields, (0, widest, widest), mode="nearest")]
        for size in NEIGHBOURHOODS_CELLS:
            planes.append(ndimage.maximum_filter(rain, size, mode="nearest"))
            if size != widest:
                planes.append(ndimage.uniform_filter(rain, size, mode="nearest"))
        planes += [_convergence(fields[east], fields[north]) for east, north in self._winds]
        planes.append(np.full_like(rain, lead_hours))
        return np.stack(planes, axis=-1).reshape(rain.size, -1)


def _convergence(eastward: Floats, northward: Floats) -> Floats:
    """Up to a factor; rows count northward."""
    return -(_difference(eastward, axis=1) + _difference(northward, axis=0))


def _difference(field: Floats, axis: int) -> Floats:
    weights = np.zeros(2 * CONVERGENCE_CELLS + 1, np.float32)
    weights[0], weights[-1] = -1, 1
    result: Floats = ndimage.correlate1d(field, weights, axis=axis, mode="nearest")
    return result


def drawn_cells(
    rain_mm: Floats, cells_per_class: int, generator: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Numbers of some cells of a field (y, x), their classes, and how many cells each of them stands for."""
    flat = rain_mm.ravel()
    classes = np.digitize(flat, THRESHOLDS_MM)
    cells, weights = [], []
    for number in range(len(CLASSES)):
        members = np.flatnonzero((classes == number) & ~np.isnan(flat))
        drawn = generator.choice(members, min(cells_per_class, len(members)), replace=False)
        cells.append(drawn)
        weights.append(np.full(len(drawn), len(members) / max(len(drawn), 1)))
    chosen = np.concatenate(cells)
    return chosen, classes[chosen], np.concatenate(weights)


def fit(settings: TreesSettings, training: Split, seed: int) -> System:
    """From the training split. seed: of the cells that are drawn, and of the trees."""
    describe = Neighbourhoods(training.description.channels)
    generator = np.random.default_rng(seed)
    progress = Progress("cells for the trees", len(training), "samples")
    parts: list[tuple[Any, ...]] = []
    for index in range(len(training)):
        cells, classes, weights = drawn_cells(
            training.rain_mm([index])[0], settings.cells_per_class, generator
        )
        features = describe(training.physical(index), int(training.leads_hours[index]))
        parts.append((features[cells], classes, weights))
        progress.advance()
    features, classes, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    trees = HistGradientBoostingClassifier(
        max_iter=settings.rounds,
        learning_rate=settings.learning_rate,
        max_leaf_nodes=settings.leaves,
        min_samples_leaf=settings.cells_per_leaf,
        early_stopping=False,
        random_state=seed,
    )
    trees.fit(features, classes, sample_weight=weights / weights.mean())
    return system(trees, describe)


def system(trees: HistGradientBoostingClassifier, describe: Neighbourhoods) -> System:
    """Fitted trees as a system; a class that they never saw has no probability."""

    def _forecast(split: Split) -> Forecast:
        classes = np.zeros((len(split), len(CLASSES), *split.field_shape), np.float32)
        progress = Progress("trees", len(split), "samples")
        for index in range(len(split)):
            features = describe(split.physical(index), int(split.leads_hours[index]))
            probabilities = trees.predict_proba(features).T.reshape(-1, *split.field_shape)
            classes[index, trees.classes_] = probabilities
            progress.advance()
        return of_classes(classes)

    return _forecast
