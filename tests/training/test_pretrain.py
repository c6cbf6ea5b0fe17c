"""Pre-training: what its loss counts, that it learns and goes on, and what is handed to fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from pydantic import ValidationError
from torch import Tensor, nn

from service.artefact import digest_file
from service.errors import InputError, SettingsError
from tests.training.sample_settings import changed
from training import pretrain as module
from training.batch import Batch, read
from training.configuration import read_provenance
from training.engine import CHECKPOINT, WEIGHTS
from training.finetune import Configuration, finetune
from training.networks.masking import MaskedEmbedding
from training.networks.segmentation import Segmentation
from training.pretrain import (
    Pretraining,
    PretrainingProvenance,
    Restoration,
    load_pretrained,
    load_pretrained_network,
    pretrain,
)
from training.samples import DataSettings, Split


@pytest.fixture
def embedding() -> MaskedEmbedding:
    return MaskedEmbedding(channels=16, height=32, width=32, token_width=8)


class _Recorder(nn.Module):
    """Answers zero, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: list[Tensor] = []
        self.masks: list[Tensor] = []

    def forward(self, fields: Tensor, masked: Tensor) -> Tensor:
        self.fields.append(fields)
        self.masks.append(masked)
        return torch.zeros_like(fields[:, :16])


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_loss_is_that_of_the_masked_values_alone(
    pretraining: Pretraining, embedding: MaskedEmbedding
) -> None:
    fields = torch.randn(4, 16, 32, 32)
    restoration, network = Restoration(pretraining, embedding), _Recorder()

    def _part(fields: Tensor) -> float:
        part = restoration.training(network, Batch(fields, torch.zeros(4, 32, 32)), _generator(1))[0]
        assert part.count.item() == hidden.sum().item()
        return part.total.item()

    masked = embedding.draw(4, pretraining.mask_ratio, _generator(1))
    hidden = embedding.expand(masked)
    expected = fields[hidden].square().sum().item()
    assert _part(fields) == pytest.approx(expected)
    assert torch.equal(network.masks[0], masked)
    assert _part(torch.where(hidden, fields, fields + 7)) == pytest.approx(expected)
    assert _part(torch.where(hidden, fields + 7, fields)) > 2 * expected


def test_conditions_are_seen_and_not_restored(pretraining: Pretraining, embedding: MaskedEmbedding) -> None:
    fields = torch.randn(4, 18, 32, 32)
    restoration, network = Restoration(pretraining, embedding), _Recorder()
    losses = []
    for planes in (fields, torch.cat([fields[:, :16], fields[:, 16:] + 7], dim=1)):
        part = restoration.training(network, Batch(planes, torch.zeros(4, 32, 32)), _generator(1))[0]
        losses.append(part.total.item())
        assert torch.equal(network.fields[-1], planes)
    assert losses[0] == losses[1]


def test_masks_differ_between_samples_and_updates_and_have_the_ratio(
    pretraining: Pretraining, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn: list[tuple[bool, Tensor]] = []
    forward = Segmentation.forward

    def _recorded(self: Segmentation, fields: Tensor, masked: Tensor | None = None) -> Tensor:
        assert masked is not None
        drawn.append((self.training, masked))
        return forward(self, fields, masked)

    monkeypatch.setattr(Segmentation, "forward", _recorded)
    pretrain(pretraining, tmp_path)
    masks = torch.cat([masked for training, masked in drawn if training])
    assert masks.shape == (4 * 4, 16)
    assert masks.sum(dim=1).tolist() == [12] * 16
    assert len({tuple(mask.tolist()) for mask in masks}) > 12
    validations = [masked for training, masked in drawn if not training]
    assert [len(masked) for masked in validations] == [10, 10]
    assert torch.equal(*validations)


def test_the_validation_is_over_all_samples_whatever_the_batches(
    pretraining: Pretraining,
    embedding: MaskedEmbedding,
    dataset: DataSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of ten samples in batches of five, each under the mask that it was seen with."""
    monkeypatch.setattr(module, "VALIDATION_BATCH", 4)
    split, network = Split(dataset, "validation"), _Recorder()
    loss = Restoration(pretraining, embedding).validation(network, split, torch.device("cpu"))["loss"]
    assert [len(fields) for fields in network.fields] == [5, 5]
    fields = read(split, np.arange(10), torch.device("cpu")).fields
    assert torch.equal(torch.cat(network.fields), fields)
    hidden = embedding.expand(torch.cat(network.masks))
    assert loss == pytest.approx(fields[hidden].square().mean().item(), rel=1e-5)


def test_it_learns_to_restore_what_can_be_known(
    pretraining: Pretraining, write_dataset: Callable[..., DataSettings], tmp_path: Path
) -> None:
    """Every field of a sample is the same constant: any visible token tells all. Its variance is one."""
    data = write_dataset(tmp_path / "data.zarr", cycles=8)
    inputs = zarr.open_array(data.archive, path="inputs", mode="r+")
    constants = np.random.default_rng(0).normal(size=(inputs.shape[0], 1, 1, 1))
    inputs[:] = np.broadcast_to(constants, inputs.shape).astype(np.float32)
    settings = changed(
        pretraining,
        data={"archive": data.archive},
        mask_ratio=0.5,
        network={"size": {"drop_path": 0.0, "dropout": 0.0}, "embedding": {"skip": True, "token_width": 64}},
        optimisation={"updates": 60, "batch": 8, "learning_rate": 1e-2, "validate_every": 10},
    )
    run = pretrain(settings, tmp_path / "run")
    losses = [row["training_loss"] for row in run.rows]
    assert losses[-1] < 0.25 * losses[0]
    assert min(row["validation_loss"] for row in run.rows) < 0.5


def test_a_stopped_run_ends_at_the_same_weights(pretraining: Pretraining, tmp_path: Path) -> None:
    whole = pretrain(pretraining, tmp_path / "whole")
    for stop in (1, 3):
        assert pretrain(pretraining, tmp_path / "parts", last_update=stop).update == stop
    resumed = pretrain(pretraining, tmp_path / "parts")
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert (tmp_path / "whole" / WEIGHTS).read_bytes() == (tmp_path / "parts" / WEIGHTS).read_bytes()


def test_every_parameter_gets_a_gradient(pretraining: Pretraining, tmp_path: Path) -> None:
    """Offsets and masks of the convolutions start from zero weights: their inputs need an update first."""
    run = pretrain(changed(pretraining, network={"size": {"drop_path": 0.0}}), tmp_path)
    idle = [name for name, p in run.network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"network": {"embedding": None}}, "needs the network internimage with an embedding"),
        ({"mask_ratio": 0.0}, "mask_ratio"),
        ({"mask_ratio": 1.0}, "mask_ratio"),
        ({"labels": "A"}, "labels"),
    ],
)
def test_what_cannot_be_pre_trained_is_refused(
    pretraining: Pretraining, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(ValidationError, match=named):
        changed(pretraining, **changes)
    with pytest.raises(ValidationError, match="needs the network internimage with an embedding"):
        Pretraining.model_validate(pretraining.model_dump() | {"network": {"name": "unet"}})


def test_a_folder_of_another_run_is_refused(
    pretraining: Pretraining, configuration: Configuration, tmp_path: Path
) -> None:
    pretrain(pretraining, tmp_path / "run", last_update=1)
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    with pytest.raises(SettingsError, match=r"another run.*another configuration"):
        pretrain(changed(pretraining, seed=9), tmp_path / "run")
    with pytest.raises(SettingsError, match=r"another run.*of another kind"):
        finetune(configuration, tmp_path / "run")
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before


def test_what_is_handed_on_is_the_best_network(pretraining: Pretraining, tmp_path: Path) -> None:
    run = pretrain(pretraining, tmp_path)
    split = Split(pretraining.data, "train")
    state, digest = load_pretrained(tmp_path, split)
    assert digest == digest_file(tmp_path / WEIGHTS)
    provenance, network = load_pretrained_network(tmp_path)
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert provenance == read_provenance(PretrainingProvenance, tmp_path)
    assert provenance.configuration == pretraining
    assert provenance.statistics_digest == split.description.statistics_digest
    assert provenance.samples == len(split) == 10
    embedding = network.get_submodule("embedding")
    assert isinstance(embedding, MaskedEmbedding)
    with torch.no_grad():
        loss = Restoration(pretraining, embedding).validation(
            network, Split(pretraining.data, "validation"), torch.device("cpu")
        )["loss"]
    assert loss == pytest.approx(run.best_loss)


def test_no_pre_training_is_refused(
    pretraining: Pretraining, configuration: Configuration, tmp_path: Path
) -> None:
    split = Split(pretraining.data, "train")
    with pytest.raises(InputError, match=rf"No pre-trained weights; where: {tmp_path}/none"):
        load_pretrained(tmp_path / "none", split)
    finetune(configuration, tmp_path / "other", last_update=2)
    with pytest.raises(InputError, match=r"of another kind.*expected: PretrainingProvenance"):
        load_pretrained(tmp_path / "other", split)


def test_z_scores_of_other_data_are_refused(
    pretraining: Pretraining, write_dataset: Callable[..., DataSettings], tmp_path: Path
) -> None:
    pretrain(pretraining, tmp_path / "run", last_update=2)
    other = Split(write_dataset(tmp_path / "data.zarr", seed=1), "train")
    with pytest.raises(InputError, match=r"saw other z-scores") as caught:
        load_pretrained(tmp_path / "run", other)
    assert caught.match(other.description.statistics_digest[:16])


def test_no_archive_is_refused_before_anything_is_written(pretraining: Pretraining, tmp_path: Path) -> None:
    missing = changed(pretraining, data={"archive": tmp_path / "none.zarr"})
    with pytest.raises(InputError, match="No archive"):
        pretrain(missing, tmp_path / "run")
    assert not (tmp_path / "run").exists()
