"""In which order a training sees its samples, and reading the next ones while it works on those before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]

Batch = TypeVar("Batch")
"""What a reader makes of the numbers of some samples."""


def batches(samples: int, batch: int, seed: int, first: int, end: int) -> Iterator[Indices]:
    """Numbers of the samples of the updates ``first`` to before ``end``.

    Shuffled passes over all samples, one after the other, cut into batches: every update has as many.
    """
    number, order = -1, np.empty(0, np.intp)
    for update in range(first, end):
        chosen = []
        for position in range(update * batch, (update + 1) * batch):
            if position // samples != number:
                number = position // samples
                order = np.random.default_rng((seed, number)).permutation(samples)
            chosen.append(order[position % samples])
        yield np.array(chosen)


class Clock:
    """Which share of the time is spent waiting."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._waited = 0.0

    @property
    def share(self) -> float:
        """Since the clock was made."""
        return self._waited / max(time.monotonic() - self._start, 1e-9)

    def waited(self, seconds: float) -> None:
        """Adds a wait."""
        self._waited += seconds


def read_ahead(
    read: Callable[[Indices], Batch], numbers: Iterator[Indices], clock: Clock
) -> Iterator[tuple[Indices, Batch]]:
    """Batches in order; while one is worked on, the next is read in another thread."""
    with ThreadPoolExecutor(1) as reader:
        upcoming = next(numbers, None)
        future = None if upcoming is None else reader.submit(read, upcoming)
        while upcoming is not None and future is not None:
            started = time.monotonic()
            batch = future.result()
            clock.waited(time.monotonic() - started)
            current, upcoming = upcoming, next(numbers, None)
            future = None if upcoming is None else reader.submit(read, upcoming)
            yield current, batch
