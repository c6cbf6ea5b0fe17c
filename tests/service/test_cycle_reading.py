"""What reading a cycle costs, by counting: bytes, decodings, memory. Never by the clock."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import eccodes
import numpy as np
import pytest
from numpy.typing import NDArray

from service.channels import CHANNELS, PRECIPITATION_CHANNEL
from service.cycle import read_cycle
from tests.service.sample_assembly import LEADS_HOURS, SPECIFICATION, instant, rain
from tests.service.sample_grib import Sample, smooth, write
from tests.service.sample_reads import Reads, counted_reads, packed_values

NY, NX = 70, 170
WANTED = len(LEADS_HOURS) * len(CHANNELS) + 1
SHORT = 1024
"""Bytes of the longest read that serves headers."""


@dataclass(frozen=True)
class CycleFile:
    """wanted: which of the messages in the file a reader needs."""

    path: Path
    wanted: tuple[bool, ...]


def wide(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A field far beyond the target, and so rough that no packing makes it small."""
    ny, nx = values.shape
    rough = smooth(1, 0.0, 1.0, NY, NX)
    return np.pad(values, ((0, NY - ny), (0, NX - nx)), mode="symmetric") + rough


def messages(lead_hours: int) -> Iterator[tuple[Sample, bool]]:
    """Each channel between another level and another quantity, and whether it is wanted."""
    for name in CHANNELS:
        first = lead_hours < LEADS_HOURS[0]
        if name == PRECIPITATION_CHANNEL:
            yield rain(lead_hours), True
            continue
        sample = instant(name, lead_hours)
        yield replace(sample, surface=(100, 30000)), False
        yield sample, not first
        yield replace(sample, code=(0, 6, 1)), False


def cycle_files(folder: Path, packing: str) -> list[CycleFile]:
    """One file a lead, and a whole one of the lead before, of which only the rain is needed."""
    files = []
    for lead_hours in (LEADS_HOURS[0] - 1, *LEADS_HOURS):
        content = list(messages(lead_hours))
        samples = [replace(one, values=wide(one.values), packing=packing, bits=20) for one, _ in content]
        path = write(folder / f"h{lead_hours:03d}.grib2", *samples)
        files.append(CycleFile(path, tuple(wanted for _, wanted in content)))
    return files


def long_reads(reads: Reads, file: CycleFile) -> list[int]:
    """How often the packed values of each message were read, as far as a header did not bring them along."""
    return [
        sum(one.length > 0 for one in reads.within(file.path, values)) for values in packed_values(file.path)
    ]


PACKINGS = ("grid_simple", "grid_complex_spatial_differencing", "grid_ccsds", "grid_jpeg")


@pytest.fixture(scope="module")
def cycles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[CycleFile]]:
    """The cycle in every packing."""
    return {packing: cycle_files(tmp_path_factory.mktemp(packing), packing) for packing in PACKINGS}


@pytest.mark.parametrize("packing", PACKINGS)
def test_packed_values_are_read_once_where_wanted_and_never_elsewhere(
    cycles: dict[str, list[CycleFile]], packing: str
) -> None:
    files = cycles[packing]
    with counted_reads() as reads:
        read_cycle([file.path for file in files], SPECIFICATION)
    for extents in reads.extents.values():
        extents[:] = [extent for extent in extents if extent.length > SHORT]
    for file in files:
        assert long_reads(reads, file) == [int(wanted) for wanted in file.wanted]
    assert [len(reads.extents[file.path.name]) for file in files] == [1, len(CHANNELS), len(CHANNELS)]


def test_of_simple_packing_only_the_rows_of_the_target_are_read(cycles: dict[str, list[CycleFile]]) -> None:
    files = cycles["grid_simple"]
    with counted_reads() as reads:
        read_cycle([file.path for file in files], SPECIFICATION)
    for file in files:
        headers = 4 * SHORT * len(file.wanted)
        rows = 8 * NX * 20 // 8
        assert reads.bytes_of(file.path) <= headers + rows * sum(file.wanted)
        assert reads.bytes_of(file.path) < file.path.stat().st_size / 4


@pytest.mark.parametrize("packing", PACKINGS)
def test_eccodes_decodes_what_is_wanted_and_cannot_be_had_in_part(
    cycles: dict[str, list[CycleFile]], packing: str
) -> None:
    paths = [file.path for file in cycles[packing]]
    decode = eccodes.codes_new_from_message
    with patch.object(eccodes, "codes_new_from_message", wraps=decode) as decodings:
        read_cycle(paths, SPECIFICATION)
    assert decodings.call_count == (0 if packing in {"grid_simple", "grid_jpeg"} else WANTED)


def test_of_fields_that_are_decoded_whole_only_the_part_is_kept(cycles: dict[str, list[CycleFile]]) -> None:
    paths = [file.path for file in cycles["grid_ccsds"]]
    read_cycle(paths, SPECIFICATION)
    tracemalloc.start()
    try:
        read_cycle(paths, SPECIFICATION)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    whole = NY * NX * np.dtype(np.float64).itemsize
    assert peak < WANTED * whole / 2
