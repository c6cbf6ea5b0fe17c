"""Every rewriting of the benchmark computes what the export computes, and takes away what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto

from tests.bench import rewrites
from tests.bench.inference import open_session, operator_milliseconds
from training.export import write_graph
from training.networks.segmentation import Architecture, Probabilities, Segmentation

SMALL = Architecture(16, (1, 1, 1, 1), (2, 2, 4, 4), decoder_width=8, inputs=4, perceptron_ratio=2)
SHAPE = (4, 32, 64)


@pytest.fixture(scope="module")
def model() -> Probabilities:
    torch.manual_seed(0)
    network = Segmentation(SMALL)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return Probabilities(network).eval()


@pytest.fixture(scope="module")
def plain(model: Probabilities, tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    rewrites.write_plain(model, SHAPE, path)
    return onnx.load(path)


@pytest.mark.parametrize("name", [name for name in rewrites.REWRITES if name != rewrites.DIFFERENT])
def test_the_probabilities_stay(model: Probabilities, plain: ModelProto, tmp_path: Path, name: str) -> None:
    rewritten = rewrites.rewritten(plain, name)
    onnx.checker.check_model(rewritten, full_check=True)
    onnx.save(rewritten, tmp_path / "rewritten.onnx")
    fields = np.random.default_rng(0).standard_normal((1, *SHAPE)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(fields)).numpy()
    (found,) = open_session(tmp_path / "rewritten.onnx").run(None, {"fields": fields})
    np.testing.assert_allclose(found, expected, atol=1e-5)


def _operators(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_each_takes_away_what_it_says(plain: ModelProto) -> None:
    none, both = (_operators(rewrites.rewritten(plain, name)) for name in ("none", "both"))
    blocks = none.count("DeformConv")
    assert (none.count("LogSoftmax"), both.count("LogSoftmax")) == (1, 0)
    assert none.count("Mul") - both.count("Mul") == 2 * blocks
    for name, operator, fewer in (
        ("merged", "MatMul", blocks),
        ("transposes", "Transpose", blocks),
        ("mask", "Softmax", blocks),
    ):
        found = _operators(rewrites.rewritten(plain, name))
        assert both.count(operator) - found.count(operator) == fewer
    assert _operators(rewrites.rewritten(plain, "rows")).count("Gemm") == 6 * blocks
    assert "BatchNormalization" not in none


def test_the_export_is_the_rewriting_that_pays(
    model: Probabilities, plain: ModelProto, tmp_path: Path
) -> None:
    write_graph(model, SHAPE, tmp_path / "export.onnx")
    exported = _operators(onnx.load(tmp_path / "export.onnx"))
    both = _operators(rewrites.rewritten(plain, "both"))
    for operator in ("Mul", "LogSoftmax", "ReduceSum", "Div", "MatMul", "DeformConv"):
        assert exported.count(operator) == both.count(operator)


def test_the_bound_has_smaller_convolutions(plain: ModelProto) -> None:
    sizes = [
        [len(one.raw_data) for one in model.graph.initializer if len(one.dims) == 4]
        for model in (rewrites.rewritten(plain, name) for name in ("both", rewrites.DIFFERENT))
    ]
    assert sum(sizes[1]) < sum(sizes[0])


def test_a_profile_is_read_by_type_of_operator(plain: ModelProto, tmp_path: Path) -> None:
    onnx.save(plain, tmp_path / "plain.onnx")
    session = open_session(tmp_path / "plain.onnx", profile=tmp_path / "profile")
    session.run(None, {"fields": np.zeros((1, *SHAPE), np.float32)})
    spent = operator_milliseconds(Path(session.end_profiling()))
    assert spent["DeformConv"] > 0
    assert spent["Conv"] > 0
