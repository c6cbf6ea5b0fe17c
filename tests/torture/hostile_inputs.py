"""Hostile inputs by their number: a sound submission, of which one file was spoiled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.torture.hostile_seeds import Seed
from tests.torture.mutations import ANY

SIMULATED_EVERY = 50
_SECOND_MUTATION = 0.3


@dataclass(frozen=True)
class Hostile:
    """A submission of which one file is not what it seems. name: of the seed and what was done to it."""

    index: int
    name: str
    seed: Seed
    content: bytes

    def write(self, folder: Path) -> list[Path]:
        """Its files, in their order."""
        paths = []
        for number, (name, content) in enumerate(self.seed.files):
            path = folder / name
            path.write_bytes(self.content if number == self.seed.mutated else content)
            paths.append(path)
        return paths


def hostile(seeds: Sequence[Seed], number: int, index: int) -> Hostile:
    """The input of an index; the same for the same seeds and the same number."""
    random = np.random.default_rng([number, index])
    seed = seeds[int(random.integers(len(seeds)))]
    mutation = seed.mutations[int(random.integers(len(seed.mutations)))]
    content, names = mutation(seed.files[seed.mutated][1], random), [mutation.__name__]
    if random.random() < _SECOND_MUTATION and len(content) > 16:
        further = ANY[int(random.integers(len(ANY)))]
        content = further(content, random)
        names.append(further.__name__)
    return Hostile(index, f"{index} {seed.name} {'+'.join(names)}", seed, content)


def inputs(
    samples: Sequence[Seed], simulated: Sequence[Seed], number: int, indices: Iterable[int]
) -> Iterator[Hostile]:
    """These inputs, of which every fiftieth comes from the simulated cycle where there is one."""
    for index in indices:
        large = simulated and index % SIMULATED_EVERY == SIMULATED_EVERY - 1
        yield hostile(simulated if large else samples, number, index)
