"""The exported folder: standard operators, the same numbers, and that the service accepts it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import zarr

from service.artefact import Artefact
from service.errors import ArtefactError, InputError
from service.inference import Inference
from training.evaluate import evaluate
from training.export import check_parity, export, write_graph
from training.finetune import Configuration, finetune
from training.networks.segmentation import Architecture, Probabilities, Segmentation
from training.samples import DataSettings, Split

SMALL = Architecture(16, (1, 2, 1, 1), (2, 2, 4, 4), decoder_width=8, inputs=4, perceptron_ratio=2)


@pytest.fixture(scope="module")
def network() -> Segmentation:
    """Random weights and running statistics, so that offsets reach outside and nothing cancels."""
    torch.manual_seed(0)
    network = Segmentation(SMALL)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for _ in range(5):
            network(torch.randn(4, 4, 64, 96))
    return network.eval()


@pytest.fixture(scope="module")
def graph(network: Segmentation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_graph(Probabilities(network), (4, 64, 96), path)
    return path


def _fields(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).normal(size=(batch, 4, 64, 96)).astype(np.float32)


def test_graph_holds_standard_operators_only(graph: Path) -> None:
    model = onnx.load(graph)
    assert {(entry.domain, entry.version) for entry in model.opset_import} == {("", 22)}
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    assert sum(node.op_type == "DeformConv" for node in model.graph.node) == 5


def test_graph_has_the_signature_that_the_service_expects(graph: Path) -> None:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (fields,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (fields.name, fields.shape) == ("fields", ["batch", 4, 64, 96])
    assert (probabilities.name, probabilities.shape) == ("probabilities", ["batch", 3, 64, 96])


@pytest.mark.parametrize("batch", [1, 6])
def test_onnx_runtime_gives_the_probabilities_of_torch(
    network: Segmentation, graph: Path, batch: int
) -> None:
    fields = _fields(batch)
    with torch.no_grad():
        assert Probabilities(network)(torch.from_numpy(fields)).std() > 0.05
    assert check_parity(Probabilities(network), graph, fields) <= 1e-4


def test_a_batch_of_six_is_six_batches_of_one(graph: Path) -> None:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    fields = _fields(6)
    (whole,) = session.run(None, {"fields": fields})
    single = np.concatenate([session.run(None, {"fields": fields[i : i + 1]})[0] for i in range(6)])
    np.testing.assert_array_equal(whole, single)


def test_another_network_fails_the_parity_check(network: Segmentation, graph: Path) -> None:
    torch.manual_seed(1)
    with pytest.raises(ArtefactError, match="does not give the probabilities"):
        check_parity(Probabilities(Segmentation(SMALL)), graph, _fields(1))


@pytest.fixture
def run(configuration: Configuration, dataset: DataSettings, tmp_path: Path) -> Path:
    finetune(configuration, tmp_path / "run", last_epoch=1)
    evaluate(tmp_path / "run")
    return tmp_path / "run"


def test_the_service_loads_and_replays_an_export(run: Path, dataset: DataSettings, tmp_path: Path) -> None:
    folder = export(run, "small", "0.2.0", tmp_path / "models", "make train")
    assert folder == tmp_path / "models" / "small-0.2.0"
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["small-0.2.0"]
    artefact = Artefact.load(folder)
    assert Inference(artefact).golden_difference <= 1e-4
    split = Split(dataset, "test")
    values, _ = artefact.golden()
    wettest = int((split.rain_mm(range(len(split))) >= 10).sum(axis=(1, 2)).argmax())
    np.testing.assert_array_equal(values[0], split.physical(wettest))
    manifest = artefact.manifest
    assert manifest.training.simulated
    assert "simulated" in manifest.training.statement
    assert manifest.normalisation == split.description.normalisation
    assert len(manifest.scores) == 8
    card = (folder / "MODEL_CARD.md").read_text()
    scores = json.loads((run / "scores.json").read_text())
    for row in scores["rows"]:
        assert f"{row['score']['csi']:.3f}" in card
    assert "never seen a real forecast" in card
    assert "make train" in card
    with pytest.raises(ArtefactError, match="This version exists"):
        export(run, "small", "0.2.0", tmp_path / "models", "make train")


def test_a_run_without_scores_is_refused(run: Path, dataset: DataSettings, tmp_path: Path) -> None:
    (run / "scores.json").unlink()
    with pytest.raises(InputError, match="no scores"):
        export(run, "small", "0.2.0", tmp_path / "models", "make train")
    assert not (tmp_path / "models").exists()


def test_an_archive_that_is_not_of_cycles_cannot_be_exported(
    configuration: Configuration, write_dataset: Callable[..., DataSettings], tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data.zarr")
    finetune(configuration.model_copy(update={"data": data}), tmp_path / "run", last_epoch=1)
    evaluate(tmp_path / "run")
    group = zarr.open_group(data.archive, mode="r+")
    group.attrs.update({"header": group.attrs["header"] | {"specification": None}})  # type: ignore[operator]
    with pytest.raises(InputError, match=r"does not say how cycles are read.*expected: an archive of cycles"):
        export(tmp_path / "run", "small", "0.2.0", tmp_path / "models", "make train")
    assert not (tmp_path / "models").exists()
