"""Products that come out again, and those that do not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import netCDF4
import pytest

from service import audit
from service.__main__ import main
from service.audit_commands import DIFFERENT
from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import running, submit

Change = Callable[[netCDF4.Dataset], None]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data`` and ``models`` of a service that published a cycle twice, and its ``cycle``.

    The first revision has one lead.
    """
    folder = tmp_path_factory.mktemp("audit")
    paths = write_cycle(folder / "cycle")
    with running(folder, minimum_leads=1, minimum_free_bytes=0) as client:
        assert submit(client, paths[:2]).status_code == 200
        assert submit(client, paths).status_code == 200
    return folder


@pytest.fixture
def service(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, which the settings name."""
    copy = tmp_path / "service"
    shutil.copytree(published, copy)
    monkeypatch.setenv("RAINPOST_MODELS_FOLDER", str(copy / "models"))
    monkeypatch.setenv("RAINPOST_DATA_FOLDER", str(copy / "data"))
    return copy


def product_of(service: Path, revision: int = 2) -> Path:
    (path,) = (service / "data" / "products").glob(f"*/r{revision}.nc")
    return path


def changed(service: Path, change: Change) -> Path:
    """A copy of the product, elsewhere, with a change."""
    path = service / "changed.nc"
    shutil.copy(product_of(service), path)
    with netCDF4.Dataset(path, "a") as dataset:
        dataset.set_auto_maskandscale(False)
        change(dataset)
    return path


def test_a_published_product_comes_out_again_byte_for_byte(
    service: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAINPOST_THREADS", "2")
    assert main(["audit", "latest", str(service / "cycle")]) == 0
    said = capsys.readouterr()
    assert "revision 2 of 2026-11-22T00:00:00Z\n" in said.out
    assert said.out.endswith("equal: every byte\n")
    assert "recomputing 2 leads" in said.err


def test_a_product_of_some_leads_comes_out_again(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(path) for path in sorted((service / "cycle").iterdir())]
    assert main(["audit", "2026-11-22T00Z", *files, "--revision", "1"]) == 0
    assert "recomputing 1 leads" in capsys.readouterr().err


def test_uploads_that_the_service_keeps_are_found(service: Path) -> None:
    for number, path in enumerate(sorted((service / "cycle").iterdir())):
        place = service / "data" / "work" / "jobs" / "failed" / "inputs" / str(number)
        place.mkdir(parents=True)
        path.rename(place / "body")
    assert main(["audit", str(product_of(service))]) == 0


def test_every_change_of_a_value_is_told(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(dataset: netCDF4.Dataset) -> None:
        dataset["class_probability"][1, 2, 3, 4] += 0.25
        dataset["class_probability"][1, 2, 3, 5] += 0.125
        dataset["most_likely_class"][0, 0, 0] += 1
        dataset["x"][0] += 0.5

    assert main(["audit", str(changed(service, change)), str(service / "cycle")]) == DIFFERENT
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[4:]]
    assert rows == [
        ["variable", "lead", "values", "largest", "difference"],
        ["class_probability", "3", "2", "0.25"],
        ["most_likely_class", "2", "1", "1"],
        ["x", "-", "1", "0.5"],
    ]


def test_what_else_differs_is_told(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(dataset: netCDF4.Dataset) -> None:
        dataset.title = "Rain"
        dataset["threshold"].units = "m"
        dataset.createVariable("more", "f4", ("y", "x"))

    assert main(["audit", str(changed(service, change)), str(service / "cycle")]) == DIFFERENT
    said = capsys.readouterr().out
    assert "global attribute title is 'Rain' and 'Probabilities of classes" in said
    assert "threshold: units is 'm' and 'mm'" in said
    assert "only one has the variable more\n" in said


def test_the_same_values_in_another_file_are_equal(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As where another version of the library wrote it."""

    def change(dataset: netCDF4.Dataset) -> None:
        dataset.passing = "x" * 5000
        dataset.sync()
        dataset.delncattr("passing")

    assert main(["audit", str(changed(service, change)), str(service / "cycle")]) == 0
    assert "equal: every value and attribute, bit for bit" in capsys.readouterr().out


def test_inputs_that_are_not_at_hand_are_named(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted((service / "cycle").iterdir())
    paths[1].write_bytes(paths[1].read_bytes() + b"\0")
    assert main(["audit", "latest", str(service / "cycle")]) == 1
    said = capsys.readouterr().err
    assert "1 of the 3 files that the product was made from are not at hand" in said
    assert paths[1].name in said
    assert paths[0].name not in said
    assert main(["audit", "latest", str(service / "nowhere")]) == 2


def test_a_model_that_is_not_at_hand_is_named(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(service / "models" / "sample-0.1.0")
    write_artefact(service / "models", version="0.2.0")
    assert main(["audit", "latest", str(service / "cycle")]) == 1
    said = capsys.readouterr().err
    assert "the model that made the product is not at hand" in said
    assert "sample-0.1.0 with the manifest sha256" in said
    assert "sample-0.2.0" in said


def test_code_of_another_version_is_refused_unless_it_is_asked_for(
    service: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "rainpost_version", lambda: "99.0")
    assert main(["audit", "latest", str(service / "cycle")]) == 1
    assert "got       rainpost 99.0" in capsys.readouterr().err
    assert main(["audit", "latest", str(service / "cycle"), "--any-code"]) == 0
    assert "bit for bit" in capsys.readouterr().out


def test_another_provider_may_be_asked_for(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(dataset: netCDF4.Dataset) -> None:
        dataset.execution_provider = "AnotherExecutionProvider"

    product = str(changed(service, change))
    assert main(["audit", product, str(service / "cycle")]) == 1
    assert "the provider that made the product is not at hand" in capsys.readouterr().err
    assert main(["audit", product, str(service / "cycle"), "--provider", "cpu"]) == 0


def test_a_file_that_is_not_what_was_published_is_refused(
    service: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with product_of(service).open("ab") as file:
        file.write(b"\0")
    assert main(["audit", "latest", str(service / "cycle")]) == 2
    assert "the product is not the file that was published" in capsys.readouterr().err


def test_what_is_no_product_is_refused(
    service: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.nc"
    text.write_text("no product")
    assert main(["audit", str(text)]) == 2
    with netCDF4.Dataset(tmp_path / "bare.nc", "w") as dataset:
        dataset.title = "bare"
    assert main(["audit", str(tmp_path / "bare.nc")]) == 2
    assert capsys.readouterr().err.count("rainpost: not a product\n") == 2
    assert main(["audit", "2026-11-22T06Z"]) == 1
    assert "no product of this cycle" in capsys.readouterr().err
    assert main(["audit", "absent.nc"]) == 1
    shutil.rmtree(service / "data")
    assert main(["audit", "latest"]) == 1
