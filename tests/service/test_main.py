"""The command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from service.__main__ import main
from service.artefact import Artefact
from service.cycle import read_cycle
from service.series import describe
from service.settings import Settings
from tests.service.sample_artefact import SAMPLE_SPECIFICATION, expected_probabilities, write_artefact
from tests.service.sample_cycle import RELATIVE_HUMIDITY_850, SampleField, write_cycle


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with the sample artefact; the models folder."""
    for setting in Settings.describe():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.setenv("RAINPOST_MODELS_FOLDER", str(tmp_path / "models"))
    monkeypatch.setenv("RAINPOST_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("RAINPOST_THREADS", "1")
    write_artefact(tmp_path / "models")
    return tmp_path / "models"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for command in (
        "serve",
        "correct",
        "status",
        "audit",
        "inspect",
        "models",
        "keys",
        "settings",
        "metrics",
    ):
        assert f"\n    {command} " in text
    with pytest.raises(SystemExit):
        main(["correct", "--help"])
    assert {"--reference-time", "--out", "--model", "FILE"} <= set(capsys.readouterr().out.split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("rainpost 0.")


def test_correct_writes_the_product(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write_cycle(tmp_path / "cycle")
    out = tmp_path / "out"
    arguments = ["correct", *map(str, paths), "--reference-time", "2026112200", "--out", str(out)]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    product = Path(captured.out.strip())
    assert list(out.iterdir()) == [product]
    assert "reading and remapping ... " in captured.err
    manifest = Artefact.load(models / "sample-0.1.0").manifest
    cycle = read_cycle(paths, SAMPLE_SPECIFICATION)
    with xr.open_dataset(product) as dataset:
        np.testing.assert_allclose(
            dataset["class_probability"], expected_probabilities(cycle.values, manifest), atol=1e-6
        )
        np.testing.assert_array_equal(dataset["lwe_thickness_of_precipitation_amount"], cycle.values[:, 2])
        assert paths[0].name in dataset.attrs["input_sha256"]


def test_correct_explains_what_is_wrong_with_the_input(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(field: SampleField) -> SampleField | None:
        dropped = (field.field, field.lead_hours) == (RELATIVE_HUMIDITY_850, 3)
        return None if dropped else replace(field)

    out = tmp_path / "out"
    paths = write_cycle(tmp_path / "cycle", change)
    assert main(["correct", *map(str, paths), "--out", str(out)]) == 2
    text = capsys.readouterr().err
    assert "relative_humidity_850hpa" in text
    assert "\n  where " in text
    assert "Traceback" not in text
    assert not list(tmp_path.glob("out/*"))


def test_a_wrong_reference_time_is_an_error_of_the_input(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_cycle(tmp_path / "cycle")
    assert main(["correct", *map(str, paths), "--reference-time", "2026112206"]) == 2
    assert main(["correct", *map(str, paths), "--reference-time", "soon"]) == 2
    assert "not a reference time" in capsys.readouterr().err


def test_a_file_that_is_not_there(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("correct", "inspect"):
        assert main([command, "/no/such/file"]) == 2
        assert "/no/such/file" in capsys.readouterr().err


def test_inspect_shows_fields_and_what_is_missing(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_cycle(tmp_path / "cycle")
    assert main(["inspect", *map(str, paths[:2])]) == 0
    text = capsys.readouterr().out
    assert "temperature_2m" in text
    assert "3" in text.rpartition("lead")[2]


def test_inspect_needs_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAINPOST_MODELS_FOLDER", str(tmp_path / "none"))
    assert main(["inspect", *map(str, write_cycle(tmp_path / "cycle"))]) == 0
    assert "relative_humidity" in capsys.readouterr().out


@pytest.mark.usefixtures("kept_logging")
def test_without_a_model_nothing_is_corrected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAINPOST_MODELS_FOLDER", str(tmp_path / "none"))
    monkeypatch.setenv("RAINPOST_DATA_FOLDER", str(tmp_path / "data"))
    for command in (["correct", "/dev/null"], ["serve"]):
        assert main(command) == 1
        assert "RAINPOST_MODELS_FOLDER" in capsys.readouterr().err


@pytest.mark.usefixtures("kept_logging")
def test_a_data_folder_that_leads_nowhere_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    circle = tmp_path / "data"
    circle.symlink_to(circle)
    monkeypatch.setenv("RAINPOST_DATA_FOLDER", str(circle))
    assert main(["serve"]) == 1
    message = capsys.readouterr().err
    assert "RAINPOST_DATA_FOLDER" in message
    assert str(circle) in message


def test_settings_are_listed_and_unknown_ones_refused(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["settings"]) == 0
    text = capsys.readouterr().out
    assert all(f"{setting.variable}={setting.default}\n" in text for setting in Settings.describe())
    monkeypatch.setenv("RAINPOST_MODEL_FOLDER", "x")
    assert main(["models"]) == 1
    assert "did you mean RAINPOST_MODELS_FOLDER?" in capsys.readouterr().err


def test_metrics_lists_every_series(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics"]) == 0
    text = capsys.readouterr().out
    assert "rainpost_jobs_total{outcome, reason}\n    counter. Jobs that ended" in text
    assert all(f"{one.name}" in text and one.meaning in text for one in describe())
