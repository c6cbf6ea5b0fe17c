"""Leads that went through the network early: the same probabilities, and the network runs once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.artefact import Artefact
from service.early_inference import EarlyInference
from service.early_results import EarlyResults
from service.errors import InferenceError
from service.inference import Inference
from tests.service.sample_artefact import (
    SAMPLE_SPECIFICATION,
    middle_values,
    write_artefact,
    write_other_artefact,
)


@pytest.fixture(scope="module")
def inference(tmp_path_factory: pytest.TempPathFactory) -> Inference:
    return Inference(Artefact.load(write_artefact(tmp_path_factory.mktemp("models"))), threads=1)


@pytest.fixture
def runs(inference: Inference, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many leads every run of the network took."""
    found: list[int] = []
    infer = inference.infer

    def counted(values: NDArray[np.float32]) -> NDArray[np.float32]:
        found.append(len(values))
        return infer(values)

    monkeypatch.setattr(inference, "infer", counted)
    return found


VALUES = middle_values(SAMPLE_SPECIFICATION, 3)


def test_what_began_early_is_taken_over(inference: Inference, runs: list[int], tmp_path: Path) -> None:
    expected = inference.infer(VALUES)
    results = EarlyResults(tmp_path)
    results.put("second", VALUES[1])
    early = EarlyInference(inference, results)
    early.begin("second")
    early.begin("nothing")
    early._thread.shutdown()
    assert runs == [3, 1]
    assert EarlyInference(inference, results).infer(VALUES).tobytes() == expected.tobytes()
    assert runs == [3, 1, 1, 1]
    assert EarlyInference(inference, results).infer(VALUES).tobytes() == expected.tobytes()
    assert len(runs) == 4


def test_other_values_and_other_models_have_other_probabilities(inference: Inference, tmp_path: Path) -> None:
    folder = write_other_artefact(tmp_path / "models", version="0.2.0")
    other = EarlyInference(Inference(Artefact.load(folder), threads=1), EarlyResults(tmp_path / "early"))
    early = EarlyInference(inference, EarlyResults(tmp_path / "early"))
    assert early.key(VALUES[0]) != early.key(VALUES[1])
    assert early.key(VALUES[0]) != other.key(VALUES[0])
    assert not np.array_equal(early.lead(VALUES[0]), other.lead(VALUES[0]))


def test_a_fault_comes_with_the_whole_and_not_before(
    inference: Inference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(values: NDArray[np.float32]) -> NDArray[np.float32]:
        raise InferenceError("the runtime failed")

    monkeypatch.setattr(inference, "infer", fail)
    results = EarlyResults(tmp_path)
    results.put("first", VALUES[0])
    early = EarlyInference(inference, results)
    early.begin("first")
    with pytest.raises(InferenceError, match="the runtime failed"):
        early.infer(VALUES)
    early.drop()
