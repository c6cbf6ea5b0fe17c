"""The parts of the loss, networks that learn, and runs that go on after a kill."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from pydantic import ValidationError
from torch import Tensor, nn

from service.channels import THRESHOLDS_MM
from tests.conftest import ROOT
from tests.training.sample_settings import as_toml, changed, same
from training import finetune as module
from training.batch import Batch, read
from training.configuration import PROVENANCE, network_of
from training.engine import CHECKPOINT, CURVES, WEIGHTS, Diverged
from training.finetune import Configuration, Loss, finetune, load_run
from training.networks.dcnv3 import DCNv3
from training.networks.internimage import Block, StochasticDepth
from training.networks.segmentation import Segmentation
from training.samples import DataSettings, Split

EMBEDDING = {"network": {"embedding": {"token_width": 16}}}
ALL_PARTS = {"classes": 1.0, "amount": 0.5, "csi": 2.0}
METNET = {"name": "metnet", "start_width": 2, "halvings": 3, "attention_width": 8, "groups": 2}
CPU = torch.device("cpu")


def _with_network(configuration: Configuration, network: dict[str, Any], **values: Any) -> Configuration:
    """With another network in the place of the one there was."""
    return Configuration.model_validate(changed(configuration, **values).model_dump() | {"network": network})


def _without_chance(configuration: Configuration, **values: Any) -> Configuration:
    return changed(changed(configuration, network={"size": {"drop_path": 0.0, "dropout": 0.0}}), **values)


def _parts(configuration: Configuration, outputs: Tensor, rain_mm: Tensor) -> list[float]:
    return [(part.total / part.count).item() for part in Loss(configuration, None).parts(outputs, rain_mm)]


@pytest.mark.parametrize("part", ["classes", "amount", "csi"])
def test_every_part_has_its_weight_and_a_gradient_of_its_own(configuration: Configuration, part: str) -> None:
    torch.manual_seed(0)
    outputs, rain_mm = torch.randn(2, 4, 8, 8), 15 * torch.rand(2, 8, 8)
    everything = changed(configuration, loss=ALL_PARTS)
    alone = changed(configuration, loss={name: float(name == part) for name in ALL_PARTS})
    number = list(ALL_PARTS).index(part)
    (single,) = _parts(alone, outputs, rain_mm)
    assert _parts(everything, outputs, rain_mm)[number] == pytest.approx(ALL_PARTS[part] * single)
    leaf = outputs.clone().requires_grad_()
    Loss(alone, None).parts(leaf, rain_mm)[0].total.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    reached = [bool(leaf.grad[:, channel].any()) for channel in range(4)]
    assert reached == ([False] * 3 + [True] if part == "amount" else [True] * 3 + [False])


def test_a_part_without_weight_is_left_out_and_none_at_all_is_refused(configuration: Configuration) -> None:
    outputs, rain_mm = torch.randn(1, 3, 4, 4), torch.rand(1, 4, 4)
    assert len(_parts(configuration, outputs, rain_mm)) == 1
    assert len(_parts(changed(configuration, loss={"csi": 1.0}), outputs, rain_mm)) == 2
    with pytest.raises(ValidationError, match="no part of the loss has a weight"):
        changed(configuration, loss={"classes": 0.0})


@pytest.mark.parametrize(
    ("head", "amount", "outputs"),
    [("softmax", 0.0, 3), ("softmax", 1.0, 4), ("ordinal", 0.0, 2), ("ordinal", 1.0, 3)],
)
def test_the_amount_takes_one_output_more(
    configuration: Configuration, head: str, amount: float, outputs: int
) -> None:
    assert changed(configuration, head=head, loss={"amount": amount}).outputs == outputs


def test_labels_and_class_weights_are_those_of_the_configuration(configuration: Configuration) -> None:
    """2 mm of rain: plain with weight 5, mixed with heavy rain in the labels A."""
    outputs, rain_mm = torch.zeros(1, 3, 1, 1), torch.full((1, 1, 1), 2.0)
    third, heavy = np.log(3), 1.9 / 9.9
    found = {
        labels: _parts(changed(configuration, labels=labels), outputs, rain_mm)[0]
        for labels in ("one_hot", "A")
    }
    assert found["one_hot"] == pytest.approx(5 * third)
    assert found["A"] == pytest.approx((5 * (1 - heavy) + 10 * heavy) * third)


def test_validation_counts_all_cells_first_whatever_the_batches(
    configuration: Configuration, write_dataset: Callable[..., DataSettings], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Samples with unequal numbers of observed cells, ten in batches of five and all at once."""
    data = write_dataset(tmp_path / "data.zarr")
    rain_mm = zarr.open_array(data.archive, path="rain_mm", mode="r+")
    rain_mm[11:14, :20] = np.nan
    split = Split(data, "validation")
    settings = changed(configuration, data={"archive": data.archive}, loss={"amount": 0.5})
    torch.manual_seed(0)
    network = network_of(settings, split, settings.outputs).eval()
    with torch.no_grad():
        batch = read(split, np.arange(10), CPU)
        outputs = network(batch.fields)
        expected = sum(_parts(settings, outputs, batch.rain_mm))
        for size in (4, 16):
            monkeypatch.setattr(module, "VALIDATION_BATCH", size)
            scores = Loss(settings, None).validation(network, split, CPU)
            assert list(scores) == ["loss", "csi_0.1mm", "csi_10mm"]
            assert scores["loss"] == pytest.approx(expected, rel=1e-5)
            for index, threshold in enumerate(THRESHOLDS_MM):
                rain = batch.rain_mm.numpy()
                event, warning = rain >= threshold, outputs[:, :3].argmax(1).numpy() > index
                union = ((event | warning) & ~np.isnan(rain)).sum()
                assert scores[f"csi_{threshold:g}mm"] == pytest.approx((event & warning).sum() / union)


def test_missing_observations_leave_every_gradient_finite(
    configuration: Configuration, dataset: DataSettings
) -> None:
    split, settings = Split(dataset, "test"), changed(configuration, loss=ALL_PARTS)
    batch = read(split, np.arange(4), CPU)
    assert batch.rain_mm.isnan().any()
    network = network_of(settings, split, settings.outputs)
    torch.stack(
        [part.total for part in Loss(settings, None).training(network, batch, torch.Generator())]
    ).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)


def test_a_crop_is_taken_of_fields_and_rain(configuration: Configuration) -> None:
    shapes = []

    class _Recorder(nn.Module):
        def forward(self, fields: Tensor) -> Tensor:
            shapes.append(fields.shape)
            return fields[:, :3].clone().requires_grad_()

    settings = changed(configuration, crop=(32, 64))
    batch = Batch(torch.randn(2, 16, 96, 96), torch.rand(2, 96, 96))
    (part,) = Loss(settings, None).training(_Recorder(), batch, torch.Generator())
    assert shapes == [(2, 16, 32, 64)]
    assert part.count.item() == 2 * 32 * 64


def _idle_layers(network: nn.Module, fields: Tensor) -> set[str]:
    """Names of the layers that gave back what they were given, whenever they were called."""
    called, working = set(), set()

    def _look(name: str, inputs: tuple[object, ...], output: object) -> None:
        called.add(name)
        pairs = [(x, output) for x in inputs if isinstance(x, Tensor) and isinstance(output, Tensor)]
        if not any(torch.equal(x, y) for x, y in pairs):
            working.add(name)

    for name, layer in network.named_modules():
        if not isinstance(layer, (nn.Dropout2d, StochasticDepth)):
            layer.register_forward_hook(lambda _, inputs, output, name=name: _look(name, inputs, output))
    with torch.no_grad():
        network.eval()(fields)
    assert called >= {name for name, layer in network.named_modules() if isinstance(layer, (Block, DCNv3))}
    return called - working


@pytest.mark.parametrize("name", ["plain", "everything", "unet", "metnet"])
def test_every_parameter_gets_a_gradient_and_every_layer_changes_its_input(
    configuration: Configuration, dataset: DataSettings, tmp_path: Path, name: str
) -> None:
    """Offsets and masks of the convolutions start from zero weights: their inputs need an update first."""
    values: dict[str, Any] = {"loss": ALL_PARTS, "optimisation": {"updates": 3, "average_decay": 0.0}}
    settings = {
        "plain": lambda: _without_chance(configuration, **values),
        "everything": lambda: changed(
            _without_chance(configuration, **values),
            network={"embedding": {"token_width": 16}, "channel_attention": True, "refinement": 4},
            data={"conditions": ("lead", "hour")},
            head="ordinal",
            mask_ratio=0.25,
        ),
        "unet": lambda: _with_network(configuration, {"name": "unet", "width": 2}, **values),
        "metnet": lambda: _with_network(configuration, METNET, **values),
    }[name]()
    run = finetune(settings, tmp_path)
    idle = [key for key, p in run.network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []
    fields = torch.from_numpy(Split(settings.data, "test").fields([0]))
    assert _idle_layers(run.network, fields) == set()


def test_a_run_overfits_a_few_samples(
    configuration: Configuration, write_dataset: Callable[..., DataSettings], tmp_path: Path
) -> None:
    """Of two cycles the first is dry, which leaves two samples."""
    data = write_dataset(tmp_path / "data.zarr", cycles=2)
    settings = _without_chance(
        configuration,
        data={"archive": data.archive},
        labels="one_hot",
        optimisation={"updates": 80, "batch": 2, "learning_rate": 1e-2, "validate_every": 10},
    )
    run = finetune(settings, tmp_path / "run")
    losses = [row["training_loss"] for row in run.rows]
    assert losses[-1] < 0.25 * losses[0]
    split = Split(data, "train", wet_only=True)
    assert len(split) == 2
    batch = read(split, np.arange(2), CPU)
    with torch.no_grad():
        predicted = run.network.train()(batch.fields).argmax(1)
    observed = ~batch.rain_mm.isnan()
    classes = (batch.rain_mm >= 0.1).long() + (batch.rain_mm >= 10)
    assert (predicted == classes)[observed].float().mean() > 0.9


def test_a_run_leaves_curves_weights_and_what_it_was_made_from(
    configuration: Configuration, dataset: DataSettings, tmp_path: Path
) -> None:
    run = finetune(configuration, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, WEIGHTS, CURVES, PROVENANCE}
    header = (tmp_path / CURVES).read_text().splitlines()[0]
    assert header.endswith("waiting_share,validation_loss,validation_csi_0.1mm,validation_csi_10mm")
    provenance, network = load_run(tmp_path)
    split = Split(dataset, "train")
    assert provenance.configuration == configuration
    assert provenance.data_digest == split.description.digest
    assert provenance.statistics_digest == split.description.statistics_digest
    assert (provenance.samples, provenance.processes, provenance.pretrained_digest) == (8, 1, None)
    assert not network.training
    with torch.no_grad():
        scores = Loss(configuration, None).validation(network, Split(dataset, "validation"), CPU)
    assert scores["loss"] == pytest.approx(min(row["validation_loss"] for row in run.rows))


def test_dry_samples_are_left_out_only_where_asked(configuration: Configuration, tmp_path: Path) -> None:
    finetune(changed(configuration, only_wet_samples=False), tmp_path, last_update=2)
    assert load_run(tmp_path)[0].samples == 10


def test_masks_are_new_in_every_update_and_none_are_drawn_at_validation(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[bool, Tensor | None]] = []
    forward = Segmentation.forward

    def _recorded(self: Segmentation, fields: Tensor, masked: Tensor | None = None) -> Tensor:
        seen.append((self.training, masked))
        return forward(self, fields, masked)

    monkeypatch.setattr(Segmentation, "forward", _recorded)
    for ratio, hidden in ((0.25, 4), (0.5, 8)):
        seen.clear()
        finetune(changed(configuration, mask_ratio=ratio, **EMBEDDING), tmp_path / f"{ratio}")
        masks = [masked for training, masked in seen if training and masked is not None]
        assert [len(masked) for masked in masks] == [4] * 4
        assert all(masked.sum(dim=1).tolist() == [hidden] * 4 for masked in masks)
        assert not any(torch.equal(one, other) for one, other in pairwise(masks))
        assert [masked for training, masked in seen if not training] == [None, None]
    seen.clear()
    finetune(changed(configuration, **EMBEDDING), tmp_path / "none")
    assert {masked for _, masked in seen} == {None}


def test_bfloat16_stays_near_single_precision(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dtypes = set()
    forward = Segmentation.forward

    def _recorded(self: Segmentation, fields: Tensor, masked: Tensor | None = None) -> Tensor:
        outputs = forward(self, fields, masked)
        dtypes.add((self.training, outputs.dtype))
        return outputs

    monkeypatch.setattr(Segmentation, "forward", _recorded)
    losses = {}
    for precision in ("float32", "bfloat16"):
        settings = _without_chance(configuration, optimisation={"precision": precision}, loss=ALL_PARTS)
        run = finetune(settings, tmp_path / precision)
        losses[precision] = [row[name] for row in run.rows for name in ("training_loss", "validation_loss")]
    assert dtypes == {(True, torch.float32), (True, torch.bfloat16), (False, torch.float32)}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_stopped_run_ends_at_the_same_weights(
    configuration: Configuration, tmp_path: Path, stop: int
) -> None:
    """With drop-out, stochastic depth and masks."""
    settings = changed(configuration, mask_ratio=0.25, **EMBEDDING)
    whole = finetune(settings, tmp_path / "whole")
    finetune(settings, tmp_path / "parts", last_update=stop)
    resumed = finetune(settings, tmp_path / "parts")
    state = whole.network.state_dict()
    assert same(state, resumed.network.state_dict()) == state.keys()
    assert (tmp_path / "whole" / WEIGHTS).read_bytes() == (tmp_path / "parts" / WEIGHTS).read_bytes()


def test_a_killed_command_ends_at_the_same_weights(configuration: Configuration, tmp_path: Path) -> None:
    """SIGKILL at a random moment after the first checkpoint, among updates, validations and writes."""
    settings = changed(
        configuration,
        mask_ratio=0.25,
        optimisation={"updates": 25, "checkpoint_every": 1, "validate_every": 4},
        **EMBEDDING,
    )
    whole = finetune(settings, tmp_path / "whole")
    (tmp_path / "run.toml").write_text(as_toml(settings))
    files = ("--config", str(tmp_path / "run.toml"), "--out", str(tmp_path / "killed"))
    command = [sys.executable, "-m", "training.finetune", *files]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / "killed" / CHECKPOINT).exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.2))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    reached = torch.load(tmp_path / "killed" / CHECKPOINT)["update"]
    assert 1 <= reached < 25
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["update"] == 25
    weights = torch.load(tmp_path / "killed" / WEIGHTS)
    assert same(torch.load(tmp_path / "whole" / WEIGHTS), weights) == weights.keys()
    fitted = torch.load(tmp_path / "killed" / CHECKPOINT)["network"]
    assert same(whole.network.state_dict(), fitted) == fitted.keys()


def test_another_seed_gives_other_weights(configuration: Configuration, tmp_path: Path) -> None:
    first = finetune(configuration, tmp_path / "a", last_update=1)
    again = finetune(configuration, tmp_path / "b", last_update=1)
    other = finetune(changed(configuration, seed=4), tmp_path / "c", last_update=1)
    state = first.network.state_dict()
    assert same(state, again.network.state_dict()) == state.keys()
    assert not torch.equal(
        first.network.get_parameter("decoder.classifier.weight"),
        other.network.get_parameter("decoder.classifier.weight"),
    )


def test_a_loss_that_is_not_finite_stops_and_names_the_samples(
    configuration: Configuration, write_dataset: Callable[..., DataSettings], tmp_path: Path
) -> None:
    """Sample 5 of the archive is the third of those with precipitation, counted from 0."""
    data = write_dataset(tmp_path / "data.zarr")
    inputs = zarr.open_array(data.archive, path="inputs", mode="r+")
    inputs[5, 3, 4, 4] = np.inf
    with pytest.raises(Diverged, match=r"loss is not finite; where: update \d, samples \[(.*, )?3[,\]]"):
        finetune(changed(configuration, data={"archive": data.archive}), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [PROVENANCE]
