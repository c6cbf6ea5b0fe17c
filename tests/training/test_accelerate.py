"""The own kernel of the CPU: the operator's numbers, the shipped model through it, and what is refused."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, helper, numpy_helper
from torch import Tensor

from service.accelerator import DESCRIPTION, GRAPH, LIBRARY, Accelerator
from service.artefact import Artefact
from service.errors import ArtefactError, InputError
from service.inference import Inference
from training import accelerate
from training.networks.dcnv3 import dcnv3_sample

MODEL = Path(__file__).parents[2] / "models" / "nano-0.2.0"

pytestmark = pytest.mark.skipif(accelerate.compiler() is None, reason="no C++ compiler")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / LIBRARY
    accelerate.build(path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The accelerator of the shipped model, not to be changed, and its digest."""
    folder = tmp_path_factory.mktemp("made") / "accelerator"
    return folder, accelerate.accelerate(MODEL, folder)


def _tensors(channels: int, groups: int, height: int = 9, width: int = 7) -> list[Tensor]:
    """Value, offset and logits; offsets reach far outside, and some are no numbers at all."""
    generator = torch.Generator().manual_seed(channels)
    value, offset, logits = (
        torch.randn(2, numbers, height, width, generator=generator)
        for numbers in (channels, 18 * groups, 9 * groups)
    )
    offset *= 3
    # On the border itself, just outside, beyond what an integer holds, and not a number.
    for place, number in enumerate((-1.0, 8.0, 1e30, -1e30, float("nan"), float("inf"))):
        offset[0, place, 4, 3] = number
    return [value, offset, logits]


def _channels_last(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize(
    ("channels", "groups"), [(32, 2), (48, 2), (16, 2), (24, 2), (10, 2), (12, 1), (3, 3)]
)
def test_the_operator_gives_what_training_gives(
    library: Path, channels: int, groups: int, vectors: bool
) -> None:
    """Channels per group of 16, 24, 8, 12, 5, 12 and 1: blocks of vectors, and what is left behind them."""
    tensors = _tensors(channels, groups)
    arrays = [_channels_last(tensor) for tensor in tensors]
    found = np.full(arrays[0].shape, np.nan, np.float32)
    sizes = (*arrays[0].shape, groups)
    used = ctypes.CDLL(str(library)).rainpost_dcnv3(
        *(ctypes.c_void_p(array.ctypes.data) for array in (*arrays, found)),
        *(ctypes.c_int64(size) for size in sizes),
        ctypes.c_int(vectors),
    )
    expected = _channels_last(dcnv3_sample(*tensors, groups))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert used == (vectors and "avx2" in Path("/proc/cpuinfo").read_text())


def _alone(library: Path, tensors: list[Tensor], groups: int, threads: int = 2) -> np.ndarray:
    """The operator in a graph of its own."""
    names = ("value", "offset", "logits")
    node = helper.make_node("DCNv3", names, ["result"], domain=accelerate.DOMAIN, groups=groups)
    kind = onnx.TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(name, kind, [None] * 4) for name in names]
    outputs = [helper.make_tensor_value_info("result", kind, [None] * 4)]
    model = helper.make_model(
        helper.make_graph([node], "alone", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 22), helper.make_opsetid(accelerate.DOMAIN, 1)],
        ir_version=10,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.register_custom_ops_library(str(library))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    feeds = {name: _channels_last(tensor) for name, tensor in zip(names, tensors, strict=True)}
    result: np.ndarray = session.run(None, feeds)[0]
    return result


def test_threads_and_batches_do_not_change_a_bit(library: Path) -> None:
    tensors = _tensors(32, 2, 40, 30)
    found = _alone(library, tensors, 2)
    # Between places that are far from the origin float32 has fewer digits.
    np.testing.assert_allclose(found, _channels_last(dcnv3_sample(*tensors, 2)), atol=1e-5)
    np.testing.assert_array_equal(found, _alone(library, tensors, 2, threads=1))
    single = [_alone(library, [tensor[i : i + 1] for tensor in tensors], 2) for i in range(2)]
    np.testing.assert_array_equal(found, np.concatenate(single))


def test_shapes_that_do_not_fit_are_refused_and_not_read(library: Path) -> None:
    value, offset, logits = _tensors(32, 2)
    for tensors, groups in (
        ([value, offset[..., :-1], logits], 2),
        ([value, offset, logits[:, :-1]], 2),
        ([value[:1], offset, logits], 2),
        ([value[:, :31], offset, logits], 2),
        ([value, offset, logits], 4),
        ([value, offset[:, :0], logits[:, :0]], 0),
    ):
        with pytest.raises(Exception, match="rainpost::DCNv3: "):  # ONNX Runtime has no base class
            _alone(library, tensors, groups)


def test_the_shipped_model_gives_the_same_probabilities(made: tuple[Path, str]) -> None:
    artefact = Artefact.load(MODEL)
    accelerator = Accelerator.load(*made)
    fast, standard = Inference(artefact, accelerator=accelerator), Inference(artefact)
    assert (fast.accelerator, standard.accelerator) == (accelerator, None)
    values, _ = artefact.golden()
    rolled = np.concatenate([values, np.roll(values, 40, axis=2)])
    np.testing.assert_allclose(fast.infer(rolled), standard.infer(rolled), atol=1e-5)


def test_nothing_of_the_standard_operator_is_left(made: tuple[Path, str]) -> None:
    before, after = (onnx.load(path) for path in (MODEL / "model.onnx", made[0] / GRAPH))
    operators = [[node.op_type for node in model.graph.node] for model in (before, after)]
    convolutions = operators[0].count("DeformConv")
    assert operators[1].count("DCNv3") == convolutions > 0
    assert not {"DeformConv", "Softmax"} & set(operators[1])
    # Three before it and one behind it.
    assert operators[0].count("Transpose") - operators[1].count("Transpose") == 4 * convolutions
    assert len(after.graph.initializer) < len(before.graph.initializer)


def test_another_model_runs_without_it(made: tuple[Path, str]) -> None:
    other = Artefact.load(MODEL.parent / "nano-0.1.0")
    assert Inference(other, accelerator=Accelerator.load(*made)).accelerator is None


def test_an_accelerator_that_computes_something_else_fails_the_golden_case(
    made: tuple[Path, str], tmp_path: Path
) -> None:
    """Whoever changes the graph and every digest after it is still found out."""
    folder = Path(shutil.copytree(made[0], tmp_path / "changed"))
    graph = onnx.load(folder / GRAPH)
    weights = next(one for one in graph.graph.initializer if one.name.endswith("classifier.weight"))
    changed = numpy_helper.to_array(weights) * np.float32(1.05)
    weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    onnx.save(graph, folder / GRAPH)
    before = Accelerator.load(*made).description
    digest = hashlib.sha256((folder / GRAPH).read_bytes()).hexdigest()
    description = before.model_copy(update={"files": {**before.files, GRAPH: digest}})
    (folder / DESCRIPTION).write_text(description.model_dump_json())
    pinned = hashlib.sha256((folder / DESCRIPTION).read_bytes()).hexdigest()
    with pytest.raises(ArtefactError, match="does not reproduce its golden case"):
        Inference(Artefact.load(MODEL), accelerator=Accelerator.load(folder, pinned))


@pytest.mark.parametrize("name", [GRAPH, LIBRARY])
def test_a_file_that_changed_is_not_loaded(made: tuple[Path, str], tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(made[0], tmp_path / "changed"))
    with (folder / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtefactError, match=rf"not the file that was asked for.*{name}"):
        Inference(Artefact.load(MODEL), accelerator=Accelerator.load(folder, made[1]))


def _model() -> ModelProto:
    return onnx.load(MODEL / "model.onnx")


def test_a_convolution_with_weights_is_refused() -> None:
    model = _model()
    node = next(node for node in model.graph.node if node.op_type == "DeformConv")
    (weights,) = (one for one in model.graph.initializer if one.name == node.input[1])
    changed = numpy_helper.to_array(weights).copy()
    changed[0, 0, 1, 1] = 0.5
    weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    with pytest.raises(ArtefactError, match=r"not written as training\.export writes it.*weights of one"):
        accelerate.accelerated(model)


@pytest.mark.parametrize("operator", ["Transpose", "Softmax"])
def test_a_graph_of_another_form_is_refused(operator: str) -> None:
    model = _model()
    for node in model.graph.node:
        if node.op_type == operator:
            for attribute in node.attribute:
                if attribute.name == "perm":
                    attribute.ints[:] = [0, 3, 2, 1]
                else:
                    attribute.i = 1
    with pytest.raises(ArtefactError, match=rf"not written as training\.export.*expected: {operator}"):
        accelerate.accelerated(model)


def test_a_graph_without_the_convolution_is_refused() -> None:
    model = _model()
    for node in model.graph.node:
        node.op_type = node.op_type.replace("DeformConv", "Other")
    with pytest.raises(ArtefactError, match="one DeformConv or more"):
        accelerate.accelerated(model)


def test_a_folder_that_exists_is_not_written_over(made: tuple[Path, str]) -> None:
    with pytest.raises(InputError, match="The folder exists"):
        accelerate.accelerate(MODEL, made[0])


def test_without_a_compiler_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="No C\\+\\+ compiler"):
        accelerate.accelerate(MODEL, tmp_path / "accelerator")
    assert list(tmp_path.iterdir()) == []
