"""Reading samples back: z-scores, dry samples, cycles."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.artefact import normalise
from service.errors import InputError
from training.samples import Split, records


def test_only_wet_samples_leaves_the_dry_cycle_out(dataset: Path) -> None:
    everything, wet = Split(dataset, "train"), Split(dataset, "train", wet_only=True)
    assert (len(everything), len(wet)) == (10, 8)
    assert wet.cycles.tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    np.testing.assert_array_equal(wet.fields([0]), everything.fields([2]))
    assert all((wet.rain_mm([index]) >= 0.1).any() for index in range(len(wet)))


def test_z_scores_are_those_of_the_service(dataset: Path) -> None:
    split = Split(dataset, "test")

    class _Manifest:
        normalisation = split.description.normalisation
        cycle = split.description.specification

    expected = normalise(split.physical(3)[None], _Manifest)  # type: ignore[arg-type]
    np.testing.assert_array_equal(split.fields([3]), expected)


def test_samples_carry_time_lead_and_cycle(dataset: Path) -> None:
    split = Split(dataset, "validation")
    assert split.leads_hours.tolist() == [25, 28] * 5
    assert split.reference_times[2:4].tolist() == [np.datetime64("2022-08-02T00:00:00").item()] * 2
    np.testing.assert_array_equal(split.channel(15)[4], split.physical(4)[15])


def test_a_split_without_rain_is_refused(write_dataset: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "data", cycles=1)
    with pytest.raises(InputError, match="train split is empty"):
        Split(folder, "train", wet_only=True)


def test_an_unfinished_dataset_is_refused(write_dataset: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "data")
    (folder / "dataset.json").unlink()
    with pytest.raises(InputError, match="No finished dataset"):
        Split(folder, "train")


def test_a_line_cut_short_is_left_out(write_dataset: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "data")
    path = folder / "train.jsonl"
    path.write_text(path.read_text()[:-20])
    assert [record["slot"] for record in records(folder, "train")] == [0, 1, 2, 3]
