"""Rewritings of the exported graph that compute the same, and what each saves on the CPU.

``python -m tests.bench.rewrites [--architecture nano] [--runs 40]``

The first three are what ``training.export`` does since they pay; the others were tried beside it. Each is
made from the graph as the exporter gives it, without any of them. All take turns in one run; the
probabilities must agree within 1e-4. Milliseconds are those of the CPU, all threads together, for one lead.

softmax      the softmax over the classes written out: ReduceMax, Sub, Exp, ReduceSum, Div
scale        layer scale folded into the layer before it
both         softmax and scale: the export
merged       both, and offsets and logits from one product, parted afterwards
rows         both, and products with their bias as Gemm of rows
transposes   both, and the layers next to DeformConv as 1x1 convolutions: one of its four transpositions goes
mask         both, and the softmax over the nine points behind the transposition, written out
bottleneck   both, and 1 x 1 for 3 x 3 in the decoder's two widest convolutions: **another network**, for a
             bound of what can be saved; its probabilities are not compared

Batch normalisation is not among them: torch's exporter leaves it out, each is folded into its convolution.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper, shape_inference
from rich.console import Console
from rich.table import Table

from tests.bench.inference import cpu_in_turn, open_session, over, random_fields
from tests.bench.memory import SHAPE, THREADS
from tests.bench.random_model import random_network
from training import export
from training.networks.heads import Softmax
from training.networks.segmentation import ARCHITECTURES, Probabilities

AFTER, BEFORE = [0, 2, 3, 1], [0, 3, 1, 2]
DIFFERENT = "bottleneck"


class Graph:
    """A graph that is taken apart and put together again."""

    def __init__(self, model: ModelProto) -> None:
        self.model = ModelProto()
        self.model.CopyFrom(model)
        self.nodes: list[NodeProto] = list(self.model.graph.node)
        self.constants = {one.name: numpy_helper.to_array(one) for one in self.model.graph.initializer}
        self.sizes = _sizes(model)

    def maker(self, name: str) -> NodeProto:
        (found,) = (node for node in self.nodes if name in node.output)
        return found

    def users(self, name: str) -> list[NodeProto]:
        return [node for node in self.nodes if name in node.input]

    def all(self, operator: str) -> list[NodeProto]:
        return [node for node in self.nodes if node.op_type == operator]

    def constant(self, value: NDArray[np.generic]) -> str:
        name = f"rewritten_{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def integers(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def replace(self, old: list[NodeProto], new: list[NodeProto]) -> None:
        place = min(self.nodes.index(node) for node in old)
        for node in old:
            self.nodes.remove(node)
        self.nodes[place:place] = new

    def fold_constants(self) -> None:
        """Weights that the exporter left to be reordered when the graph is loaded."""
        for node in list(self.nodes):
            if node.op_type in {"Gather", "Transpose"} and all(name in self.constants for name in node.input):
                attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
                values = [self.constants[name] for name in node.input]
                self.constants[node.output[0]] = (
                    np.take(values[0], values[1], axis=attributes.get("axis", 0))
                    if node.op_type == "Gather"
                    else values[0].transpose(attributes["perm"])
                )
                self.nodes.remove(node)

    def finished(self) -> ModelProto:
        graph = self.model.graph
        used = {name for node in self.nodes for name in node.input}
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(_sorted(self.nodes, set(self.constants) | {one.name for one in graph.input}))
        graph.initializer.extend(
            numpy_helper.from_array(np.ascontiguousarray(value), name)
            for name, value in self.constants.items()
            if name in used
        )
        return self.model


def _sizes(model: ModelProto) -> dict[str, tuple[int, int]]:
    """The middle two of the four dimensions."""
    found = {}
    for one in shape_inference.infer_shapes(model).graph.value_info:
        dimensions = [dimension.dim_value for dimension in one.type.tensor_type.shape.dim]
        if len(dimensions) == 4:
            found[one.name] = (dimensions[1], dimensions[2])
    return found


def _sorted(nodes: list[NodeProto], known: set[str]) -> list[NodeProto]:
    """Each after those that it reads, else in their order."""
    waiting: list[NodeProto] = list(nodes)
    done: list[NodeProto] = []
    while waiting:
        later = []
        for node in waiting:
            if all(not name or name in known for name in node.input):
                done.append(node)
                known.update(node.output)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise ValueError(f"nothing feeds {later[0].op_type} {later[0].output[0]}")
        waiting = later
    return done


def softmax(graph: Graph) -> None:
    (logarithm,) = graph.all("LogSoftmax")
    (power,) = graph.users(logarithm.output[0])
    logits, axis = logarithm.input[0], graph.integers(1)
    made = [
        helper.make_node("ReduceMax", [logits, axis], ["class_max"], keepdims=1),
        helper.make_node("Sub", [logits, "class_max"], ["class_less"]),
        helper.make_node("Exp", ["class_less"], ["class_power"]),
        helper.make_node("ReduceSum", ["class_power", axis], ["class_sum"], keepdims=1),
        helper.make_node("Div", ["class_power", "class_sum"], list(power.output)),
    ]
    graph.replace([logarithm, power], made)


def scale(graph: Graph) -> None:
    for product in graph.all("Mul"):
        if product.input[0] not in graph.constants:
            continue
        added = graph.maker(product.input[1])
        multiplied, factor = graph.maker(added.input[0]), graph.constants[product.input[0]]
        multiplied.input[1] = graph.constant(graph.constants[multiplied.input[1]] * factor)
        added.input[1] = graph.constant(graph.constants[added.input[1]] * factor)
        added.output[0] = product.output[0]
        graph.nodes.remove(product)


def _layer(graph: Graph, output: str) -> tuple[NodeProto, NodeProto, NDArray[np.generic], str]:
    """MatMul, Add, weights (in, out) and name of the bias of a linear layer."""
    added = graph.maker(output)
    multiplied = graph.maker(added.input[0])
    return multiplied, added, graph.constants[multiplied.input[1]], added.input[1]


def merged(graph: Graph) -> None:
    for node in graph.all("DeformConv"):
        offset = graph.maker(node.input[2]).input[0]
        softmax_input = graph.maker(graph.maker(graph.maker(node.input[4]).input[0]).input[0]).input[0]
        logits = graph.maker(softmax_input).input[0]
        (one, one_add, one_weight, one_bias), (two, two_add, two_weight, two_bias) = (
            _layer(graph, name) for name in (offset, logits)
        )
        weight = graph.constant(np.concatenate([one_weight, two_weight], axis=1))
        bias = graph.constant(np.concatenate([graph.constants[one_bias], graph.constants[two_bias]]))
        name = node.output[0]
        made = [
            helper.make_node("MatMul", [one.input[0], weight], [f"{name}_product"]),
            helper.make_node("Add", [f"{name}_product", bias], [f"{name}_both"]),
            helper.make_node(
                "Split",
                [f"{name}_both", graph.integers(one_weight.shape[1], two_weight.shape[1])],
                [offset, logits],
                axis=-1,
            ),
        ]
        graph.replace([one, one_add, two, two_add], made)


def rows(graph: Graph) -> None:
    for multiplied in graph.all("MatMul"):
        users = graph.users(multiplied.output[0])
        weight = graph.constants.get(multiplied.input[1])
        if weight is None or len(users) != 1 or users[0].op_type != "Add":
            continue
        added, name = users[0], multiplied.output[0]
        if added.input[1] not in graph.constants or added.output[0] not in graph.sizes:
            continue
        inputs, outputs = weight.shape
        back = graph.integers(-1, *graph.sizes[added.output[0]], outputs)
        made = [
            helper.make_node("Reshape", [multiplied.input[0], graph.integers(-1, inputs)], [f"{name}_rows"]),
            helper.make_node("Gemm", [f"{name}_rows", multiplied.input[1], added.input[1]], [f"{name}_gemm"]),
            helper.make_node("Reshape", [f"{name}_gemm", back], list(added.output)),
        ]
        graph.replace([multiplied, added], made)


def transposes(graph: Graph) -> None:
    for node in graph.all("DeformConv"):
        name = node.output[0]
        value, offset = (graph.maker(node.input[place]) for place in (0, 2))
        one, one_add, one_weight, one_bias = _layer(graph, value.input[0])
        transposed = next(user for user in graph.users(one.input[0]) if user.op_type == "Transpose")
        convolution = _pointwise(graph, transposed.output[0], one_weight, one_bias, value.output[0])
        graph.replace([value, one, one_add], [convolution])
        two, two_add, two_weight, two_bias = _layer(graph, offset.input[0])
        made = [
            helper.make_node("Transpose", [two.input[0]], [f"{name}_context"], perm=BEFORE),
            _pointwise(graph, f"{name}_context", two_weight, two_bias, offset.output[0]),
        ]
        graph.replace([offset, two, two_add], made)
        (last,) = graph.users(name)
        (three,) = graph.users(last.output[0])
        (three_add,) = graph.users(three.output[0])
        made = [
            _pointwise(graph, name, graph.constants[three.input[1]], three_add.input[1], f"{name}_projected"),
            helper.make_node("Transpose", [f"{name}_projected"], list(three_add.output), perm=AFTER),
        ]
        graph.replace([last, three, three_add], made)


def _pointwise(graph: Graph, x: str, weight: NDArray[np.generic], bias: str, y: str) -> NodeProto:
    return helper.make_node("Conv", [x, graph.constant(weight.T[:, :, None, None]), bias], [y])


def mask(graph: Graph) -> None:
    for node in graph.all("DeformConv"):
        name = node.output[0]
        transposed = graph.maker(node.input[4])
        together = graph.maker(transposed.input[0])
        weights = graph.maker(together.input[0])
        apart = graph.maker(weights.input[0])
        groups, points = (int(number) for number in graph.constants[apart.input[1]][-2:])
        size = graph.sizes[apart.input[0]]
        axis = graph.integers(2)
        made = [
            helper.make_node("Transpose", [apart.input[0]], [f"{name}_logits"], perm=BEFORE),
            helper.make_node(
                "Reshape", [f"{name}_logits", graph.integers(0, groups, points, -1)], [f"{name}_parts"]
            ),
            helper.make_node("ReduceMax", [f"{name}_parts", axis], [f"{name}_max"], keepdims=1),
            helper.make_node("Sub", [f"{name}_parts", f"{name}_max"], [f"{name}_less"]),
            helper.make_node("Exp", [f"{name}_less"], [f"{name}_power"]),
            helper.make_node("ReduceSum", [f"{name}_power", axis], [f"{name}_sum"], keepdims=1),
            helper.make_node("Div", [f"{name}_power", f"{name}_sum"], [f"{name}_shares"]),
            helper.make_node(
                "Reshape",
                [f"{name}_shares", graph.integers(0, groups * points, *size)],
                list(transposed.output),
            ),
        ]
        graph.replace([transposed, together, weights, apart], made)


def bottleneck(graph: Graph) -> None:
    for node in graph.all("Conv"):
        if "pooling.bottleneck" in node.input[1] or "decoder.fusion" in node.input[1]:
            node.input[1] = graph.constant(graph.constants[node.input[1]][:, :, 1:2, 1:2])
            kept = [one for one in node.attribute if one.name not in {"pads", "kernel_shape"}]
            del node.attribute[:]
            node.attribute.extend(kept)


REWRITES: dict[str, tuple[Callable[[Graph], None], ...]] = {
    "none": (),
    "softmax": (softmax,),
    "scale": (scale,),
    "both": (softmax, scale),
    "merged": (softmax, scale, merged),
    "rows": (softmax, scale, rows),
    "transposes": (softmax, scale, transposes),
    "mask": (softmax, scale, mask),
    DIFFERENT: (softmax, scale, bottleneck),
}


def rewritten(model: ModelProto, name: str) -> ModelProto:
    """The graph after one line of ``REWRITES``."""
    graph = Graph(model)
    graph.fold_constants()
    for change in REWRITES[name]:
        change(graph)
    return graph.finished()


def write_plain(model: Probabilities, shape: tuple[int, int, int], path: Path) -> None:
    """The graph without what the export folds."""

    def through_logarithms(self: Softmax, outputs: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self(outputs).exp()
        return result

    with (
        patch.object(export, "folded", lambda plain: plain),
        patch.object(Softmax, "probabilities", through_logarithms),
    ):
        export.write_graph(model, shape, path)


def measure(sessions: dict[str, onnxruntime.InferenceSession], runs: int) -> dict[str, list[float]]:
    """Milliseconds of CPU for one lead, all in turn.

    Raises:
        SystemExit: one gives other probabilities.
    """
    lead = random_fields()[:1]
    expected = sessions["none"].run(None, {export.INPUT_NAME: lead})[0]
    for name, session in sessions.items():
        difference = float(np.abs(session.run(None, {export.INPUT_NAME: lead})[0] - expected).max())
        if name != DIFFERENT and not difference <= export.PARITY:
            raise SystemExit(f"{name} differs by {difference:g}")
    return cpu_in_turn(sessions, lead, runs)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rewrites", description=__doc__)
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="nano")
    parser.add_argument("--runs", type=int, default=40)
    chosen = parser.parse_args()
    network = random_network(ARCHITECTURES[chosen.architecture])
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        write_plain(Probabilities(network), SHAPE, plain)
        model, sessions = onnx.load(plain), {}
        for name in REWRITES:
            path = Path(folder) / f"{name}.onnx"
            onnx.save(rewritten(model, name), path)
            sessions[name] = open_session(path)
            path.unlink()
    spent = measure(sessions, chosen.runs)
    table = Table(
        title=f"{chosen.architecture}, one lead, {THREADS} threads, {chosen.runs} runs, "
        f"ONNX Runtime {onnxruntime.__version__}"
    )
    for column in ("rewriting", "CPU ms", "least", "over none"):
        table.add_column(column, justify="right")
    for name, values in spent.items():
        cells = (statistics.median(values), min(values), over(values, spent["none"]))
        table.add_row(name, f"{cells[0]:.1f}", f"{cells[1]:.1f}", f"{cells[2]:.3f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
