"""Reading samples back: z-scores, dry samples, cycles, shares of the labels, condition planes."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import training.samples
from service.artefact import normalise
from service.errors import InputError
from service.specification import Window
from training.samples import DataSettings, Split, condition_values, labelled
from training.splits import SPLITS


def test_only_wet_samples_leaves_the_dry_cycle_out(dataset: DataSettings) -> None:
    everything, wet = Split(dataset, "train"), Split(dataset, "train", wet_only=True)
    assert (len(everything), len(wet)) == (10, 8)
    assert wet.cycles.tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    np.testing.assert_array_equal(wet.fields([0]), everything.fields([2]))
    assert all((wet.rain_mm([index]) >= 0.1).any() for index in range(len(wet)))


def test_z_scores_are_those_of_the_service(dataset: DataSettings) -> None:
    split = Split(dataset, "test")

    class _Manifest:
        normalisation = split.description.normalisation
        cycle = split.description.specification

    expected = normalise(split.physical(3)[None], _Manifest)  # type: ignore[arg-type]
    np.testing.assert_array_equal(split.fields([3]), expected)


def test_z_scores_of_the_wet_training_samples_have_mean_zero_and_deviation_one(dataset: DataSettings) -> None:
    fields = Split(dataset, "train", wet_only=True).fields(range(8)).astype(np.float64)
    np.testing.assert_allclose(fields.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(fields.std(axis=(0, 2, 3)), 1, atol=1e-5)


def test_samples_carry_time_lead_and_cycle(dataset: DataSettings) -> None:
    split = Split(dataset, "validation")
    assert split.leads_hours.tolist() == [25, 28] * 5
    assert split.reference_times[2:4].tolist() == [np.datetime64("2022-09-04T00:00:00").item()] * 2
    np.testing.assert_array_equal(split.channel(15)[4], split.physical(4)[15])


def test_the_raw_rain_is_the_precipitation_channel(dataset: DataSettings) -> None:
    split = Split(dataset, "test")
    np.testing.assert_array_equal(split.raw_rain_mm(), split.channel(15))


def test_an_archive_without_precipitation_has_no_raw_rain(
    write_dataset: Callable[..., DataSettings], tmp_path: Path
) -> None:
    settings = write_dataset(tmp_path / "data.zarr")
    group = zarr.open_group(settings.archive, mode="r+")
    header: Any = group.attrs["header"]
    channels = [*header["channels"][:-1], "snow"]
    group.attrs.update({"header": header | {"channels": channels, "specification": None}})
    with pytest.raises(InputError, match=r"No channel is precipitation.*got: .*snow"):
        Split(settings, "test").raw_rain_mm()


def test_the_description_counts_what_the_splits_hold(dataset: DataSettings) -> None:
    description = Split(dataset, "test").description
    assert description.samples == dict.fromkeys(SPLITS, 10)
    assert description.wet_samples == {"train": 8, "validation": 10, "test": 10}
    assert description.cycles == dict.fromkeys(SPLITS, 5)
    for name in SPLITS:
        split = Split(dataset, name)
        rain_mm = split.rain_mm(range(10))
        seen = rain_mm[~np.isnan(rain_mm)]
        assert seen.size == {"train": 8 * 1021 + 2 * 1024}.get(name, 10 * 1021)
        expected = [(seen < 0.1).mean(), ((seen >= 0.1) & (seen < 10)).mean(), (seen >= 10).mean()]
        assert description.class_shares[name] == pytest.approx(expected)


def test_a_split_without_rain_is_refused(write_dataset: Callable[..., DataSettings], tmp_path: Path) -> None:
    settings = write_dataset(tmp_path / "data.zarr", cycles=1)
    with pytest.raises(InputError, match="No training sample has precipitation"):
        Split(settings, "test")


def test_a_part_to_be_scored_lies_in_the_fields(dataset: DataSettings) -> None:
    ny, nx = Split(dataset, "train").field_shape
    Split(dataset.model_copy(update={"scored": Window(y_start=1, x_start=0, ny=ny - 1, nx=nx)}), "train")
    outside = dataset.model_copy(update={"scored": Window(y_start=1, x_start=0, ny=ny, nx=nx)})
    with pytest.raises(InputError, match=rf"not in the fields.*inside {ny} x {nx}"):
        Split(outside, "train")


def test_an_empty_split_stops_every_other_one(dataset: DataSettings) -> None:
    spans = dataset.splits.model_copy(update={"validation": ((date(2019, 8, 1), date(2019, 9, 1)),)})
    settings = dataset.model_copy(update={"splits": spans})
    with pytest.raises(InputError, match="The validation split is empty") as caught:
        Split(settings, "train")
    assert str(dataset.archive) in caught.value.__notes__[0]


def test_a_share_of_the_labels_without_rain_is_refused(
    dataset: DataSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.samples, "labelled", lambda times, share: times == times.min())
    assert len(Split(dataset, "train")) == 2
    with pytest.raises(InputError, match="The train split is empty"):
        Split(dataset, "train", wet_only=True)


def test_a_share_of_the_labels_takes_whole_training_cycles_and_keeps_the_statistics(
    dataset: DataSettings,
) -> None:
    some = dataset.model_copy(update={"label_share": 0.4})
    split = Split(some, "train")
    assert len(split) == 4
    assert all((split.cycles == cycle).sum() == 2 for cycle in set(split.cycles))
    assert len(Split(some, "test")) == 10
    assert split.description == Split(dataset, "train").description


@given(
    shares=st.lists(st.floats(0.001, 1), min_size=2, max_size=2),
    cycles=st.integers(1, 300),
)
def test_shares_are_nested(shares: list[float], cycles: int) -> None:
    times = np.datetime64("2020-01-01", "s") + np.arange(cycles).repeat(2) * np.timedelta64(6, "h")
    small, large = (labelled(times, share) for share in sorted(shares))
    assert not (small & ~large).any()
    assert small.sum() == 2 * np.ceil(min(shares) * cycles)
    assert labelled(times, 1).all()


def test_shares_are_the_same_on_every_machine() -> None:
    times = np.arange("2020-06-01", "2020-06-21", dtype="datetime64[D]").astype("datetime64[s]")
    assert np.flatnonzero(labelled(times, 0.2)).tolist() == [0, 5, 17, 18]


def test_condition_planes_follow_the_channels(dataset: DataSettings) -> None:
    split = Split(dataset.model_copy(update={"conditions": ("hour", "lead")}), "test")
    plain = Split(dataset, "test")
    assert split.input_names == (*plain.input_names, "hour_sine", "hour_cosine", "lead")
    fields = split.fields([0, 1])
    assert fields.dtype == np.float32
    np.testing.assert_array_equal(fields[:, :16], plain.fields([0, 1]))
    assert fields.shape == (2, 19, 32, 32)
    assert (fields[:, 16:] == fields[:, 16:, :1, :1]).all()
    # Valid at 01 and at 04 UTC.
    angle = 2 * np.pi * np.array([1, 4]) / 24
    expected = np.stack([np.sin(angle), np.cos(angle), [-1.0, 0.2]], axis=1)
    np.testing.assert_allclose(fields[:, 16:, 0, 0], expected, atol=1e-6)


def test_the_hour_is_that_of_the_valid_time() -> None:
    times = np.array(["2022-08-01T18", "2022-08-02T00"], "datetime64[s]")
    names, values = condition_values(("hour",), times, np.array([30, 24]))
    assert names == ("hour_sine", "hour_cosine")
    np.testing.assert_allclose(values, [[0, 1], [0, 1]], atol=1e-6)
