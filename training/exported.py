"""An exported graph run in PyTorch, so that gradients flow through the very model that is served.

The export folds normalisations into convolutions and reorders offsets, so that its weights do not fit the
network of the catalogue any more, and a run's checkpoint may be gone; the graph itself is always there. Its
golden case shows that it is run as it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional

from service.artefact import Artefact, normalise
from service.errors import ArtefactError

Attributes = dict[str, Any]
Inputs = Sequence[Tensor | None]
Operator = Callable[[Attributes, Inputs], Tensor]


class ExportedGraph:
    """The graph of a model folder.

    Raises ``ArtefactError`` for an operator that is not known here and, in ``prove``, where the golden case
    does not come out.
    """

    def __init__(self, path: Path) -> None:
        graph = onnx.load(path).graph
        self._path = path
        self._nodes = list(graph.node)
        self._constants = {
            one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer
        }
        (self._input,) = (one.name for one in graph.input)
        (self.output,) = (one.name for one in graph.output)
        unknown = sorted({node.op_type for node in self._nodes} - set(_OPERATORS))
        if unknown:
            raise ArtefactError(
                "The graph has operators that are not known here",
                where=str(path),
                expected=", ".join(sorted(_OPERATORS)),
                got=", ".join(unknown),
            )

    def run(self, fields: Tensor) -> dict[str, Tensor]:
        """Every value of the graph, by name, for z-scores (batch, channel, y, x)."""
        values = self._constants | {self._input: fields}
        for node in self._nodes:
            attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            inputs = [values[name] if name else None for name in node.input]
            (output,) = node.output
            values[output] = _OPERATORS[node.op_type](attributes, inputs)
        return values

    @property
    def logits(self) -> str:
        """The name of the classes' logits. Raises ``ArtefactError`` where the head is no softmax.

        The softmax over the classes is one operator, or is written out as newer exports have it:
        powers of what is left of the logits without their largest, over their sum.
        """
        for node in reversed(self._nodes):
            axes = [one.i for one in node.attribute if one.name == "axis"]
            if node.op_type in {"Softmax", "LogSoftmax"} and axes == [1]:
                return str(node.input[0])
            if node.op_type == "ReduceMax" and self._constants[node.input[1]].tolist() == [1]:
                return str(node.input[0])
        raise ArtefactError(
            "The graph has no logit for each class",
            where=str(self._path),
            expected="a softmax over the classes",
            advice="networks with an ordinal head cannot be explained",
        )

    def taken_by(self, operator: str, parameter: str) -> str:
        """The name of what the node of this kind makes whose parameter's name ends so.

        Raises ``ArtefactError`` where there is none.
        """
        for node in self._nodes:
            if node.op_type == operator and any(name.endswith(parameter) for name in node.input):
                return str(node.output[0])
        raise ArtefactError("The graph has no such part", where=str(self._path), expected=parameter)

    def made_of(self, operator: str, value: str) -> str:
        """The name of what the node of this kind makes of a value. Raises ``ArtefactError``."""
        for node in self._nodes:
            if node.op_type == operator and value in node.input:
                return str(node.output[0])
        raise ArtefactError("The graph has no such part", where=str(self._path), expected=operator)

    def prove(self, artefact: Artefact) -> float:
        """Replay the golden case; the largest difference. Raises ``ArtefactError`` above the tolerance."""

        def infer(values: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.no_grad():
                fields = torch.from_numpy(normalise(values, artefact.manifest))
                result: NDArray[np.float32] = self.run(fields)[self.output].numpy()
            return result

        return artefact.replay(infer)


def _convolution(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, weight, bias = (*inputs, None)[:3]
    assert x is not None and weight is not None  # noqa: S101, PT018 - the operator requires them
    return functional.conv2d(
        x,
        weight,
        bias,
        attributes["strides"],
        _symmetric(attributes["pads"]),
        attributes["dilations"],
        attributes["group"],
    )


def _deformable_convolution(attributes: Attributes, inputs: Inputs) -> Tensor:
    """ONNX ``DeformConv``: offsets (batch, group x kernel x (y, x), ...); beyond the edge all is zero."""
    x, weight, offset, bias, mask = (*inputs, None, None)[:5]
    assert x is not None and weight is not None and offset is not None  # noqa: S101, PT018
    batch, channels, *size = x.shape
    kernel, places = tuple(weight.shape[2:]), offset.shape[2:]
    groups, points = attributes["offset_group"], kernel[0] * kernel[1]
    offset = offset.reshape(batch * groups, points, 2, *places)
    grids = []
    for axis in (1, 0):
        step, dilation = attributes["strides"][axis], attributes["dilations"][axis]
        base = torch.arange(places[axis]) * step - _symmetric(attributes["pads"])[axis]
        taps = torch.cartesian_prod(*(torch.arange(one) for one in kernel))[:, axis] * dilation
        base = base[:, None] if axis == 0 else base[None, :]
        position = base + taps[:, None, None] + offset[:, :, axis]
        # The centre of the first cell is at -1 + 1 / size, that of the last at 1 - 1 / size.
        grids.append((2 * position + 1) / size[axis] - 1)
    grid = torch.stack(grids, dim=-1).reshape(batch * groups, points * places[0], places[1], 2)
    sampled = functional.grid_sample(
        x.reshape(batch * groups, channels // groups, *size), grid, align_corners=False
    ).reshape(batch, groups, channels // groups, points, *places)
    if mask is not None:
        sampled = sampled * mask.reshape(batch, groups, 1, points, *places)
    parts = attributes["group"]
    sampled = sampled.reshape(batch, parts, channels // parts, points, *places)
    kernels = weight.reshape(parts, weight.shape[0] // parts, channels // parts, points)
    result = torch.einsum("bgckyx,gmck->bgmyx", sampled, kernels).reshape(batch, -1, *places)
    return result if bias is None else result + bias[:, None, None]


def _symmetric(pads: Sequence[int]) -> list[int]:
    begin, end = list(pads[:2]), list(pads[2:])
    if begin != end:
        raise ArtefactError("A convolution is padded on one side only", got=str(list(pads)))
    return begin


def _layer_normalisation(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, weight, bias = (*inputs, None)[:3]
    assert x is not None  # noqa: S101
    shape, epsilon = x.shape[attributes["axis"] :], attributes.get("epsilon", 1e-5)
    return functional.layer_norm(x, shape, weight, bias, epsilon)


def _resize(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, sizes = inputs[0], inputs[3]
    way = (attributes["mode"], attributes["coordinate_transformation_mode"], attributes["antialias"])
    if way != (b"linear", b"half_pixel", 0) or x is None or sizes is None:
        raise ArtefactError("A resize of a kind that is not known here", got=str(way))
    return functional.interpolate(x, size=sizes[2:].tolist(), mode="bilinear", align_corners=False)


def _gather(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, indices = _all(inputs)
    axis = attributes["axis"] % x.ndim
    found = x.index_select(axis, indices.reshape(-1))
    return found.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _reshape(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, shape = _all(inputs)
    sizes = shape.tolist()
    if not attributes.get("allowzero", 0):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


def _unsqueeze(_attributes: Attributes, inputs: Inputs) -> Tensor:
    x, (axis,) = _all(inputs)
    return x.unsqueeze(int(axis))


def _reduce_sum(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, axes = _all(inputs)
    return x.sum(dim=axes.tolist(), keepdim=bool(attributes["keepdims"]))


def _reduce_max(attributes: Attributes, inputs: Inputs) -> Tensor:
    x, axes = _all(inputs)
    return x.amax(dim=axes.tolist(), keepdim=bool(attributes["keepdims"]))


def _clip(_attributes: Attributes, inputs: Inputs) -> Tensor:
    x, low, high = _all(inputs)
    return x.clamp(low, high)


def _all(inputs: Inputs) -> tuple[Tensor, ...]:
    return tuple(_present(inputs))


def _present(inputs: Inputs) -> Iterator[Tensor]:
    for one in inputs:
        if one is None:
            raise ArtefactError("An input is missing that is not known to be optional")
        yield one


def _plain(function: Callable[..., Tensor]) -> Operator:
    return lambda _, inputs: function(*_present(inputs))


def _along(function: Callable[..., Tensor]) -> Operator:
    return lambda attributes, inputs: function(*_present(inputs), dim=attributes["axis"])


_OPERATORS: Final[dict[str, Operator]] = {
    "Add": _plain(torch.add),
    "Clip": _clip,
    "Concat": lambda attributes, inputs: torch.cat(_all(inputs), dim=attributes["axis"]),
    "Conv": _convolution,
    "DeformConv": _deformable_convolution,
    "Div": _plain(torch.div),
    "Exp": _plain(torch.exp),
    "Gather": _gather,
    "Gelu": lambda attributes, inputs: functional.gelu(
        _all(inputs)[0], approximate=attributes["approximate"].decode()
    ),
    "LayerNormalization": _layer_normalisation,
    "LogSoftmax": _along(torch.log_softmax),
    "MatMul": _plain(torch.matmul),
    "Min": _plain(torch.minimum),
    "Mul": _plain(torch.mul),
    "ReduceMax": _reduce_max,
    "ReduceSum": _reduce_sum,
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda attributes, inputs: torch.tensor(
        _all(inputs)[0].shape[attributes.get("start", 0) : attributes.get("end")]
    ),
    "Softmax": _along(torch.softmax),
    "Sub": _plain(torch.sub),
    "Transpose": lambda attributes, inputs: _all(inputs)[0].permute(*attributes["perm"]),
    "Unsqueeze": _unsqueeze,
}
