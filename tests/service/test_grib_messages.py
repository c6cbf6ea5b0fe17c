"""The walk over messages: what it reads and what it passes over."""

from __future__ import annotations

from pathlib import Path

import pytest

from service import grib
from service.grib_messages import DATA, Extent, Octets, message, messages, single
from tests.service.sample_grib import Sample, joined, multi_field, sections, smooth, write
from tests.service.sample_reads import counted_reads, packed_values

LARGE = smooth(ny=60, nx=80)


@pytest.mark.parametrize("packing", ["grid_simple", "grid_ccsds", "grid_jpeg"])
def test_a_message_that_is_passed_over_costs_one_short_read(tmp_path: Path, packing: str) -> None:
    count = 30
    path = write(tmp_path / "fields.grib2", *[Sample(LARGE, packing=packing, bits=24).message()] * count)
    with counted_reads() as reads:
        assert len(grib.scan(path)) == count
    assert len(reads.extents[path.name]) <= count + 2
    assert reads.bytes_of(path) <= 1024 * (count + 2)
    assert reads.bytes_of(path) < path.stat().st_size / 5


def test_octets_are_those_of_the_file_wherever_they_are_asked_for(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    path = tmp_path / "octets"
    path.write_bytes(content)
    with path.open("rb") as file:
        octets = Octets(file)
        for start, length in [
            (0, 10),
            (5, 1000),
            (1020, 8),
            (3, 7),
            (9000, 2000),
            (10230, 50),
            (2000, 1024),
            (0, 0),
        ]:
            assert octets.at(start, length) == content[start : start + length]
        assert octets.size == len(content)


def test_one_field_of_several_is_cut_out_with_the_sections_it_shares(tmp_path: Path) -> None:
    first, second = (Sample(smooth(seed), code=(0, 2, 2 + seed)).message() for seed in (0, 1))
    path = write(tmp_path / "wind.grib2", b"heading", multi_field(first, second), first)
    with path.open("rb") as file:
        octets = Octets(file)
        joint, alone = messages(octets, path.name)
        assert [single(octets, joint, field) for field in joint.fields] == [
            joined(0, [part for _, part in sections(one)]) for one in (first, second)
        ]
        assert single(octets, alone, alone.fields[0]) == first
        assert message(octets, path.name, alone.extent.start, 2) == alone
    assert alone.extent == Extent(path.stat().st_size - len(first), len(first))
    assert [one.length for one in packed_values(path)] == [
        len(dict(sections(octets))[DATA]) for octets in (first, second, first)
    ]
