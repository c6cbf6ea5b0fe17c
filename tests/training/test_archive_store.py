"""The archive: what goes in comes out, and a writer that is killed goes on."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from service.errors import InputError
from training.archive_store import Archive, ArchiveWriter, CycleSamples, Header

HEADER = Header(channels=("a", "b"), simulated=True, specification=None, provenance={"seed": 1})
SHAPE = (3, 4)


def cycle(number: int) -> CycleSamples:
    """Samples of one cycle, with two leads."""
    generator = np.random.default_rng(number)
    rain_mm = generator.gamma(0.3, 10, (2, *SHAPE)).astype(np.float32)
    rain_mm[0, 0, 0] = np.nan
    inputs = generator.normal(size=(2, 2, *SHAPE)).astype(np.float32)
    return CycleSamples(np.datetime64("2022-08-01", "s") + number, (25, 26), inputs, rain_mm)


def write(path: Path, numbers: range) -> str:
    """Appends the cycles that are missing and finishes."""
    with ArchiveWriter(path, HEADER, SHAPE) as archive:
        for number in numbers[archive.committed // 2 :]:
            archive.append(cycle(number))
        return archive.finish()


def test_samples_come_back_bit_for_bit(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", range(3))
    archive = Archive(tmp_path / "a.zarr")
    assert archive.header == HEADER
    assert archive.index.leads_hours.tolist() == [25, 26] * 3
    for number in range(3):
        for lead in range(2):
            row = 2 * number + lead
            expected = cycle(number)
            np.testing.assert_array_equal(archive.inputs(row), expected.inputs[lead])
            np.testing.assert_array_equal(archive.rain_mm(row), expected.rain_mm[lead])
            assert archive.index.reference_times[row] == expected.reference_time
            wide = expected.inputs[lead].astype(np.float64)
            np.testing.assert_allclose(archive.index.sums[row], wide.sum(axis=(1, 2)))
            np.testing.assert_allclose(archive.index.squares[row], (wide**2).sum(axis=(1, 2)))
            rain = expected.rain_mm[lead]
            assert archive.index.cells[row].tolist() == [
                int((rain < 0.1).sum()),
                int(((rain >= 0.1) & (rain < 10)).sum()),
                int((rain >= 10).sum()),
            ]


def test_the_digest_is_that_of_the_digests_of_the_samples(tmp_path: Path) -> None:
    found = write(tmp_path / "a.zarr", range(2))
    samples = [
        hashlib.sha256(inputs.tobytes() + rain.tobytes()).hexdigest()
        for number in range(2)
        for inputs, rain in zip(cycle(number).inputs, cycle(number).rain_mm, strict=True)
    ]
    assert found == hashlib.sha256("".join(samples).encode()).hexdigest()
    assert Archive(tmp_path / "a.zarr").digest == found


def test_xarray_opens_it_with_times(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", range(2))
    with xr.open_zarr(tmp_path / "a.zarr", consolidated=False) as dataset:
        assert dataset["inputs"].dims == ("sample", "channel", "y", "x")
        assert dataset["reference_time"].values[3] == np.datetime64("2022-08-01T00:00:01")


@pytest.mark.parametrize(
    "name", ["inputs", "rain_mm", "reference_time", "sums", "squares", "cells", "sample_sha256"]
)
def test_a_cycle_of_which_a_part_was_written_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = write(tmp_path / "whole.zarr", range(4))
    archive = ArchiveWriter(tmp_path / "parts.zarr", HEADER, SHAPE)
    archive.append(cycle(0))
    written = zarr.Array.__setitem__

    def _fail(array: Any, place: Any, values: Any) -> None:
        if array.basename == name:
            raise OSError("no space left on device")
        written(array, place, values)

    with monkeypatch.context() as patched, archive:
        patched.setattr(zarr.Array, "__setitem__", _fail)
        with pytest.raises(OSError, match="no space"):
            archive.append(cycle(3))
    assert ArchiveWriter(tmp_path / "parts.zarr", HEADER, SHAPE).committed == 2
    with pytest.raises(InputError, match="not finished"):
        Archive(tmp_path / "parts.zarr")
    assert write(tmp_path / "parts.zarr", range(4)) == whole
    np.testing.assert_array_equal(Archive(tmp_path / "parts.zarr").inputs(7), cycle(3).inputs[1])


def test_longer_arrays_than_were_committed_do_not_show(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    whole = write(path, range(2))
    for name in ("inputs", "rain_mm", "reference_time"):
        array = zarr.open_array(path, path=name, mode="r+")
        array.resize((6, *array.shape[1:]))
    assert write(path, range(2)) == whole
    assert zarr.open_array(path, path="inputs", mode="r").shape == (4, 2, *SHAPE)


def test_a_killed_writer_goes_on_to_the_same_archive(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.zarr", range(40))
    path = tmp_path / "killed.zarr"
    program = (
        "import sys; from pathlib import Path; from tests.training.test_archive_store import *\n"
        "archive = ArchiveWriter(Path(sys.argv[1]), HEADER, SHAPE)\n"
        "for number in range(40):\n"
        "    archive.append(cycle(number)); print(number, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(5):
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    assert 10 <= ArchiveWriter(path, HEADER, SHAPE).committed < 80
    assert write(path, range(40)) == whole


def test_a_finished_archive_can_be_continued(tmp_path: Path) -> None:
    first = write(tmp_path / "a.zarr", range(2))
    ArchiveWriter(tmp_path / "a.zarr", HEADER, SHAPE).append(cycle(2))
    with pytest.raises(InputError, match="not finished"):
        Archive(tmp_path / "a.zarr")
    assert write(tmp_path / "a.zarr", range(3)) == write(tmp_path / "b.zarr", range(3)) != first


@pytest.mark.parametrize(
    ("header", "shape"),
    [
        (HEADER.model_copy(update={"provenance": {"seed": 2}}), SHAPE),
        (HEADER.model_copy(update={"channels": ("b", "a")}), SHAPE),
        (HEADER, (4, 4)),
    ],
)
def test_an_archive_of_something_else_is_not_continued(
    tmp_path: Path, header: Header, shape: tuple[int, int]
) -> None:
    write(tmp_path / "a.zarr", range(1))
    with pytest.raises(InputError, match="holds something else"):
        ArchiveWriter(tmp_path / "a.zarr", header, shape)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No archive.*got: nothing"):
        Archive(tmp_path / "none.zarr")
    (tmp_path / "file").write_text("not zarr")
    with pytest.raises(InputError, match=r"No archive.*got: something else"):
        Archive(tmp_path / "file")
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(InputError, match="another Zarr group"):
        ArchiveWriter(tmp_path / "other.zarr", HEADER, SHAPE)
    with pytest.raises(InputError, match="would be empty"):
        ArchiveWriter(tmp_path / "new.zarr", HEADER, SHAPE).finish()
    os.truncate(tmp_path / "new.zarr" / "zarr.json", 0)
    with pytest.raises(InputError, match="No archive"):
        Archive(tmp_path / "new.zarr")


def test_a_second_writer_is_refused_as_long_as_the_first_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with ArchiveWriter(path, HEADER, SHAPE) as first:
        first.append(cycle(0))
        with pytest.raises(InputError, match="Another process writes here"):
            ArchiveWriter(path, HEADER, SHAPE)
    with ArchiveWriter(path, HEADER, SHAPE) as second:
        assert second.committed == 2
