"""Exported graphs in PyTorch, against ONNX's reference, the shipped model and the network they came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from service.artefact import Artefact
from service.errors import ArtefactError
from tests.shipped_model import SHIPPED
from tests.training.conftest import SIZE, SMALL
from training.explain import DEPTHS, exported_heat_maps, heat_map
from training.export import write_graph
from training.exported import ExportedGraph
from training.networks.segmentation import Probabilities, Segmentation


@pytest.mark.parametrize(
    ("groups", "offset_groups", "strides", "dilations", "pads"),
    [(4, 2, (1, 1), (1, 1), (1, 1)), (2, 1, (2, 1), (1, 2), (2, 0)), (1, 4, (1, 2), (2, 1), (0, 1))],
)
def test_deformable_convolution_is_that_of_the_standard(
    tmp_path: Path,
    groups: int,
    offset_groups: int,
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int],
) -> None:
    generator = np.random.default_rng(5)
    height, width, kernel = 7, 9, (3, 2)
    places = [
        (size + 2 * pad - dilation * (one - 1) - 1) // stride + 1
        for size, pad, dilation, one, stride in zip(
            (height, width), pads, dilations, kernel, strides, strict=True
        )
    ]
    x = generator.normal(size=(2, 4, height, width)).astype(np.float32)
    constants = {
        "weight": generator.normal(size=(8, 4 // groups, *kernel)),
        "offset": generator.normal(0, 2, (2, offset_groups * 12, *places)),
        "bias": generator.normal(size=8),
        "mask": generator.uniform(size=(2, offset_groups * 6, *places)),
    }
    node = helper.make_node(
        "DeformConv",
        ["fields", *constants],
        ["y"],
        group=groups,
        offset_group=offset_groups,
        strides=strides,
        dilations=dilations,
        pads=[*pads, *pads],
        kernel_shape=kernel,
    )
    graph = helper.make_graph(
        [node],
        "deformed",
        [helper.make_tensor_value_info("fields", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(one.astype(np.float32), name) for name, one in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
    onnx.save(model, tmp_path / "model.onnx")
    (expected,) = ReferenceEvaluator(model).run(None, {"fields": x})
    found = ExportedGraph(tmp_path / "model.onnx").run(torch.from_numpy(x))["y"]
    np.testing.assert_allclose(found.numpy(), np.asarray(expected, np.float32), atol=1e-4)


def test_the_shipped_model_gives_its_golden_case() -> None:
    artefact = Artefact.load(SHIPPED)
    graph = ExportedGraph(artefact.graph)
    assert graph.prove(artefact) < 1e-5
    assert [node.op_type for node in graph._nodes if graph.logits in node.input] == ["LogSoftmax"]
    (scale,) = (name for name in graph._constants if name.endswith("stages.2.blocks.1.scale_spatial"))
    graph._constants[scale] *= 1.5
    with pytest.raises(ArtefactError, match="golden"):
        graph.prove(artefact)


def test_heat_of_an_exported_graph_is_that_of_its_network(tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = Segmentation(SMALL, refinement=4).eval()
    for parameter in network.parameters():
        # Some begin as zero, and would leave parts of the network without a say.
        torch.nn.init.normal_(parameter, std=0.2)
    shape = (SMALL.inputs, SIZE, SIZE)
    write_graph(Probabilities(network), shape, tmp_path / "model.onnx")
    graph = ExportedGraph(tmp_path / "model.onnx")
    assert [node.op_type for node in graph._nodes if graph.logits in node.input] == ["ReduceMax", "Sub"]
    fields = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    seen = 0
    for cell in (None, (9, 20)):
        heat, probabilities = exported_heat_maps(graph, fields, 1, cell)
        with torch.no_grad():
            expected = Probabilities(network)(torch.from_numpy(fields)[None])[0].numpy()
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
        for depth in DEPTHS:
            network_heat = heat_map(network, fields, 1, depth, cell)
            np.testing.assert_allclose(heat[depth], network_heat, atol=1e-4 * max(network_heat.max(), 1e-6))
            seen += bool(network_heat.max() > 0)
    # The deepest stage has one cell here, which may speak against the class.
    assert seen >= 2 * len(DEPTHS) - 2


def test_operators_and_heads_that_are_not_known_are_refused(tmp_path: Path) -> None:
    def graph_of(operator: str) -> Path:
        node = helper.make_node(operator, ["fields"], ["y"])
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("fields", "y")]
        graph = helper.make_graph([node], "one", ends[:1], ends[1:])
        path = tmp_path / f"{operator}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]), path)
        return path

    with pytest.raises(ArtefactError, match=r"operators that are not known here.*got: Cosh"):
        ExportedGraph(graph_of("Cosh"))
    graph = ExportedGraph(graph_of("Exp"))
    with pytest.raises(ArtefactError, match="no logit for each class"):
        _ = graph.logits
    with pytest.raises(ArtefactError, match="no such part"):
        graph.taken_by("Conv", "weight")
    with pytest.raises(ArtefactError, match="no such part"):
        graph.made_of("Relu", "y")
