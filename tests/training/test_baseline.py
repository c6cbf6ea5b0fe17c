"""The command for systems without a network: settings, fit, scores."""

from pathlib import Path

import numpy as np
import pytest

from service.errors import SettingsError
from training import baseline
from training.baseline import Baseline, fitted, score
from training.configuration import read_settings
from training.evaluation import SCORES, read_evaluation
from training.rows import BASELINES, CONFIGURATIONS, REAL_BASELINES
from training.samples import DataSettings, Split
from training.scoring import HEAVY_CASE


def _settings(dataset: DataSettings, **system: object) -> Baseline:
    return Baseline.model_validate({"seed": 5, "data": dataset, "system": system})


def test_raw_is_the_forecast_amount(dataset: DataSettings) -> None:
    subject, system = fitted(_settings(dataset, name="raw"))
    split = Split(dataset, "test")
    np.testing.assert_array_equal(system(split).strengths[0], split.channel(15))
    assert (subject.system, subject.seed, dict(subject.settings)) == ("raw", None, {})


def test_what_was_chosen_is_stored(dataset: DataSettings, tmp_path: Path) -> None:
    settings = _settings(dataset, name="smoothed", widths_cells=[0.5, 2.0])
    evaluation = score(settings, tmp_path / "out")
    assert evaluation.system == "smoothed"
    assert set(evaluation.settings) == {"width_cells_0.1mm", "width_cells_10mm"}
    assert set(evaluation.settings.values()) <= {0.5, 2.0}
    assert read_evaluation(tmp_path / "out") == evaluation
    assert {path.name for path in (tmp_path / "out").iterdir()} == {SCORES, HEAVY_CASE}


@pytest.mark.parametrize(
    ("system", "seed"),
    [
        ({"name": "quantile_mapping"}, None),
        ({"name": "trees", "rounds": 3, "cells_per_class": 20, "cells_per_leaf": 5}, 5),
    ],
)
def test_only_what_draws_has_a_seed(
    dataset: DataSettings, system: dict[str, object], seed: int | None
) -> None:
    subject, forecast = fitted(_settings(dataset, **system))
    assert (subject.system, subject.seed) == (system["name"], seed)
    assert subject.settings == {key: value for key, value in subject.settings.items() if key != "name"}
    assert forecast(Split(dataset, "test")).strengths.shape == (2, 10, 32, 32)


@pytest.mark.parametrize(
    ("part", "name"),
    [*(("experiment", name) for name in BASELINES), *(("real", name) for name in REAL_BASELINES)],
)
def test_the_configurations_are_valid(part: str, name: str) -> None:
    settings = read_settings(Baseline, CONFIGURATIONS / part / f"{name}.toml")
    assert settings.system.name == name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[system]\nname = "raw"\nwidth = 2', "width"),
        ('sead = 1\n[system]\nname = "raw"', "sead"),
        ('[system]\nname = "kriging"', "kriging"),
    ],
)
def test_an_unknown_key_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "row.toml"
    path.write_text(f"{text}\n[data]\narchive = 'none.zarr'\n")
    with pytest.raises(SettingsError, match=problem):
        read_settings(Baseline, path)


def test_the_command_prints_its_scores(
    dataset: DataSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "raw.toml"
    path.write_text(f'[data]\narchive = "{dataset.archive}"\n[system]\nname = "raw"\n')
    monkeypatch.setattr("sys.argv", ["baseline", "--config", str(path), "--out", str(tmp_path / "out")])
    baseline.main()
    value = read_evaluation(tmp_path / "out").thresholds[0].decision("value")
    assert value is not None
    assert f"| 0.1 mm | value | 0.100 | {value.ratios.csi:.3f} [" in capsys.readouterr().out
