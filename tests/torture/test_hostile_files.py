"""Hostile files in short: some through a decoding process; the long form has ten thousand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.errors import TruncatedInput
from tests.torture.hostile_files import (
    MOST_RESIDENT_BYTES,
    MOST_RESIDENT_BYTES_OF_SERVICE,
    MOST_SECONDS,
    Decoder,
    Outcomes,
    beyond_limits,
)
from tests.torture.hostile_inputs import Hostile, hostile, inputs
from tests.torture.hostile_seeds import Seed, sample_seeds
from tests.torture.mutations import unchanged
from tests.torture.posted_files import Answers, known_reasons

SHORT_FORM = 150


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Seed]:
    return sample_seeds(tmp_path_factory.mktemp("seeds"))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decoder]:
    with Decoder(tmp_path_factory.mktemp("decoder")) as decoder:
        yield decoder


def as_it_is(seed: Seed) -> Hostile:
    return Hostile(0, seed.name, seed, seed.files[seed.mutated][1])


def test_what_is_not_spoiled_is_sound(seeds: list[Seed], decoder: Decoder) -> None:
    found = {seed.name: decoder.read(as_it_is(seed)) for seed in seeds}
    refused = {name: reason for name, reason in found.items() if reason != "sound"}
    assert refused == {
        "netcdf-giant": "wrong-grid",
        "netcdf-giant-axes": "wrong-grid",
    }
    assert decoder.outcomes.broken == []


def test_hostile_files_get_a_reason_or_make_a_sound_product(seeds: list[Seed], decoder: Decoder) -> None:
    reasons = {decoder.read(one) for one in inputs(seeds, [], 1, range(SHORT_FORM))}
    assert decoder.outcomes.broken == []
    assert reasons <= known_reasons() | {"sound"}
    assert {"sound", "truncated-file", "wrong-grid", "unrecognised-format"} <= reasons


def test_a_campaign_that_goes_on_reads_what_one_from_the_start_would(seeds: list[Seed]) -> None:
    whole, rest = (list(inputs(seeds, seeds[:1], 1, range(first, 52))) for first in (0, 45))
    assert rest == whole[45:]


def test_the_campaign_notices_a_bug(
    seeds: list[Seed], decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[str] = []
    monkeypatch.setattr(decoder.outcomes, "broken", broken)
    one = as_it_is(seeds[0])
    monkeypatch.setattr("tests.torture.hostile_files.decode_to_file", fail)
    assert decoder.read(one) == "bug KeyError"
    monkeypatch.setattr("tests.torture.hostile_files.decode_to_file", write_holes)
    decoder.read(one)
    assert [text.partition(": ")[2].partition("(")[0] for text in broken] == [
        "KeyError",
        "a cycle with holes",
    ]


def test_the_campaign_notices_what_takes_too_much() -> None:
    outcomes = Outcomes(longest_seconds=MOST_SECONDS, peak_bytes=MOST_RESIDENT_BYTES)
    answers = Answers(peak_bytes=MOST_RESIDENT_BYTES_OF_SERVICE, peak_bytes_of_workers=MOST_RESIDENT_BYTES)
    assert beyond_limits(outcomes, answers) == []
    outcomes.longest_seconds += 1
    outcomes.peak_bytes += 1
    answers.peak_bytes += 1
    assert len(beyond_limits(outcomes, answers)) == 3
    answers.peak_bytes_of_workers += 1
    assert len(beyond_limits(Outcomes(), answers)) == 2


def fail(*_: object) -> str:
    raise KeyError("of a reader")


def write_holes(paths: list[Path], *rest: object) -> str:
    with Path(str(rest[-1])).open("wb") as file:
        np.savez(
            file,
            reference_time=np.datetime64("2026-11-22", "s"),
            leads_hours=np.array([2, 3]),
            channels=np.array(["temperature_2m"]),
            values=np.full((2, 3, 8, 6), np.nan, np.float32),
        )
    return ""


def test_an_input_is_the_same_for_the_same_number(seeds: list[Seed]) -> None:
    first = [hostile(seeds, 3, index) for index in range(50)]
    assert first == [hostile(seeds, 3, index) for index in range(50)]
    assert len({one.content for one in first}) > 40
    assert {one.seed.kind for one in first} == {"cycle", "observation"}


@pytest.mark.parametrize(
    ("name", "index"),
    [("a wrong section", 44), ("a wrong length", 226), ("flipped bits", 383), ("a wrong grid", 484)],
)
def test_damage_that_once_looked_like_a_fault_of_the_service(
    name: str, index: int, seeds: list[Seed], tmp_path: Path
) -> None:
    from service.observation import read_observation

    one = hostile(seeds, 1, index)
    assert one.seed.name == "observed-grib1", name
    (path,) = one.write(tmp_path)
    with pytest.raises(TruncatedInput, match=r"observed\.grib1"):
        read_observation(path, one.seed.specification)


def test_seeds_that_are_hostile_as_they_are_come_unchanged(seeds: list[Seed]) -> None:
    giants = [seed for seed in seeds if "giant" in seed.name]
    assert len(giants) == 2
    for seed in giants:
        assert unchanged in seed.mutations
        assert len(seed.files[0][1]) < 1_000_000
