"""The model folder is refused for every way in which it can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from service.artefact import (
    CARD,
    GOLDEN,
    GOLDEN_INPUT,
    GOLDEN_OUTPUT,
    GRAPH,
    MANIFEST,
    Artefact,
    digest_file,
    find_models,
    normalise,
    read_manifest,
)
from service.errors import ArtefactError
from tests.service.sample_artefact import middle_values, rewrite_manifest, write_artefact


def test_a_whole_folder_loads(tmp_path: Path) -> None:
    folder = write_artefact(tmp_path)
    artefact = Artefact.load(folder)
    assert artefact.identity == "sample-0.1.0"
    assert artefact.model_sha256 == digest_file(folder / GRAPH)
    assert artefact.sha256 == digest_file(folder / MANIFEST)


@pytest.mark.parametrize("name", [GRAPH, GOLDEN, CARD])
def test_a_changed_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_artefact(tmp_path)
    with (folder / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtefactError, match=f"{name}.*sha256"):
        Artefact.load(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = write_artefact(tmp_path)
    (folder / CARD).unlink()
    with pytest.raises(ArtefactError, match=CARD):
        Artefact.load(folder)


def test_a_file_too_many_is_named(tmp_path: Path) -> None:
    folder = write_artefact(tmp_path)
    (folder / "model.onnx.data").write_bytes(b"\0")
    with pytest.raises(ArtefactError, match=r"model\.onnx\.data"):
        Artefact.load(folder)


def test_the_folder_bears_the_models_name(tmp_path: Path) -> None:
    folder = write_artefact(tmp_path)
    renamed = folder.rename(tmp_path / "sample-0.2.0")
    with pytest.raises(ArtefactError, match=r"expected: sample-0\.1\.0; got: sample-0\.2\.0"):
        Artefact.load(renamed)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"manifest\.json"):
        Artefact.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"surprise": 1}, "surprise"),
        ({"manifest_version": 2}, "manifest_version"),
        ({"normalisation": {}}, "normalisation"),
        ({"version": "one"}, "version"),
    ],
)
def test_a_bad_manifest_names_the_member(tmp_path: Path, change: dict[str, object], named: str) -> None:
    folder = write_artefact(tmp_path)
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ArtefactError, match=named):
        read_manifest(folder)


def test_the_golden_case_is_replayed_within_its_tolerance(tmp_path: Path) -> None:
    artefact = Artefact.load(write_artefact(tmp_path))
    _, expected = artefact.golden()
    assert artefact.replay(lambda _: expected) == 0.0
    assert artefact.replay(lambda _: expected + np.float32(5e-6)) == pytest.approx(5e-6, rel=0.05)


def test_a_golden_mismatch_says_where(tmp_path: Path) -> None:
    artefact = Artefact.load(write_artefact(tmp_path))
    _, expected = artefact.golden()
    wrong = expected.copy()
    wrong[0, 2, 3, 4] += 0.25
    with pytest.raises(ArtefactError, match=r"0\.25 at .*\(0, 2, 3, 4\)"):
        artefact.replay(lambda _: wrong)


def test_a_golden_case_of_nan_does_not_pass(tmp_path: Path) -> None:
    artefact = Artefact.load(write_artefact(tmp_path))
    _, expected = artefact.golden()
    with pytest.raises(ArtefactError, match="does not reproduce"):
        artefact.replay(lambda _: np.full_like(expected, np.nan))


@pytest.mark.parametrize("fault", ["name", "shape", "zip"])
def test_a_golden_case_that_does_not_fit_the_manifest(tmp_path: Path, fault: str) -> None:
    folder = write_artefact(tmp_path)
    with np.load(folder / GOLDEN) as case:
        arrays = dict(case)
    if fault == "name":
        arrays["values_2"] = arrays.pop(GOLDEN_INPUT)
    elif fault == "shape":
        arrays[GOLDEN_OUTPUT] = arrays[GOLDEN_OUTPUT][..., :-1]
    np.savez(folder / GOLDEN, allow_pickle=False, **arrays)
    if fault == "zip":
        (folder / GOLDEN).write_bytes(b"no zip")
    rewrite_manifest(folder)
    with pytest.raises(ArtefactError, match="golden case"):
        Artefact.load(folder).golden()


def test_models_are_the_folders_with_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    write_artefact(tmp_path, version="0.2.0")
    write_artefact(tmp_path)
    assert [path.name for path in find_models(tmp_path)] == ["sample-0.1.0", "sample-0.2.0"]
    assert find_models(tmp_path / "absent") == []


def test_normalisation_is_per_channel(tmp_path: Path) -> None:
    manifest = Artefact.load(write_artefact(tmp_path)).manifest
    values = middle_values(manifest.cycle, 2)
    scores = normalise(values, manifest)
    assert scores.dtype == np.float32
    for index, channel in enumerate(manifest.cycle.channels):
        constants = manifest.normalisation[channel]
        expected = (values[:, index].astype(np.float64) - constants.mean) / constants.standard_deviation
        np.testing.assert_allclose(scores[:, index], expected, atol=1e-4)
