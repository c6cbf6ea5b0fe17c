"""Horizontal grids and the way from one to another."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Grid(Protocol):
    """A horizontal grid of (y, x) points."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def latitude_longitude(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Degrees north and east, each (y, x)."""
        ...
