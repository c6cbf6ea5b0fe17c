"""Builds the own kernel of the CPU for a model.

``python -m training.accelerate --model models/nano-0.2.0 --out DIR`` compiles ``networks/dcnv3_onnx.cpp`` by
``c++`` (or ``$CXX``), puts ``rainpost::DCNv3`` in the place of each ``DeformConv`` with the softmax and the
transpositions around it, replays the model's golden case, and prints the two settings that make the service
use it, and what it saves. The model's folder stays as it is, and what it holds stays standard ONNX.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, helper, numpy_helper

from service.accelerator import DESCRIPTION, GRAPH, LIBRARY, Accelerator, Description
from service.artefact import Artefact
from service.errors import ArtefactError, InputError
from service.inference import Inference
from training.networks.dcnv3_reference import KERNEL_SIZE, POINTS

SOURCE: Final = Path(__file__).parent / "networks" / "dcnv3_onnx.cpp"
# -ffp-contract: no multiply-add where the source has none, so that all compilers round alike.
OPTIONS: Final = (
    "-std=c++17", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-exceptions",
    "-Wall", "-Wextra", "-Werror",
)  # fmt: skip
DOMAIN: Final = "rainpost"
CHANNELS_LAST, CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


def compiler() -> str | None:
    """The C++ compiler that would be used; None without one."""
    return shutil.which(os.environ.get("CXX", "c++"))


def build(library: Path) -> str:
    """Compiles the operator; returns what with.

    Raises:
        InputError: no compiler, or one that does not take the source.
    """
    found = compiler()
    if found is None:
        raise InputError(
            "No C++ compiler",
            where=os.environ.get("CXX", "c++"),
            advice="install one (Debian: apt-get install g++), or name it in CXX",
        )
    command = [found, *OPTIONS, "-o", str(library), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise InputError("The operator does not compile", where=str(SOURCE), got=done.stderr.strip()[:500])
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    return f"{version.stdout.splitlines()[0]}, {' '.join(OPTIONS)}"


class _Graph:
    """A graph by what makes what."""

    def __init__(self, model: ModelProto) -> None:
        self.constants = {each.name: each for each in model.graph.initializer}
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.users: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)

    def before(self, name: str, operator: str, **attributes: Any) -> NodeProto:
        """What makes a tensor, which must be this operator."""
        return self._expected(self.makers.get(name), name, operator, attributes)

    def after(self, name: str, operator: str, **attributes: Any) -> NodeProto:
        """The only one that uses a tensor, which must be this operator."""
        users = self.users.get(name, [])
        return self._expected(users[0] if len(users) == 1 else None, name, operator, attributes)

    def _expected(
        self, node: NodeProto | None, name: str, operator: str, attributes: dict[str, Any]
    ) -> NodeProto:
        found = (
            {} if node is None else {each.name: helper.get_attribute_value(each) for each in node.attribute}
        )
        if (
            node is None
            or node.op_type != operator
            or any(found.get(key) != value for key, value in attributes.items())
        ):
            raise _unknown(
                name, f"{operator} {attributes}", "nothing" if node is None else f"{node.op_type} {found}"
            )
        return node


def _unknown(where: str, expected: str, got: str) -> ArtefactError:
    return ArtefactError(
        "A deformable convolution is not written as training.export writes it",
        where=where,
        expected=expected,
        got=got,
        advice="export the model again with this version",
    )


def accelerated(model: ModelProto) -> ModelProto:
    """The same network with ``rainpost::DCNv3`` in the place of each ``DeformConv``.

    Raises:
        ArtefactError: there is none, or one of another form than ``training.export`` gives it.
    """
    result = ModelProto()
    result.CopyFrom(model)
    graph = _Graph(model)
    replaced = {}
    for node in model.graph.node:
        if node.op_type == "DeformConv":
            operator = _operator(graph, node)
            replaced[operator.output[0]] = operator
    if not replaced:
        raise _unknown(model.graph.name, "one DeformConv or more", "none")
    nodes = [replaced.get(node.output[0], node) for node in model.graph.node]
    kept = _needed(nodes, {output.name for output in model.graph.output})
    del result.graph.node[:], result.graph.value_info[:], result.graph.initializer[:]
    result.graph.node.extend(kept)
    read = {name for node in kept for name in node.input}
    result.graph.initializer.extend(each for each in model.graph.initializer if each.name in read)
    result.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return result


def _operator(graph: _Graph, node: NodeProto) -> NodeProto:
    """Takes what is there before softmax and transpositions, and gives what is there after them."""
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    ones = numpy_helper.to_array(graph.constants[node.input[1]])
    groups = attributes["offset_group"]
    plain = {"pads": [1] * 4, "strides": [1, 1], "dilations": [1, 1], "group": len(ones)}
    if (
        {key: attributes.get(key) for key in plain} != plain
        or ones.shape[1:] != (1, KERNEL_SIZE, KERNEL_SIZE)
        or not np.all(ones == 1)
        or node.input[3]
    ):
        raise _unknown(node.output[0], f"{plain}, weights of one, no bias", str(attributes))
    value = graph.before(node.input[0], "Transpose", perm=CHANNELS_FIRST)
    offset = graph.before(node.input[2], "Transpose", perm=CHANNELS_FIRST)
    together = graph.before(node.input[4], "Transpose", perm=CHANNELS_FIRST).input[0]
    softmax = graph.before(graph.before(together, "Reshape").input[0], "Softmax", axis=-1)
    apart = graph.before(softmax.input[0], "Reshape")
    shape = numpy_helper.to_array(graph.constants[apart.input[1]])
    if list(shape[-2:]) != [groups, POINTS]:
        raise _unknown(apart.output[0], f"{groups} groups of {POINTS} points", str(list(shape)))
    result = graph.after(node.output[0], "Transpose", perm=CHANNELS_LAST)
    inputs = [value.input[0], offset.input[0], apart.input[0]]
    return helper.make_node("DCNv3", inputs, list(result.output), domain=DOMAIN, groups=groups)


def _needed(nodes: list[NodeProto], wanted: set[str]) -> list[NodeProto]:
    """Those on the way to what is wanted, in their order."""
    kept = []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def accelerate(model: Path, out: Path) -> str:
    """Makes the folder of an accelerator; returns the digest that the settings need.

    Raises:
        ArtefactError: the model cannot be trusted, is written otherwise, or it does not
            reproduce its golden case.
        InputError: the folder exists, or there is no compiler that builds the operator.
    """
    if out.exists():
        raise InputError("The folder exists", where=str(out), advice="name another one, or remove it")
    artefact = Artefact.load(model)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        folder = Path(temporary) / out.name
        folder.mkdir()
        built = build(folder / LIBRARY)
        onnx.save(accelerated(onnx.load(artefact.graph)), folder / GRAPH)
        description = Description(
            model=artefact.identity,
            model_sha256=artefact.model_sha256,
            source_sha256=_digest(SOURCE),
            compiler=built,
            onnxruntime=onnxruntime.__version__,
            files={GRAPH: _digest(folder / GRAPH), LIBRARY: _digest(folder / LIBRARY)},
        )
        (folder / DESCRIPTION).write_text(description.model_dump_json(indent=2) + "\n")
        digest = _digest(folder / DESCRIPTION)
        Inference(artefact, accelerator=Accelerator.load(folder, digest))
        folder.rename(out)
    return digest


def remaining(artefact: Artefact, accelerator: Accelerator, runs: int = 9) -> float:
    """CPU time of an inference over that without the accelerator, on one thread: median of runs in turn."""
    values, _ = artefact.golden()
    ways = [Inference(artefact, threads=1, accelerator=one) for one in (accelerator, None)]
    ratios = []
    for _ in range(runs):
        spent = []
        for way in ways:
            start = time.process_time()
            way.infer(values[:1])
            spent.append(time.process_time() - start)
        ratios.append(spent[0] / spent[1])
    return statistics.median(ratios)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.accelerate", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--out", type=Path, required=True, help="folder to be made")
    arguments = parser.parse_args()
    digest = accelerate(arguments.model, arguments.out)
    print(f"RAINPOST_ACCELERATOR={arguments.out.resolve()}")
    print(f"RAINPOST_ACCELERATOR_SHA256={digest}")
    share = remaining(Artefact.load(arguments.model), Accelerator.load(arguments.out, digest))
    print(f"# an inference takes {share:.2f} of the CPU time that it takes without")


if __name__ == "__main__":
    main()
