"""Files read as they arrive, in any order: the same bits, and nothing read twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service import grib
from service.cycle import CycleInput, read_cycle
from service.decoding import decode_to_file, load_cycle
from service.early_reading import EarlyReading, read_early
from service.early_results import EarlyResults
from service.errors import DigestMismatch
from service.fields import FieldHeader, Region
from service.references import hash_file
from service.submission import Submission
from service.times import iso_time
from tests.service.sample_artefact import SAMPLE_SPECIFICATION
from tests.service.sample_cycle import PRECIPITATION, REFERENCE_TIME, encode, sample_fields, write_cycle

TIME = iso_time(REFERENCE_TIME)
SPECIFICATION = SAMPLE_SPECIFICATION.model_dump_json()


@dataclass
class Arrival:
    """A cycle on its way. folder: of what is read early."""

    folder: Path
    weights: Path

    def read(self, paths: Sequence[Path]) -> EarlyReading:
        inputs = [hash_file(path) for path in paths]
        return read_early(inputs, SPECIFICATION, TIME, self.weights, self.folder)

    def decode(self, paths: Sequence[Path], job: Path) -> CycleInput:
        """What a job makes of the files."""
        submission = Submission.of([hash_file(path) for path in paths], TIME)
        located = [one.locate(job) for one in submission.inputs]
        job.mkdir(exist_ok=True)
        target, folders = job / "cycle.npz", [job / "early", self.folder]
        decode_to_file(located, SPECIFICATION, self.weights, TIME, None, target, submission.inputs, folders)
        return load_cycle(target)


@pytest.fixture
def arrival(tmp_path: Path) -> Arrival:
    return Arrival(tmp_path / "early", tmp_path / "weights")


@pytest.fixture
def read_fields(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Quantity and lead of every field that is read from now on."""
    found: list[tuple[str, float]] = []
    read = grib.read

    def counted(header: FieldHeader, region: Region | None = None) -> NDArray[np.float32]:
        found.append((header.quantity, header.lead_hours))
        return read(header, region)

    monkeypatch.setattr(grib, "read", counted)
    return found


def assert_same(cycle: CycleInput, paths: Sequence[Path]) -> None:
    """Bit by bit what is read of the files when nothing was read before."""
    expected = read_cycle(paths, SAMPLE_SPECIFICATION)
    assert (cycle.reference_time, cycle.leads_hours, cycle.channels) == (
        expected.reference_time,
        expected.leads_hours,
        expected.channels,
    )
    assert cycle.values.tobytes() == expected.values.tobytes()


def test_in_any_order_only_the_last_lead_is_left(
    arrival: Arrival, tmp_path: Path, read_fields: list[tuple[str, float]]
) -> None:
    paths = write_cycle(tmp_path / "cycle")
    for number, order in enumerate(permutations(paths)):
        own = Arrival(tmp_path / f"early{number}", arrival.weights)
        for count in (1, 2):
            own.read(order[:count])
        read_fields.clear()
        cycle = own.decode(order, tmp_path / f"job{number}")
        lead = paths.index(order[-1]) + 1
        # Of its neighbours the rain alone, which is accumulated.
        assert {hours for quantity, hours in read_fields if quantity != "precipitation"} <= {lead}
        assert len(read_fields) == len(set(read_fields)) <= 5
        assert_same(cycle, paths)


def test_a_field_a_file_in_any_order(arrival: Arrival, tmp_path: Path) -> None:
    paths = []
    for number, field in enumerate(sample_fields()):
        paths.append(tmp_path / f"{number}.gb2")
        paths[-1].write_bytes(encode(field))
    order = np.random.default_rng(5).permutation(len(paths))
    arrived = [paths[index] for index in order]
    leads = [tuple(arrival.read(arrived[: count + 1]).leads) for count in range(len(arrived))]
    assert leads[0] == ()
    assert leads[-1] == (2, 3)
    assert_same(arrival.decode(paths, tmp_path / "job"), paths)


def test_nothing_is_read_twice(
    arrival: Arrival, tmp_path: Path, read_fields: list[tuple[str, float]]
) -> None:
    first, second, third = write_cycle(tmp_path / "cycle")
    assert tuple(arrival.read([first, second]).leads) == (2,)
    # All of lead 2, and the rain of lead 1; of lead 1 nothing else is asked for.
    assert sorted(read_fields) == [
        ("precipitation", 1),
        ("precipitation", 2),
        ("relative_humidity", 2),
        ("temperature", 2),
    ]
    read_fields.clear()
    again = arrival.read([second, first])
    assert (tuple(again.leads), read_fields) == ((2,), [])
    whole = arrival.read([first, second, third])
    read_fields.clear()
    assert_same(arrival.decode([first, second, third], tmp_path / "job"), [first, second, third])
    assert len(read_fields) == 3 + 4, "by the comparison alone"
    assert {path.name for path in arrival.folder.iterdir()} == whole.keys


def test_a_file_that_changes_is_read_anew(arrival: Arrival, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path / "cycle")
    before = arrival.read(paths[:2])
    write_cycle(tmp_path / "cycle", scale=2.0)
    after = arrival.read(paths[:2])
    assert before.leads[2] != after.leads[2]
    assert before.keys & after.keys == set()
    assert_same(arrival.decode(paths, tmp_path / "job"), paths)


def test_of_a_file_that_changes_while_it_is_read_nothing_is_kept(
    arrival: Arrival, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_cycle(tmp_path / "cycle")
    inputs = [hash_file(path) for path in paths[:2]]
    read = grib.read

    def rewritten(header: FieldHeader, region: Region | None = None) -> NDArray[np.float32]:
        write_cycle(tmp_path / "cycle", scale=2.0)
        return read(header, region)

    monkeypatch.setattr(grib, "read", rewritten)
    with pytest.raises(DigestMismatch):
        read_early(inputs, SPECIFICATION, TIME, arrival.weights, arrival.folder)
    assert not list(arrival.folder.glob("*"))


def test_damaged_results_only_cost_the_work_again(arrival: Arrival, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path / "cycle")
    arrival.read(paths)
    for number, path in enumerate(sorted(arrival.folder.iterdir())):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if number % 2 else content[:-1] + b"\xff")
    assert_same(arrival.decode(paths, tmp_path / "job"), paths)


def test_bad_files_spoil_nothing_but_themselves(arrival: Arrival, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path / "cycle")
    bad = tmp_path / "bad.gb2"
    bad.write_bytes(paths[2].read_bytes()[:-9])
    assert tuple(arrival.read([bad, *paths[:2]]).leads) == (2,)
    assert arrival.read([bad]) == EarlyReading({}, frozenset())


def test_another_target_is_another_result(arrival: Arrival, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path / "cycle")
    keys = arrival.read(paths).keys
    window = SAMPLE_SPECIFICATION.window.model_copy(update={"x_start": 3})
    other = SAMPLE_SPECIFICATION.model_copy(update={"window": window}).model_dump_json()
    moved = read_early([hash_file(path) for path in paths], other, TIME, arrival.weights, arrival.folder)
    assert keys & moved.keys == set()


def test_a_lead_is_kept_and_told_of_before_a_later_one_fails(arrival: Arrival, tmp_path: Path) -> None:
    fields = [
        field if (field.field, field.lead_hours) != (PRECIPITATION, 3) else None for field in sample_fields()
    ]
    path = tmp_path / "cycle.gb2"
    path.write_bytes(b"".join(encode(field) for field in fields if field is not None))
    reading = arrival.read([path])
    assert tuple(reading.leads) == (2,)
    values = EarlyResults(arrival.folder).get(reading.leads[2])
    assert values is not None
    expected = read_cycle([path], SAMPLE_SPECIFICATION, minimum_leads=1).values[0]
    assert values.tobytes() == expected.tobytes()
