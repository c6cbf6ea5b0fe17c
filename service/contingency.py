"""The 2 x 2 contingency table of an event, and the scores that follow from it.

Source: Jolliffe and Stephenson (2012), Forecast Verification, 2nd edition, chapter 3,
doi:10.1002/9781119960003. Counts are added first and divided last, so that scores hold for any period.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Contingency:
    """Numbers of cells by whether the event was forecast and whether it was observed."""

    hits: int = 0
    misses: int = 0
    false_alarms: int = 0
    correct_negatives: int = 0

    @classmethod
    def of(cls, forecast: NDArray[np.bool_], observed: NDArray[np.bool_]) -> Contingency:
        """Count two arrays of the same shape."""
        hits = int(np.count_nonzero(forecast & observed))
        false_alarms = int(np.count_nonzero(forecast)) - hits
        misses = int(np.count_nonzero(observed)) - hits
        return cls(hits, misses, false_alarms, forecast.size - hits - misses - false_alarms)

    def __add__(self, other: Contingency) -> Contingency:
        return Contingency(
            self.hits + other.hits,
            self.misses + other.misses,
            self.false_alarms + other.false_alarms,
            self.correct_negatives + other.correct_negatives,
        )

    @property
    def cells(self) -> int:
        """All that were compared."""
        return self.hits + self.misses + self.false_alarms + self.correct_negatives


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


SCORES: Final[dict[str, Callable[[Contingency], float | None]]] = {
    "critical_success_index": lambda n: _ratio(n.hits, n.hits + n.misses + n.false_alarms),
    "probability_of_detection": lambda n: _ratio(n.hits, n.hits + n.misses),
    "false_alarm_ratio": lambda n: _ratio(n.false_alarms, n.hits + n.false_alarms),
    "precision": lambda n: _ratio(n.hits, n.hits + n.false_alarms),
    "recall": lambda n: _ratio(n.hits, n.hits + n.misses),
    "f1": lambda n: _ratio(2 * n.hits, 2 * n.hits + n.misses + n.false_alarms),
    "frequency_bias": lambda n: _ratio(n.hits + n.false_alarms, n.hits + n.misses),
}
"""Name to function; None where the score is not defined, because nothing stands below the line.

Recall is another name of the probability of detection, precision is one less the false alarm ratio."""
