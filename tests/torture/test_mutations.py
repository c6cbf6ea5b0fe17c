"""Mutations: the same from the same generator, and each does what it says."""

from __future__ import annotations

import numpy as np
import pytest

from tests.service.sample_cycle import SampleField, encode, sample_fields
from tests.service.sample_grib_edition1 import amounts, message
from tests.torture.mutations import (
    ANY,
    CLASSIC,
    GRIB1,
    GRIB2,
    HDF5,
    Mutation,
    giant_first_edition_grid,
    giant_grid,
    grib_sections,
    repeat,
)

FIRST: SampleField = next(iter(sample_fields()))
EDITION_2 = 2 * encode(FIRST)
EDITION_1 = message(amounts())
HDF5_LIKE = np.arange(1000, dtype="<u8").tobytes()
CASES = (
    [(one, EDITION_2) for one in (*ANY, *GRIB2)]
    + [(one, EDITION_1) for one in GRIB1]
    + [(one, HDF5_LIKE) for one in (*CLASSIC, *HDF5)]
)


@pytest.mark.parametrize(("mutation", "content"), CASES)
def test_a_mutation_changes_something_and_can_be_repeated(mutation: Mutation, content: bytes) -> None:
    made = [mutation(content, np.random.default_rng(number)) for number in range(20)]
    assert made == [mutation(content, np.random.default_rng(number)) for number in range(20)]
    assert sum(one != content for one in made) >= 10
    assert len(set(made)) > 3


def test_sections_are_found_in_both_editions() -> None:
    assert [EDITION_2[start + 4] for start, _ in grib_sections(EDITION_2)] == [1, 3, 4, 5, 6, 7] * 2
    starts, sizes = zip(*grib_sections(EDITION_1), strict=True)
    assert starts[0] == 8
    assert 8 + sum(sizes) + 4 == len(EDITION_1)


def test_giant_grids_are_giant() -> None:
    made = giant_grid(EDITION_2, np.random.default_rng(1))
    start = next(start for start, _ in grib_sections(EDITION_2) if EDITION_2[start + 4] == 3)
    nx, ny = (int.from_bytes(made[start + place : start + place + 4]) for place in (30, 34))
    assert nx * ny >= 49_000_000
    made = giant_first_edition_grid(EDITION_1, np.random.default_rng(1))
    start = grib_sections(EDITION_1)[1][0]
    assert int.from_bytes(made[start + 6 : start + 8]) >= 7000


def test_repeated_messages_are_whole() -> None:
    made = repeat(EDITION_1, np.random.default_rng(0))
    assert made == EDITION_1 * (len(made) // len(EDITION_1))
