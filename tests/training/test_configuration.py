"""Configurations: what is taken over from where, and what is refused; the files that are shipped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ConfigDict

from service.errors import InputError, SettingsError
from tests.training.sample_settings import changed
from training import distribution
from training.baseline import Baseline
from training.configuration import (
    PROVENANCE,
    assignment,
    claim,
    configuration_files,
    machine,
    network_of,
    parse_arguments,
    read_provenance,
    read_settings,
)
from training.finetune import Configuration
from training.networks.catalogue import InternImageSettings, UNetSettings
from training.networks.segmentation import ARCHITECTURES
from training.pretrain import Pretraining
from training.rows import BASELINES, CONFIGURATIONS
from training.samples import DataSettings, Split

BASE = CONFIGURATIONS / "experiment" / "base.toml"
SHIPPED = sorted(path.relative_to(CONFIGURATIONS).as_posix() for path in CONFIGURATIONS.rglob("*.toml"))


class _Made(BaseModel):
    """What a run is made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    commit: str


class _OtherKind(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    mask_ratio: float


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _extended(folder: Path, text: str, **overrides: Any) -> Configuration:
    """The shipped configuration with this on top."""
    return read_settings(
        Configuration, _write(folder, "own.toml", f'extends = "{BASE.resolve()}"\n{text}'), overrides
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_configuration_is_valid(name: str) -> None:
    path = CONFIGURATIONS / name
    kind: type[BaseModel] = Configuration
    if path.stem in BASELINES:
        kind = Baseline
    elif path.stem.split("_")[0] == "pretrain":
        kind = Pretraining
    read_settings(kind, path)


def test_the_shipped_network_has_the_papers_labels_and_weights() -> None:
    configuration = read_settings(Configuration, BASE)
    assert isinstance(configuration.network, InternImageSettings)
    assert configuration.network.size == ARCHITECTURES["nano"]
    assert configuration.labels == "A"
    assert configuration.class_weights == (1, 5, 10)


def test_the_papers_numbers() -> None:
    """Section 3, Table 3 and appendix C."""
    pretraining = read_settings(Pretraining, CONFIGURATIONS / "paper" / "pretrain.toml")
    assert pretraining.mask_ratio == 0.9
    fitted = pretraining.optimisation
    assert (fitted.betas, fitted.weight_decay, fitted.gradient_clip) == ((0.9, 0.95), 0.05, 0.02)
    assert fitted.rate(fitted.warmup_updates) == pytest.approx(1.6e-3 * 64 / 256)
    finetuning = read_settings(Configuration, CONFIGURATIONS / "paper" / "finetune.toml")
    assert (finetuning.mask_ratio, finetuning.labels) == (0.25, "A")
    assert finetuning.class_weights == (1, 5, 10)
    assert (finetuning.optimisation.batch, finetuning.optimisation.rate(0)) == (32, 1e-4)
    assert finetuning.network == pretraining.network


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("seed = 1", "seed = 1\nflip = true", "flip: Extra"),
        ("batch = 8", "batch = 8\nmomentum = 0.9", "optimisation.momentum: Extra"),
        ("batch = 8", "batch = 0", "optimisation.batch: Input should be greater than 0"),
        ("batch = 8\n", "", "optimisation.batch: Field required"),
        ("[data]", "[data]\ngap = 1", "data.gap: Extra"),
        ('size = "nano"', 'size = "huge"', "no size 'huge'"),
        ('size = "nano"', 'size = "nano"\nwidth = 4', "network.internimage.width: Extra"),
        ('name = "internimage"', 'name = "resnet"', "resnet"),
        ("seed = 1", "seed = ", "cannot be read"),
        ("seed = 1", "device = 'tpu'\nseed = 1", "device"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    text = BASE.read_text()
    assert old in text
    path = _write(tmp_path, "broken.toml", text.replace(old, new))
    with pytest.raises(SettingsError, match=r"broken\.toml") as caught:
        read_settings(Configuration, path)
    assert caught.match(named)


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        _extended(tmp_path, "flip = 1\n[optimisation]\nbatch = 0\n[data]\ngap = 2")
    for name in ("flip", "optimisation.batch", "data.gap"):
        assert caught.match(name)


def test_a_file_that_is_no_text_or_absent_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe seed")
    for name in ("binary.toml", "absent.toml"):
        with pytest.raises(SettingsError, match=f"cannot be read.*{name}"):
            read_settings(Configuration, tmp_path / name)


def test_a_file_takes_over_what_it_does_not_say(tmp_path: Path) -> None:
    base = read_settings(Configuration, BASE)
    found = _extended(tmp_path, "seed = 7\n[optimisation]\nbatch = 3")
    assert found == changed(base, seed=7, optimisation={"batch": 3})


def test_the_nearest_file_has_the_last_word_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    _write(tmp_path, "a/base.toml", BASE.read_text())
    _write(tmp_path, "middle.toml", 'extends = "a/base.toml"\nseed = 2\nthreads = 3')
    last = _write(tmp_path, "b/last.toml", 'extends = "../middle.toml"\nseed = 5')
    found = read_settings(Configuration, last)
    assert (found.seed, found.threads, found.labels) == (5, 3, "A")
    files = [path.resolve().relative_to(tmp_path.resolve()) for path in configuration_files(last)]
    assert files == [Path("b/last.toml"), Path("middle.toml"), Path("a/base.toml")]


def test_a_network_of_another_name_takes_nothing_over(tmp_path: Path) -> None:
    found = _extended(tmp_path, '[network]\nname = "unet"\nwidth = 4')
    assert found.network == UNetSettings(name="unet", width=4)


def test_a_network_of_the_same_name_keeps_the_rest(tmp_path: Path) -> None:
    for head in ("[network.embedding]\ntoken_width = 8", '[network]\nname = "internimage"\nembedding = {}'):
        network = _extended(tmp_path, head).network
        assert isinstance(network, InternImageSettings)
        assert network.size == ARCHITECTURES["nano"]
        assert network.embedding is not None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('extends = "none.toml"', "cannot be read.*none.toml"),
        ("extends = 3", "must name a file; where: .*own.toml; expected: text; got: 3"),
        ('extends = "own.toml"', "extend each other.*own.toml -> .*own.toml"),
        ('extends = "circle.toml"', "extend each other.*own.toml -> .*circle.toml -> .*own.toml"),
    ],
)
def test_what_cannot_be_extended_is_refused(tmp_path: Path, text: str, found: str) -> None:
    _write(tmp_path, "circle.toml", 'extends = "x/own.toml"')
    (tmp_path / "x").symlink_to(tmp_path)
    with pytest.raises(SettingsError, match=found):
        read_settings(Configuration, _write(tmp_path, "own.toml", text))


def test_values_of_the_command_line_come_last(tmp_path: Path) -> None:
    overrides = {"seed": 9, "data.label_share": 0.2, "loss.csi": 0.5, "network.embedding.token_width": 16}
    found = read_settings(Configuration, BASE, overrides)
    base = read_settings(Configuration, BASE)
    expected = changed(
        base, seed=9, data={"label_share": 0.2}, loss={"csi": 0.5}, network={"embedding": {"token_width": 16}}
    )
    assert found == expected
    with pytest.raises(SettingsError, match=r"optimisation\.momentum: Extra"):
        read_settings(Configuration, BASE, {"optimisation.momentum": 1})
    with pytest.raises(SettingsError, match=r"where: network\.size\.channels; got: size = 'nano'"):
        read_settings(Configuration, BASE, {"network.size.channels": 8})


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("seed=2", "seed", 2),
        ("data.label_share=0.2", "data.label_share", 0.2),
        ("only_wet_samples=false", "only_wet_samples", False),
        ("crop=[64, 32]", "crop", [64, 32]),
        ("transfer.pretrained=runs/a=b", "transfer.pretrained", "runs/a=b"),
        ("labels=E", "labels", "E"),
    ],
)
def test_assignments_of_the_command_line(text: str, name: str, value: object) -> None:
    assert assignment(text) == (name, value)


def test_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        sys, "argv", ["x", "--config", "a.toml", "--out", "b", "--set", "seed=2", "--set", "labels=E"]
    )
    arguments = parse_arguments("x", None)
    assert (arguments.config, arguments.out) == (Path("a.toml"), Path("b"))
    assert dict(arguments.set) == {"seed": 2, "labels": "E"}
    with pytest.raises(argparse.ArgumentTypeError, match="'seed' is not name=value"):
        assignment("seed")
    monkeypatch.setattr(sys, "argv", ["x", "--config", "a.toml", "--out", "b", "--set", "seed"])
    with pytest.raises(SystemExit):
        parse_arguments("x", None)
    assert "not name=value" in capsys.readouterr().err


def test_a_network_sees_channels_and_conditions(configuration: Configuration, dataset: DataSettings) -> None:
    split = Split(changed(dataset, conditions=("lead", "hour")), "train")
    network = network_of(configuration, split, 5)
    fields = torch.from_numpy(split.fields([0, 1]))
    assert fields.shape[1] == 16 + 3
    assert network(fields).shape == (2, 5, *split.field_shape)


def test_a_network_that_does_not_fit_the_archive_is_refused(
    configuration: Configuration, dataset: DataSettings
) -> None:
    other = changed(configuration, network={"embedding": {"patch_channels": 3}})
    with pytest.raises(InputError, match=r"does not fit the archive.* do not divide fields of 16 x 32 x 32"):
        network_of(other, Split(dataset, "train"), 3)


def test_a_folder_is_claimed_once_and_for_the_same_run(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "a"
    claim(out, _Made(seed=1, commit="x"), ("seed",))
    claim(out, _Made(seed=1, commit="y"), ("seed",))
    assert read_provenance(_Made, out) == _Made(seed=1, commit="x")
    with pytest.raises(SettingsError, match=r"another run.*expected: the same seed.*got: another seed"):
        claim(out, _Made(seed=2, commit="x"), ("seed",))
    with pytest.raises(SettingsError, match=r"another run.*one of another kind"):
        claim(out, _OtherKind(mask_ratio=0.5), ("mask_ratio",))
    assert read_provenance(_Made, out) == _Made(seed=1, commit="x")
    assert [path.name for path in out.iterdir()] == [PROVENANCE]


def test_a_claim_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the same command would find half a file after a kill."""

    def _killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", _killed)
        with pytest.raises(KeyboardInterrupt):
            claim(tmp_path, _Made(seed=1, commit="x"), ("seed",))
    assert not (tmp_path / PROVENANCE).exists()
    claim(tmp_path, _Made(seed=2, commit="x"), ("seed",))
    assert read_provenance(_Made, tmp_path).seed == 2


def test_only_the_first_process_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "rank", lambda: 1)
    claim(tmp_path / "run", _Made(seed=1, commit="x"), ("seed",))
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_run_or_with_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"No run; where: {tmp_path}; expected: a file {PROVENANCE}"):
        read_provenance(_Made, tmp_path)
    claim(tmp_path, _OtherKind(mask_ratio=0.5), ())
    with pytest.raises(InputError, match=r"of another kind.*expected: _Made.*seed: Field required"):
        read_provenance(_Made, tmp_path)


def test_the_machine_is_named(configuration: Configuration) -> None:
    assert machine(configuration).endswith(", 1 threads")
