"""Inference against the sample's network computed by hand, and everything that it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from service.artefact import GRAPH, Artefact
from service.errors import ArtefactError, InferenceError
from service.inference import Inference
from tests.service.sample_artefact import (
    expected_probabilities,
    middle_values,
    rewrite_manifest,
    write_artefact,
)


@pytest.fixture
def inference(tmp_path: Path) -> Inference:
    return Inference(Artefact.load(write_artefact(tmp_path)), "cpu", 1)


def test_probabilities_are_those_of_the_network(inference: Inference) -> None:
    manifest = inference.artefact.manifest
    values = middle_values(manifest.cycle, 3)
    probabilities = inference.infer(values)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected_probabilities(values, manifest), atol=1e-6)


def test_probabilities_sum_to_one(inference: Inference) -> None:
    probabilities = inference.infer(middle_values(inference.artefact.manifest.cycle, 2))
    np.testing.assert_allclose(probabilities.sum(axis=1, dtype=np.float64), 1.0, atol=3e-7)


def test_sums_that_are_off_by_rounding_are_scaled_to_one(tmp_path: Path) -> None:
    folder = write_artefact(tmp_path)
    graph = onnx.load(folder / GRAPH)
    graph.graph.node[1].output[0] = "softmax"
    graph.graph.node.append(helper.make_node("Mul", ["softmax", "factor"], ["probabilities"]))
    factor = np.array(1 + 5e-5, np.float32)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(factor, "factor"))
    onnx.save(graph, folder / GRAPH)
    rewrite_manifest(folder)
    inference = Inference(Artefact.load(folder))
    probabilities = inference.infer(middle_values(inference.artefact.manifest.cycle, 1))
    np.testing.assert_allclose(probabilities.sum(axis=1, dtype=np.float64), 1.0, atol=3e-7)


def test_the_same_input_gives_the_same_bytes(inference: Inference) -> None:
    values = middle_values(inference.artefact.manifest.cycle, 2)
    assert inference.infer(values).tobytes() == inference.infer(values).tobytes()


def test_the_golden_case_was_replayed(inference: Inference) -> None:
    assert 0 <= inference.golden_difference < 1e-6


def test_a_wrong_shape_is_refused(inference: Inference) -> None:
    values = middle_values(inference.artefact.manifest.cycle, 1)
    with pytest.raises(InferenceError, match=r"got: \(1, 3, 8, 5\)"):
        inference.infer(values[..., :-1])


def test_values_that_are_not_finite_do_not_become_probabilities(inference: Inference) -> None:
    values = middle_values(inference.artefact.manifest.cycle, 2)
    values[1, 0, 2, 2] = np.nan
    with pytest.raises(InferenceError, match="lead number 1"):
        inference.infer(values)


def test_an_output_that_is_no_probability_is_refused(tmp_path: Path) -> None:
    folder = write_artefact(tmp_path)
    graph = onnx.load(folder / GRAPH)
    del graph.graph.node[1]
    graph.graph.node[0].output[0] = "probabilities"
    onnx.save(graph, folder / GRAPH)
    rewrite_manifest(folder)
    with pytest.raises(InferenceError, match="no probability"):
        Inference(Artefact.load(folder))


def test_another_signature_is_refused(tmp_path: Path) -> None:
    folder = write_artefact(tmp_path)
    graph = onnx.load(folder / GRAPH)
    graph.graph.input[0].name = "pictures"
    graph.graph.node[0].input[0] = "pictures"
    onnx.save(graph, folder / GRAPH)
    rewrite_manifest(folder)
    with pytest.raises(ArtefactError, match="pictures"):
        Inference(Artefact.load(folder))


def test_other_weights_do_not_pass_the_golden_case(tmp_path: Path) -> None:
    folder = write_artefact(tmp_path)
    graph = onnx.load(folder / GRAPH)
    weights = graph.graph.initializer[0]
    changed = onnx.numpy_helper.to_array(weights) * np.float32(1.01)
    weights.CopyFrom(onnx.numpy_helper.from_array(changed, "weights"))
    onnx.save(graph, folder / GRAPH)
    rewrite_manifest(folder)
    with pytest.raises(ArtefactError, match="does not reproduce its golden case"):
        Inference(Artefact.load(folder))


def test_an_unknown_operator_is_refused(tmp_path: Path) -> None:
    folder = write_artefact(tmp_path)
    node = helper.make_node("Nonsense", ["fields"], ["probabilities"])
    value = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3, 8, 6])
    inputs = onnx.load(folder / GRAPH).graph.input
    graph = helper.make_graph([node], "nonsense", inputs, [value])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.save(model, folder / GRAPH)
    rewrite_manifest(folder)
    with pytest.raises(ArtefactError, match=r"does not load.*Nonsense"):
        Inference(Artefact.load(folder))


def test_cuda_without_its_runtime_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    artefact = Artefact.load(write_artefact(tmp_path))
    with pytest.raises(ArtefactError, match=re.escape("install onnxruntime-gpu[cuda,cudnn]")):
        Inference(artefact, "cuda")


def test_a_silent_fallback_from_cuda_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefact = Artefact.load(write_artefact(tmp_path))
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers: real(path, options, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(ArtefactError, match=r"expected: CUDAExecutionProvider; got: CPUExecutionProvider"):
        Inference(artefact, "cuda")


def test_the_provider_is_the_one_of_now(inference: Inference, monkeypatch: pytest.MonkeyPatch) -> None:
    assert inference.runtime_provider == "CPUExecutionProvider"
    monkeypatch.setattr(inference._session, "get_providers", lambda: ["OtherExecutionProvider", "CPU"])
    assert inference.runtime_provider == "OtherExecutionProvider"
