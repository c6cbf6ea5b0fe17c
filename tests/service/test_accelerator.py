"""What is asked of an accelerator before any of it is loaded; that it computes the same: training's tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from service.accelerator import DESCRIPTION, GRAPH, LIBRARY, Accelerator, Description
from service.artefact import Artefact
from service.errors import ArtefactError, SettingsError
from service.inference import Inference
from service.settings import Settings
from tests.service.sample_artefact import write_artefact


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def artefact(tmp_path: Path) -> Artefact:
    return Artefact.load(write_artefact(tmp_path / "models"))


@pytest.fixture
def made(tmp_path: Path, artefact: Artefact) -> tuple[Path, str]:
    """An accelerator of the sample whose library is none, and the digest of its description."""
    folder = tmp_path / "accelerator"
    folder.mkdir()
    contents = {GRAPH: artefact.graph.read_bytes(), LIBRARY: b"no library"}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    description = Description(
        model=artefact.identity,
        model_sha256=artefact.model_sha256,
        source_sha256="0" * 64,
        compiler="none",
        onnxruntime="none",
        files={name: _digest(content) for name, content in contents.items()},
    )
    text = description.model_dump_json().encode()
    (folder / DESCRIPTION).write_bytes(text)
    return folder, _digest(text)


def test_a_library_that_does_not_load_stops_the_model(artefact: Artefact, made: tuple[Path, str]) -> None:
    with pytest.raises(ArtefactError, match=r"the library does not load.*dcnv3\.so.*RAINPOST_ACCELERATOR"):
        Inference(artefact, accelerator=Accelerator.load(*made))


@pytest.mark.parametrize("name", [GRAPH, LIBRARY])
def test_a_changed_file_is_refused_before_it_is_loaded(
    artefact: Artefact, made: tuple[Path, str], name: str
) -> None:
    (made[0] / name).write_bytes(b"something else")
    with pytest.raises(ArtefactError, match=rf"not the file that was asked for.*{name}"):
        Inference(artefact, accelerator=Accelerator.load(*made))


def test_a_missing_file_is_named(artefact: Artefact, made: tuple[Path, str]) -> None:
    (made[0] / LIBRARY).unlink()
    with pytest.raises(ArtefactError, match=r"cannot be read.*dcnv3\.so.*No such file"):
        Inference(artefact, accelerator=Accelerator.load(*made))


def test_a_description_with_another_digest_is_refused(made: tuple[Path, str]) -> None:
    with pytest.raises(ArtefactError, match=r"not the file that was asked for.*accelerator\.json"):
        Accelerator.load(made[0], "f" * 64)


def test_a_description_without_the_library_is_refused(artefact: Artefact, made: tuple[Path, str]) -> None:
    path = made[0] / DESCRIPTION
    description = Accelerator.load(*made).description
    text = description.model_copy(update={"files": {GRAPH: description.files[GRAPH]}}).model_dump_json()
    path.write_text(text)
    with pytest.raises(ArtefactError, match=r"not the file that was asked for.*dcnv3\.so"):
        Inference(artefact, accelerator=Accelerator.load(made[0], _digest(text.encode())))


def test_what_is_no_description_is_refused(made: tuple[Path, str]) -> None:
    (made[0] / DESCRIPTION).write_text("{}")
    with pytest.raises(ArtefactError, match="no accelerator's"):
        Accelerator.load(made[0], _digest(b"{}"))


def test_a_model_that_it_was_not_made_for_does_not_use_it(tmp_path: Path, made: tuple[Path, str]) -> None:
    accelerator = Accelerator.load(*made)
    other = accelerator.description.model_copy(update={"model_sha256": "e" * 64})
    artefact = Artefact.load(write_artefact(tmp_path / "others"))
    assert Inference(artefact, accelerator=Accelerator(made[0], other)).accelerator is None


def test_folder_and_digest_are_set_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Settings.load().accelerator is None
    monkeypatch.setenv("RAINPOST_ACCELERATOR", str(tmp_path))
    with pytest.raises(SettingsError, match=r"RAINPOST_ACCELERATOR_SHA256.*set together or not at all"):
        Settings.load()
    monkeypatch.setenv("RAINPOST_ACCELERATOR_SHA256", "short")
    with pytest.raises(SettingsError, match="RAINPOST_ACCELERATOR_SHA256"):
        Settings.load()
    monkeypatch.setenv("RAINPOST_ACCELERATOR_SHA256", "a" * 64)
    assert Settings.load().accelerator == tmp_path
    monkeypatch.setenv("RAINPOST_PROVIDER", "cuda")
    with pytest.raises(SettingsError, match="needs RAINPOST_PROVIDER=cpu"):
        Settings.load()
