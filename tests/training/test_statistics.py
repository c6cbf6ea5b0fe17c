"""z-scores of the training split, and that the archive keeps them."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import zarr

from service.errors import InputError
from training.archive_store import Archive
from training.samples import DataSettings, Split
from training.splits import SIMULATED
from training.statistics import statistics_digest

FEWER = SIMULATED.model_copy(update={"train": ((date(2021, 8, 1), date(2021, 8, 4)),)})


@pytest.fixture
def settings(write_dataset: Callable[..., DataSettings], tmp_path: Path) -> DataSettings:
    return write_dataset(tmp_path / "data.zarr")


def _stored(settings: DataSettings) -> zarr.Group:
    digest = statistics_digest(Archive(settings.archive), settings.splits)
    return zarr.open_group(settings.archive, path=f"statistics/{digest}", mode="r+")


def test_only_wet_training_samples_count(settings: DataSettings) -> None:
    fewer = settings.model_copy(update={"splits": FEWER})
    split = Split(fewer, "train", wet_only=True)
    assert split.description.samples["train"] == 6
    inputs = np.stack([split.physical(index) for index in range(len(split))]).astype(np.float64)
    assert len(inputs) == 4
    for channel, entry in enumerate(split.description.normalisation.values()):
        assert entry.mean == pytest.approx(inputs[:, channel].mean(), rel=1e-9)
        assert entry.standard_deviation == pytest.approx(inputs[:, channel].std(), rel=1e-9)


def test_statistics_are_kept_by_data_and_splits(settings: DataSettings) -> None:
    first = Split(settings, "train").description
    fewer = Split(settings.model_copy(update={"splits": FEWER}), "train").description
    assert first.statistics_digest != fewer.statistics_digest
    assert first.normalisation != fewer.normalisation
    kept = set(zarr.open_group(settings.archive, path="statistics", mode="r").group_keys())
    assert kept == {first.statistics_digest, fewer.statistics_digest}
    assert dict(_stored(settings).attrs) == {
        name: entry.model_dump() for name, entry in first.normalisation.items()
    }
    assert Split(settings, "test").description == first


def test_what_is_kept_is_used_to_the_last_bit(settings: DataSettings) -> None:
    name, entry = next(iter(Split(settings, "train").description.normalisation.items()))
    # As another machine, which adds up in another order, may have computed it.
    neighbour = float(np.nextafter(entry.mean, np.inf))
    _stored(settings).attrs.update({name: entry.model_dump() | {"mean": neighbour}})
    assert Split(settings, "train").description.normalisation[name].mean == neighbour


def test_statistics_of_other_samples_are_refused(settings: DataSettings) -> None:
    name, entry = next(iter(Split(settings, "train").description.normalisation.items()))
    _stored(settings).attrs.update({name: entry.model_dump() | {"mean": entry.mean + 0.01}})
    with pytest.raises(InputError, match="not those of its samples"):
        Split(settings, "train")


def test_an_archive_that_cannot_be_written_to_can_be_read(
    settings: DataSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _refuse(*arguments: object, **named: object) -> None:
        raise PermissionError("read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(zarr, "create_group", _refuse)
        unkept = Split(settings, "train").description
    assert not (settings.archive / "statistics").exists()
    assert Split(settings, "train").description == unkept


def test_a_constant_channel_is_refused(settings: DataSettings) -> None:
    sums = zarr.open_array(settings.archive, path="sums", mode="r+")
    squares = zarr.open_array(settings.archive, path="squares", mode="r+")
    sums[:, 2], squares[:, 2] = 3 * 32 * 32, 9 * 32 * 32
    with pytest.raises(InputError, match=r"one value everywhere; where: .*geopotential_height_850hpa"):
        Split(settings, "train")
