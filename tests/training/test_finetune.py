"""Configurations, the loss of a batch, and runs that resume."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from service.errors import InputError, SettingsError
from training.engine import CHECKPOINT, CURVES, Diverged
from training.finetune import (
    Configuration,
    batch_loss,
    finetune,
    load_run,
    read_configuration,
    validation_scores,
)
from training.networks.segmentation import ARCHITECTURES, Segmentation
from training.samples import DataSettings, Split

NANO = Path(__file__).parents[2] / "training" / "configs" / "nano.toml"


def _weights(folder: Path) -> torch.Tensor:
    _, network = load_run(folder)
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_the_shipped_configuration_has_the_papers_labels_and_weights() -> None:
    configuration = read_configuration(NANO)
    assert configuration.architecture == ARCHITECTURES["nano"]
    assert configuration.labels == "A"
    assert configuration.class_weights == (1, 5, 10)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("seed = 1", "seed = 1\nflip = true", "flip"),
        ("batch = 16", "batch = 16\nmomentum = 0.9", "optimisation.momentum"),
        ("batch = 16", "batch = 0", "optimisation.batch"),
        ("[data]", "[data]\ngap = 1", "data.gap"),
        ('architecture = "nano"', 'architecture = "huge"', "architecture"),
        (
            'architecture = "nano"',
            "[architecture]\nchannels = 8\ndepths = [1, 1, 1, 1]\ngroups = [1, 1, 1, 1]\nbanana = 2\n[x]",
            "banana",
        ),
        ("seed = 1", "seed = ", "cannot be read"),
    ],
)
def test_configuration_errors_name_the_key(tmp_path: Path, old: str, new: str, named: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(NANO.read_text().replace(old, new))
    with pytest.raises(SettingsError, match=named):
        read_configuration(path)


def test_a_run_learns_and_leaves_curves_and_weights(
    configuration: Configuration, dataset: DataSettings, tmp_path: Path
) -> None:
    longer = configuration.optimisation.model_copy(update={"epochs": 12, "learning_rate": 1e-2})
    run = finetune(configuration.model_copy(update={"optimisation": longer}), tmp_path / "run")
    losses = [row["validation_loss"] for row in run.rows]
    assert losses[-1] < 0.8 * losses[0]
    lines = (tmp_path / "run" / CURVES).read_text().splitlines()
    assert lines[0].startswith("epoch,training_loss,samples_per_second,validation_loss,validation_csi_0.1mm")
    assert len(lines) == 13
    provenance, network = load_run(tmp_path / "run")
    assert provenance.data_digest == Split(dataset, "train").description.digest
    assert provenance.samples == 8
    validation = Split(dataset, "validation")
    with torch.no_grad():
        best = validation_scores(configuration, validation, network)["loss"]
    assert best == pytest.approx(min(losses))


def test_a_stopped_run_ends_at_the_same_weights(
    configuration: Configuration, dataset: DataSettings, tmp_path: Path
) -> None:
    finetune(configuration, tmp_path / "whole")
    finetune(configuration, tmp_path / "parts", last_epoch=1)
    resumed = finetune(configuration, tmp_path / "parts")
    assert resumed.epoch == 2
    assert torch.equal(_weights(tmp_path / "whole"), _weights(tmp_path / "parts"))


def test_another_seed_gives_other_weights(
    configuration: Configuration, dataset: DataSettings, tmp_path: Path
) -> None:
    finetune(configuration, tmp_path / "a", last_epoch=1)
    finetune(configuration.model_copy(update={"seed": 4}), tmp_path / "b", last_epoch=1)
    assert not torch.equal(_weights(tmp_path / "a"), _weights(tmp_path / "b"))


def test_a_folder_of_another_run_is_refused(
    configuration: Configuration, dataset: DataSettings, tmp_path: Path
) -> None:
    finetune(configuration, tmp_path / "run", last_epoch=1)
    with pytest.raises(SettingsError, match="another configuration"):
        finetune(configuration.model_copy(update={"seed": 9}), tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_and_names_the_samples(
    configuration: Configuration, write_dataset: Callable[..., DataSettings], tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data.zarr")
    inputs = zarr.open_array(data.archive, path="inputs", mode="r+")
    inputs[5, 3, 4, 4] = np.inf
    with pytest.raises(Diverged, match=r"epoch 1, step \d, samples \[.*3.*\]"):
        finetune(configuration.model_copy(update={"data": data}), tmp_path / "run")
    assert not (tmp_path / "run" / CHECKPOINT).exists()


def test_missing_observations_leave_every_gradient_finite(
    configuration: Configuration, dataset: DataSettings
) -> None:
    split = Split(dataset, "test")
    assert np.isnan(split.rain_mm([0, 1])).any()
    network = Segmentation(configuration.architecture)
    batch_loss(configuration, split, network, np.array([0, 1])).backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)


def test_an_architecture_with_other_inputs_is_refused(
    configuration: Configuration, dataset: DataSettings, tmp_path: Path
) -> None:
    other = replace(configuration.architecture, inputs=4)
    with pytest.raises(InputError, match="expected: 4 channels; got: 16"):
        finetune(configuration.model_copy(update={"architecture": other}), tmp_path / "run")


def test_weights_of_another_architecture_are_refused(
    configuration: Configuration, dataset: DataSettings, tmp_path: Path
) -> None:
    finetune(configuration, tmp_path / "run", last_epoch=1)
    text = (tmp_path / "run" / "run.json").read_text()
    assert '"decoder_width": 8' in text
    (tmp_path / "run" / "run.json").write_text(text.replace('"decoder_width": 8', '"decoder_width": 16'))
    with pytest.raises(InputError, match="another architecture"):
        load_run(tmp_path / "run")


def test_no_dataset_is_refused_before_training(configuration: Configuration, tmp_path: Path) -> None:
    missing = configuration.data.model_copy(update={"archive": tmp_path / "none.zarr"})
    with pytest.raises(InputError, match="No archive"):
        finetune(configuration.model_copy(update={"data": missing}), tmp_path / "run")
