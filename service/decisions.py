"""From probabilities to the class that a model calls.

A rare class is hardly ever the most likely one. A model that was tuned says in its manifest from which
probability on a threshold counts as reached, and calls by that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.artefact import Manifest


def exceedance(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (lead, threshold, y, x) of reaching each threshold: those of all classes above it.

    probabilities: (lead, class, y, x).
    """
    above = np.cumsum(probabilities[:, :0:-1], axis=1, dtype=np.float64)[:, ::-1]
    return np.minimum(above, 1.0).astype(np.float32)


def decision_probabilities(manifest: Manifest) -> tuple[float | None, ...]:
    """For each threshold the probability from which on the model calls it, None where it has none."""
    tuned = {float(threshold): value for threshold, value in manifest.decision_thresholds.items()}
    return tuple(tuned.get(threshold) for threshold in manifest.thresholds_mm)


def called(
    reached: Sequence[NDArray[np.float32]], likely: NDArray[np.integer], decisions: Sequence[float | None]
) -> NDArray[np.int8]:
    """Numbers of the classes that are called.

    It is the highest class whose threshold is reached with at least its decision probability; where a
    threshold has none, the most likely class decides. Verification asks for each threshold by itself, so that
    it may count heavy rain as called and rain as not; here who calls heavy rain calls rain.

    likely: numbers of the most likely classes, of any shape. reached: for each threshold the probabilities of
    reaching it, of the same shape.
    """
    result = np.zeros(likely.shape, np.int8)
    for number, (probability, decision) in enumerate(zip(reached, decisions, strict=True)):
        above = likely > number if decision is None else probability >= decision
        result[above] = number + 1
    return result


def called_classes(probabilities: NDArray[np.float32], manifest: Manifest) -> NDArray[np.int8]:
    """``called`` (lead, y, x) for probabilities of the classes (lead, class, y, x)."""
    reached = np.moveaxis(exceedance(probabilities), 1, 0)
    return called(list(reached), probabilities.argmax(axis=1), decision_probabilities(manifest))
