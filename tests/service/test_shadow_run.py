"""What the process of the shadow does, called here without one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from service import shadow_run
from service.artefact import Artefact
from service.cycle import read_cycle
from service.decoding import save_cycle
from service.errors import ArtefactError, DigestMismatch
from service.model_folder import identity_of
from service.references import hash_file
from service.shadow_run import ShadowRun, load_shadow, prove_shadow, run_shadow
from service.stages import CYCLE_FILE, Task
from service.store import Store
from service.submission import Submission
from tests.service.sample_artefact import (
    SAMPLE_SPECIFICATION,
    expected_probabilities,
    write_artefact,
)
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle


@pytest.fixture(autouse=True)
def humble(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """By how much the process stepped back; the tests' own stays as it is."""
    steps: list[int] = []
    monkeypatch.setattr(os, "nice", steps.append)
    for function in (load_shadow, shadow_run._step_back):
        function.cache_clear()
    yield steps
    for function in (load_shadow, shadow_run._step_back):
        function.cache_clear()


@pytest.fixture
def run(tmp_path: Path) -> ShadowRun:
    """Of the sample cycle, which lies where it was referred to."""
    write_artefact(tmp_path / "models")
    shadow = Artefact.load(write_artefact(tmp_path / "models", version="0.2.0"))
    paths = write_cycle(tmp_path / "cycle")
    submission = Submission.of([hash_file(path) for path in paths], None)
    active = identity_of(Artefact.load(tmp_path / "models" / "sample-0.1.0"))
    task = Task(submission=submission, model=active, shadow=identity_of(shadow))
    for name in ("work", "weights"):
        (tmp_path / name).mkdir()
    return ShadowRun(
        tmp_path / "work",
        task,
        identity_of(shadow),
        tmp_path / "models",
        "cpu",
        tmp_path / "weights",
        tmp_path / "shadow",
    )


def test_the_product_is_that_of_the_shadow_and_is_stored_once(run: ShadowRun, tmp_path: Path) -> None:
    record = run_shadow(run)
    assert record.origin.model == run.shadow
    assert run_shadow(run) == record
    store = Store(run.store)
    assert store.revisions(REFERENCE_TIME) == [record]
    cycle = read_cycle(list((tmp_path / "cycle").iterdir()), SAMPLE_SPECIFICATION)
    expected = expected_probabilities(
        cycle.values, Artefact.load(run.models_folder / "sample-0.2.0").manifest
    )
    with xr.open_dataset(store.product_path(record)) as product:
        np.testing.assert_allclose(product["class_probability"], expected, atol=1e-6)
        assert product.attrs["model_version"] == "0.2.0"


def test_a_decoded_cycle_is_not_decoded_again(run: ShadowRun, tmp_path: Path) -> None:
    paths = list((tmp_path / "cycle").iterdir())
    save_cycle(run.folder / CYCLE_FILE, read_cycle(paths, SAMPLE_SPECIFICATION))
    paths[0].unlink()
    assert run_shadow(run).origin.leads_hours == (2, 3)


def test_files_that_changed_are_not_taken_for_the_cycle(run: ShadowRun, tmp_path: Path) -> None:
    next((tmp_path / "cycle").iterdir()).write_bytes(b"GRIB")
    with pytest.raises(DigestMismatch):
        run_shadow(run)
    assert not any(run.store.glob("*/r*"))


def test_one_model_stays_loaded_in_a_process_that_stepped_back(run: ShadowRun, humble: list[int]) -> None:
    folders = [run.models_folder / f"sample-0.{number}.0" for number in (1, 2)]
    digests = [Artefact.load(folder).sha256 for folder in folders]
    first = load_shadow(folders[0], "cpu", digests[0])
    assert load_shadow(folders[0], "cpu", digests[0]) is first
    load_shadow(folders[1], "cpu", digests[1])
    assert load_shadow(folders[0], "cpu", digests[0]) is not first
    assert humble == [10], "once, however many models"


def test_a_model_that_is_not_the_chosen_one_is_refused(run: ShadowRun) -> None:
    folder = run.models_folder / "sample-0.2.0"
    with pytest.raises(ArtefactError, match="not the one that was chosen"):
        load_shadow(folder, "cpu", "0" * 64)
    assert prove_shadow(folder, "cpu") == Artefact.load(folder)
    (folder / "MODEL_CARD.md").write_text("changed")
    with pytest.raises(ArtefactError, match=r"MODEL_CARD\.md"):
        prove_shadow(folder, "cpu")
