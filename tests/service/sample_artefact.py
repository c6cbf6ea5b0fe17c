"""A model folder for tests: a 1x1 convolution and a softmax, so that its output can be computed by hand."""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.artefact import (
    CARD,
    GOLDEN,
    GOLDEN_INPUT,
    GOLDEN_OUTPUT,
    GRAPH,
    MANIFEST,
    Golden,
    Manifest,
    Network,
    Normalisation,
    Training,
    digest_folder,
    normalise,
)
from service.channels import CHANNELS, CLASSES
from service.specification import CycleSpecification, LambertDefinition, Source, Window

SAMPLE_TARGET = LambertDefinition(
    nx=12,
    ny=10,
    spacing_m=5000.0,
    standard_parallels_degrees=(30.0, 60.0),
    origin_latitude_degrees=38.0,
    origin_longitude_degrees=126.0,
    origin_x=5.5,
    origin_y=4.5,
    earth_radius_m=6_370_000.0,
)

SAMPLE_SPECIFICATION = CycleSpecification(
    source=Source(name="sample", centres=(40,), spacing_m=(2900.0, 3100.0), winds_relative_to="earth"),
    channels=("temperature_2m", "relative_humidity_850hpa", "precipitation_1h"),
    leads_hours=(2, 3),
    target=SAMPLE_TARGET,
    window=Window(y_start=1, x_start=2, ny=8, nx=6),
)


def middle_values(specification: CycleSpecification, leads: int) -> NDArray[np.float32]:
    """(lead, channel, y, x) in the lower half of every channel's physical limits."""
    generator = np.random.default_rng(7)
    channels = [CHANNELS[name] for name in specification.channels]
    window = specification.window
    values = generator.uniform(0.3, 0.5, (leads, len(channels), window.ny, window.nx))
    low = np.array([channel.minimum for channel in channels])[:, None, None]
    high = np.array([channel.maximum for channel in channels])[:, None, None]
    scaled: NDArray[np.float32] = (low + values * (high - low)).astype(np.float32)
    return scaled


def weights_of(channels: int) -> NDArray[np.float32]:
    """(class, channel) weights of the sample's convolution."""
    return np.random.default_rng(3).normal(0.0, 0.5, (len(CLASSES), channels)).astype(np.float32)


def expected_probabilities(values: NDArray[np.float32], manifest: Manifest) -> NDArray[np.float64]:
    """The sample's output without ONNX Runtime."""
    scores = normalise(values, manifest).astype(np.float64)
    logits = np.einsum("kc,lcyx->lkyx", weights_of(values.shape[1]).astype(np.float64), scores)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def write_artefact(
    models: Path,
    specification: CycleSpecification = SAMPLE_SPECIFICATION,
    *,
    name: str = "sample",
    version: str = "0.1.0",
    graph: Path | None = None,
) -> Path:
    """Write ``models/<name>-<version>`` and return it.

    graph: a network with inputs and outputs of these names in place of the sample's own.
    """
    folder = models / f"{name}-{version}"
    folder.mkdir(parents=True)
    (folder / CARD).write_text("# Sample\n\nFor tests.\n")
    draft = _manifest(specification, name, version)
    values = middle_values(specification, 1)
    if graph is None:
        onnx.save(_graph(specification), folder / GRAPH)
        output = expected_probabilities(values, draft).astype(np.float32)
    else:
        shutil.copyfile(graph, folder / GRAPH)
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        output = session.run(["probabilities"], {"fields": normalise(values, draft)})[0]
    arrays = {GOLDEN_INPUT: values, GOLDEN_OUTPUT: output}
    np.savez(folder / GOLDEN, allow_pickle=False, **arrays)
    rewrite_manifest(folder, draft)
    return folder


def write_other_artefact(models: Path, **options: Any) -> Path:
    """``write_artefact`` with other weights, so that the probabilities are not those of the sample."""
    with tempfile.TemporaryDirectory() as folder:
        specification = options.get("specification", SAMPLE_SPECIFICATION)
        graph = _graph(specification)
        weights = 2.0 * weights_of(len(specification.channels))[::-1, :, None, None]
        graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights.astype(np.float32), "weights"))
        onnx.save(graph, Path(folder) / GRAPH)
        return write_artefact(models, graph=Path(folder) / GRAPH, **options)


def rewrite_manifest(folder: Path, manifest: Manifest | None = None) -> None:
    """Write the manifest with the digests of the files as they are now."""
    path = folder / MANIFEST
    document = json.loads(path.read_text()) if manifest is None else manifest.model_dump(mode="json")
    document["files"] = digest_folder(folder)
    path.write_text(json.dumps(document, indent=1))


def _graph(specification: CycleSpecification) -> onnx.ModelProto:
    window = specification.window
    channels = len(specification.channels)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["fields", "weights"], ["logits"], kernel_shape=[1, 1]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "sample",
        [
            helper.make_tensor_value_info(
                "fields", TensorProto.FLOAT, ["batch", channels, window.ny, window.nx]
            )
        ],
        [
            helper.make_tensor_value_info(
                "probabilities", TensorProto.FLOAT, ["batch", len(CLASSES), window.ny, window.nx]
            )
        ],
        [numpy_helper.from_array(weights_of(channels)[:, :, None, None], "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def _manifest(specification: CycleSpecification, name: str, version: str) -> Manifest:
    channels = {channel: CHANNELS[channel] for channel in specification.channels}
    return Manifest(
        name=name,
        version=version,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        cycle=specification,
        normalisation={
            channel: Normalisation(
                mean=(limits.minimum + limits.maximum) / 2,
                standard_deviation=(limits.maximum - limits.minimum) / 6,
            )
            for channel, limits in channels.items()
        },
        network=Network(architecture="1x1 convolution"),
        golden=Golden(tolerance=1e-5),
        training=Training(
            data="none",
            simulated=True,
            statement="A model for tests; its weights are random.",
            samples=1,
            commit="0" * 40,
            seed=3,
            command="none",
        ),
        scores=(),
        files=dict.fromkeys((GRAPH, GOLDEN, CARD), "0" * 64),
    )
