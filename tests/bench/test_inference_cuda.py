"""The benchmark of a GPU, as far as it goes without one: dry run, refusals, and that all graphs are equal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto

from tests.bench import inference_cuda
from tests.bench.inference_cuda import DRY, absorbed, check_placement, folded, measure, placements, providers
from training.export import write_graph
from training.networks.segmentation import Probabilities, Segmentation

LEADS = 3


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = Segmentation(DRY.architecture).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp("graph") / "service.onnx"
    write_graph(Probabilities(network), DRY.shape, path)
    return path


def _run(model: ModelProto | Path, fields: np.ndarray) -> np.ndarray:
    given = model if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(given, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"fields": fields})[0]
    return result


def _fields(leads: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((leads, *DRY.shape)).astype(np.float32)


def test_a_batch_folded_into_the_channels_gives_the_same(graph: Path) -> None:
    model = folded(onnx.load(graph), LEADS)
    np.testing.assert_allclose(_run(model, _fields(LEADS)), _run(graph, _fields(LEADS)), atol=1e-6)
    for node in model.graph.node:
        if node.op_type == "DeformConv":
            groups = {one.name: one.i for one in node.attribute if one.name in {"group", "offset_group"}}
            assert groups["group"] % LEADS == groups["offset_group"] % LEADS == 0


def test_an_absorbed_projection_gives_the_same(graph: Path) -> None:
    before, model = onnx.load(graph), absorbed(onnx.load(graph))
    np.testing.assert_allclose(_run(model, _fields(1)), _run(graph, _fields(1)), atol=1e-5)
    products = [sum(node.op_type == "MatMul" for node in one.graph.node) for one in (before, model)]
    convolutions = [node for node in model.graph.node if node.op_type == "DeformConv"]
    assert products[0] - products[1] == len(convolutions) > 0
    assert all(one.i == 1 for node in convolutions for one in node.attribute if one.name == "group")


def test_placement_is_read_from_the_profile(graph: Path, tmp_path: Path) -> None:
    found = placements(graph, providers(DRY), {"fields": _fields(1)}, tmp_path)
    assert found == Counter({"CPUExecutionProvider": 4})
    check_placement(found, "CPUExecutionProvider", 4)
    for provider, convolutions in (("CUDAExecutionProvider", 4), ("CPUExecutionProvider", 5)):
        with pytest.raises(SystemExit, match=r"DeformConv ran on .*CPUExecutionProvider"):
            check_placement(found, provider, convolutions)


def test_dry_run_goes_through_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    inference_cuda.main(["--dry-run"])
    shown = capsys.readouterr().out
    assert "DRY RUN on the CPU: no measurement" in shown
    for way in ("eager", "service", "bound", "batch", "folded", "absorbed", "compiled"):
        assert f" {way} " in shown
    assert "every DeformConv ran on CPUExecutionProvider" in shown
    assert "graph: a CUDA graph needs a CUDA device" in shown
    assert "does not run" not in shown
    assert "gives something else" not in shown


def test_a_way_that_fails_or_errs_costs_no_other_its_number() -> None:
    ones = np.ones((1, 3, 2, 2), np.float32)

    def broken() -> np.ndarray:
        raise RuntimeError("no kernel")

    remarks: list[str] = []
    calls = {"eager": lambda: ones, "service": lambda: ones, "wrong": lambda: ones + 1, "broken": broken}
    assert set(measure(DRY, calls, remarks)) == {"eager", "service"}
    assert remarks == [
        "wrong gives something else: its probabilities differ by 1",
        "broken does not run: no kernel",
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_refuses_to_measure() -> None:
    with pytest.raises(SystemExit, match=r"torch finds 0 CUDA devices.*--dry-run"):
        inference_cuda.main([])
