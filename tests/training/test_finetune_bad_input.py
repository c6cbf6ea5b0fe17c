"""What fine-tuning refuses before the first update."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.errors import InputError, SettingsError
from tests.training.conftest import SIZE
from tests.training.sample_settings import changed
from training.configuration import PROVENANCE
from training.engine import CHECKPOINT
from training.finetune import Configuration, finetune, load_run
from training.samples import DataSettings

EMBEDDING = {"network": {"embedding": {"token_width": 16}}}


def test_a_folder_of_another_run_is_refused(
    configuration: Configuration, write_dataset: Callable[..., DataSettings], tmp_path: Path
) -> None:
    """Of other settings, or of other data under the same name."""
    data = write_dataset(tmp_path / "data.zarr")
    settings = changed(configuration, data={"archive": data.archive})
    finetune(settings, tmp_path / "run", last_update=1)
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    with pytest.raises(SettingsError, match=r"another run.*got: another configuration;"):
        finetune(changed(settings, optimisation={"learning_rate": 1e-4}), tmp_path / "run")
    data.archive.rename(tmp_path / "old.zarr")
    write_dataset(data.archive, seed=1)
    with pytest.raises(SettingsError, match=r"another run.*got: another data_digest, statistics_digest;"):
        finetune(settings, tmp_path / "run")
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before


def test_weights_for_other_channels_or_another_architecture_are_refused(
    configuration: Configuration, write_dataset: Callable[..., DataSettings], tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data.zarr")
    finetune(changed(configuration, data={"archive": data.archive}), tmp_path / "run", last_update=2)
    text = (tmp_path / "run" / PROVENANCE).read_text()
    assert '"decoder_width": 8' in text
    for old, new, named in (
        ('"decoder_width": 8', '"decoder_width": 16', "decoder"),
        ('"conditions": []', '"conditions": ["lead"]', r"encoder\.stem\.0\.weight"),
    ):
        (tmp_path / "run" / PROVENANCE).write_text(text.replace(old, new))
        with pytest.raises(InputError, match=rf"(?s)another architecture.*{named}"):
            load_run(tmp_path / "run")


def test_what_is_no_run_is_refused(configuration: Configuration, pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No fitted weights.*python -m training\.finetune"):
        load_run(tmp_path)
    with pytest.raises(InputError, match=r"of another kind.*expected: Provenance"):
        load_run(pretrained)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mask_ratio": 0.25}, "mask_ratio needs a network with an embedding"),
        ({"mask_ratio": 1.0}, "mask_ratio"),
        ({"crop": (48, 32)}, "multiples of 32"),
        ({"crop": (0, 32)}, "multiples of 32"),
        ({"crop": (-32, 32)}, "multiples of 32"),
        ({"crop": (32, 32), **EMBEDDING}, "crop needs the network internimage without an embedding"),
        ({"transfer": {"pretrained": "x", "rate_factor": 1.5}}, "rate_factor"),
        ({"labels": "soft"}, "labels"),
        ({"optimisation": {"batch": 1}}, "batches of 2 samples or more"),
        ({"loss": {"dice": 1.0}}, "loss.dice"),
        ({"head": "gamma"}, "head"),
    ],
)
def test_configurations_that_contradict_themselves_are_refused(
    configuration: Configuration, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValidationError, match=named):
        changed(configuration, **changes)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"transfer": {"pretrained": "x", "rate_factor": 1.0}}, "transfer needs the network internimage"),
        ({"crop": (32, 32)}, "crop needs the network internimage"),
        ({"mask_ratio": 0.25}, "mask_ratio needs a network with an embedding"),
    ],
)
def test_what_other_networks_cannot_do_is_refused(
    configuration: Configuration, values: dict[str, Any], named: str
) -> None:
    table = configuration.model_dump() | {"network": {"name": "unet"}} | values
    with pytest.raises(ValidationError, match=named):
        Configuration.model_validate(table)


def test_a_crop_larger_than_the_fields_is_refused(configuration: Configuration, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"crop is larger.*at most \({SIZE}, {SIZE}\); got: \(64, 32\)"):
        finetune(changed(configuration, crop=(64, 32)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_empty_split_or_no_archive_is_refused(
    configuration: Configuration, write_dataset: Callable[..., DataSettings], tmp_path: Path
) -> None:
    """The only training cycle of an archive of one is dry."""
    dry = write_dataset(tmp_path / "dry.zarr", cycles=1).archive
    later = {"validation": (("2022-10-01", "2022-11-01"),)}
    for data, named in (
        ({"archive": dry}, "No training sample has precipitation"),
        ({"archive": tmp_path / "none.zarr"}, "No archive"),
        ({"splits": later}, "The validation split is empty"),
    ):
        with pytest.raises(InputError, match=named):
            finetune(changed(configuration, data=data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_archive_that_the_network_does_not_fit_is_refused(
    configuration: Configuration, tmp_path: Path
) -> None:
    other = changed(configuration, network={"embedding": {"patch_channels": 3}})
    with pytest.raises(InputError, match=r"does not fit the archive.*3 x 16 x 16 do not divide"):
        finetune(other, tmp_path / "run")
    assert not (tmp_path / "run").exists()
