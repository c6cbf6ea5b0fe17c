"""Figures of the experiment: what they show is what the runs and the archive hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.finetune import Configuration, finetune
from training.forecasts import of_amounts
from training.illustrations import HEAVY, class_shares, draw, grad_cam, heavy_case, reconstruction
from training.networks.catalogue import EmbeddingSettings, InternImageSettings
from training.pretrain import Pretraining, pretrain
from training.samples import DataSettings, Split
from training.scoring import Subject, evaluate_system


@pytest.fixture
def scored(dataset: DataSettings, configuration: Configuration, tmp_path: Path) -> Path:
    """A run of one update, with the heavy case of the raw forecast in the place of its own."""
    finetune(configuration, tmp_path / "run", last_update=2)
    _, case = evaluate_system(Subject("raw"), lambda split: of_amounts(split.raw_rain_mm()), dataset)
    case.write(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def pretrained(configuration: Configuration, tmp_path: Path) -> Path:
    assert isinstance(configuration.network, InternImageSettings)
    settings = Pretraining(
        seed=1,
        threads=1,
        data=configuration.data,
        network=configuration.network.model_copy(update={"embedding": EmbeddingSettings(token_width=32)}),
        optimisation=configuration.optimisation,
        mask_ratio=0.5,
    )
    pretrain(settings, tmp_path / "pretrained", last_update=2)
    return tmp_path / "pretrained"


def test_class_shares_are_those_of_the_split(dataset: DataSettings) -> None:
    split = Split(dataset, "train")
    shares = class_shares(split)
    assert shares.one_hot == pytest.approx(split.description.class_shares["train"])
    rain = np.concatenate([split.rain_mm([index]).ravel() for index in range(len(split))])
    rain = rain[~np.isnan(rain)]
    # In the labels A heavy rain has a probability above zero from just above 0.1 mm on.
    assert shares.non_zero[2] == pytest.approx((rain > 0.1).mean(), abs=1e-6)
    assert sum(shares.non_zero) > 1


def test_the_heavy_case_shows_the_tuned_calls_of_each_system(scored: Path, dataset: DataSettings) -> None:
    split = Split(dataset, "test")
    case = heavy_case({"raw": scored, "absent": scored.parent / "none"}, split)
    assert set(case.classes) == {"raw"}
    heavy = (split.rain_mm(np.arange(len(split))) >= 10).sum(axis=(1, 2))
    assert (case.observed_mm >= 10).sum() == heavy.max()
    with np.load(scored / "heavy_case.npz") as stored:
        np.testing.assert_array_equal(case.classes["raw"] > 0, stored["tuned"][0])
        np.testing.assert_array_equal(stored["observed_mm"], case.observed_mm)
    assert "simulated" in case.title


def test_the_reconstruction_fills_what_was_masked(pretrained: Path, dataset: DataSettings) -> None:
    what = reconstruction(pretrained, Split(dataset, "test"))
    assert what.fields.shape == what.masked.shape == what.reconstructed.shape == (16, 32, 32)
    assert what.masked.mean() == pytest.approx(0.5)
    assert np.isfinite(what.reconstructed).all()


def test_the_heat_maps_are_of_the_heaviest_sample(scored: Path, dataset: DataSettings) -> None:
    split = Split(dataset, "test")
    title, observed_mm, classes, heat = grad_cam(scored, split)
    assert observed_mm.shape == classes.shape == (32, 32)
    assert classes.max() <= HEAVY
    assert list(heat) == ["stage 1", "stage 2", "stage 3", "stage 4", "fusion"]
    assert all((values >= 0).all() for values in heat.values())
    assert "forecast of" in title


def test_pictures_of_absent_runs_are_left_out(
    scored: Path, dataset: DataSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test, train = Split(dataset, "test"), Split(dataset, "train")
    made = draw(tmp_path / "pictures", test, train, tmp_path / "none", scored, {"raw": scored})
    assert [path.name for path in made] == ["class_shares.png", "heavy_case.png", "grad_cam.png"]
    assert "left out" in capsys.readouterr().out
