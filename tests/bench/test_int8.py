"""The graph in integers is the model's, and is calibrated by the samples that it is given."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest

from service.artefact import Artefact
from tests.bench.inference import open_session
from tests.bench.int8 import KINDS, Fields, Samples, inputs, quantised
from tests.shipped_model import SHIPPED
from training.export import INPUT_NAME
from training.samples import Split


class Golden:
    """The golden case in the place of a split."""

    def __init__(self, values: Fields) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def physical(self, index: int) -> Fields:
        sample: Fields = self._values[index]
        return sample


@pytest.mark.parametrize("name", KINDS)
def test_what_is_in_integers_answers_nearly_as_the_model_does(name: str, tmp_path: Path) -> None:
    artefact = Artefact.load(SHIPPED)
    values, expected = artefact.golden()
    split = cast(Split, Golden(values))
    graph = quantised(artefact.graph, KINDS[name], Samples(artefact, split, 4), tmp_path / "int8.onnx")
    nodes = {node.output[0]: node for node in onnx.load(graph).graph.node}
    fed = {kind: [node for node in nodes.values() if node.op_type == kind] for kind in ("Conv", "MatMul")}
    for kind, found in fed.items():
        integers = [
            node for node in found if all(one.endswith("DequantizeLinear_Output") for one in node.input[:2])
        ]
        assert found
        assert len(integers) == (len(found) if kind in KINDS[name] else 0)
    (output,) = open_session(graph).run(None, {INPUT_NAME: inputs(artefact, split, 0)})
    difference = np.abs(output - expected[:1])
    assert difference.max() > 1e-6
    assert difference.mean() < 0.05
