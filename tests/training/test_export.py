"""The exported folder: standard operators, the same numbers, and that the service accepts it."""

import shutil
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
from tests.training.sample_settings import changed
from training.baseline import Baseline
from training.baseline import score as score_baseline
from training.evaluate import evaluate
from training.evaluation import read_evaluation
from training.export import calibration, check_parity, export, write_graph
from training.finetune import Configuration, finetune
from training.networks.internimage import Block
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


def test_graph_has_neither_scales_nor_a_softmax_over_the_classes(network: Segmentation, graph: Path) -> None:
    """The network keeps its scales: what is folded is a copy."""
    assert all(block.scale_spatial is not None for block in network.modules() if isinstance(block, Block))
    operators = [node.op_type for node in onnx.load(graph).graph.node]
    assert "LogSoftmax" not in operators
    assert "Mul" not in operators
    assert operators.count("Softmax") == operators.count("DeformConv")


def test_graph_does_not_tell_where_it_was_made(graph: Path) -> None:
    assert str(Path(__file__).parents[2]).encode() not in graph.read_bytes()


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


@pytest.fixture(scope="module")
def fitted(configuration: Configuration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scored run, not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    finetune(configuration, folder, last_update=2)
    evaluate(folder)
    return folder


@pytest.fixture(scope="module")
def baselines(dataset: DataSettings, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Scores of the raw and the smoothed forecast, not to be changed."""
    folder = tmp_path_factory.mktemp("baselines")
    for system in ({"name": "raw"}, {"name": "smoothed", "widths_cells": [1.0]}):
        settings = Baseline.model_validate({"data": dataset, "system": system})
        score_baseline(settings, folder / str(system["name"]))
    return [folder / "raw", folder / "smoothed"]


@pytest.fixture(scope="module")
def exported(fitted: Path, baselines: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model, not to be changed."""
    models = tmp_path_factory.mktemp("models")
    return export(fitted, "small", "0.2.0", models, "make train", baselines)


@pytest.fixture
def run(fitted: Path, tmp_path: Path) -> Path:
    """A copy of the scored run."""
    return Path(shutil.copytree(fitted, tmp_path / "run"))


@pytest.fixture
def beside(baselines: list[Path], tmp_path: Path) -> list[Path]:
    """Copies of the scores of other systems."""
    return [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in baselines]


def test_the_service_loads_and_replays_an_export(fitted: Path, exported: Path, dataset: DataSettings) -> None:
    assert [path.name for path in exported.parent.iterdir()] == ["small-0.2.0"]
    artefact = Artefact.load(exported)
    assert Inference(artefact).golden_difference <= 1e-4
    split = Split(dataset, "test")
    values, _ = artefact.golden()
    wettest = int((split.rain_mm(range(len(split))) >= 10).sum(axis=(1, 2)).argmax())
    np.testing.assert_array_equal(values[0], split.physical(wettest))
    manifest = artefact.manifest
    assert manifest.training.simulated
    assert "simulated" in manifest.training.statement
    assert manifest.normalisation == split.description.normalisation
    card = (exported / "MODEL_CARD.md").read_text()
    for score in manifest.scores:
        assert f" {score.csi:.3f} [" in card
    assert "never seen a real forecast" in card
    assert "make train" in card
    with pytest.raises(ArtefactError, match="This version exists"):
        export(fitted, "small", "0.2.0", exported.parent, "make train")


def test_the_manifest_has_the_scores_of_what_is_exported(
    fitted: Path, baselines: list[Path], exported: Path
) -> None:
    """The graph is calibrated: so is the most probable class that the manifest scores."""
    manifest = Artefact.load(exported).manifest
    found = {(score.system, score.decision, score.threshold_mm): score.csi for score in manifest.scores}
    expected = {}
    for folder, system, decision, name in (
        (baselines[0], "raw", "value", "value"),
        (baselines[1], "raw_smoothed", "tuned", "tuned"),
        (fitted, "model", "calibrated_argmax", "argmax"),
        (fitted, "model", "tuned", "tuned"),
    ):
        for at in read_evaluation(folder).thresholds:
            chosen = at.decision(decision)
            assert chosen is not None
            expected[system, name, at.threshold_mm] = chosen.ratios.csi
    assert found == expected


def test_the_exported_probabilities_give_the_scores_of_the_card(
    fitted: Path, exported: Path, dataset: DataSettings
) -> None:
    """Through the service's runtime: calibration and decision thresholds belong together."""
    manifest = Artefact.load(exported).manifest
    split = Split(dataset, "test")
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    (classes,) = session.run(None, {"fields": split.fields(range(len(split)))})
    assert classes.sum(axis=1) == pytest.approx(1, abs=1e-6)
    observed = split.rain_mm(range(len(split)))
    seen = ~np.isnan(observed)
    likeliest, heavy = classes.argmax(axis=1), classes[:, 2]
    for index, (threshold, exceeding) in enumerate(((0.1, classes[:, 1] + heavy), (10.0, heavy))):
        event = observed >= threshold
        warnings = {
            "tuned": exceeding >= manifest.decision_thresholds[f"{threshold:g}"],
            "argmax": likeliest > index,
        }
        for score in manifest.scores:
            if (score.system, score.threshold_mm) == ("model", threshold):
                warning = warnings[score.decision] & seen
                csi = (warning & event).sum() / (warning | event).sum()
                assert csi == pytest.approx(score.csi, abs=2e-3)
        probability = read_evaluation(fitted).at(threshold)
        assert probability is not None
        assert probability.probability is not None
        brier = np.mean((exceeding[seen].astype(np.float64) - event[seen]) ** 2)
        assert brier == pytest.approx(probability.probability.calibrated.brier, abs=1e-5)


def test_a_run_without_scores_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "scores.json").unlink()
    with pytest.raises(InputError, match="no scores"):
        export(run, "small", "0.2.0", tmp_path / "models", "make train")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("whose", ["run", "beside"])
@pytest.mark.parametrize("name", ["data_digest", "statistics_digest"])
def test_scores_of_other_data_are_refused(
    run: Path, beside: list[Path], tmp_path: Path, whose: str, name: str
) -> None:
    folder = run if whose == "run" else beside[0]
    read_evaluation(folder).model_copy(update={name: "0" * 64}).write(folder)
    with pytest.raises(InputError, match=r"of other data than the run's.*scores\.json"):
        export(run, "small", "0.2.0", tmp_path / "models", "make", beside)
    assert not (tmp_path / "models").exists()


def test_scores_of_amounts_have_no_calibration(baselines: list[Path]) -> None:
    with pytest.raises(InputError, match="not of probabilities"):
        calibration(read_evaluation(baselines[0]))


def test_a_network_that_is_told_the_lead_cannot_be_exported(
    configuration: Configuration, tmp_path: Path
) -> None:
    finetune(changed(configuration, data={"conditions": ["lead"]}), tmp_path / "run", last_update=2)
    evaluate(tmp_path / "run")
    with pytest.raises(InputError, match=r"expected: 16 inputs; got: .*precipitation_1h, lead"):
        export(tmp_path / "run", "small", "0.2.0", tmp_path / "models", "make")
    assert not (tmp_path / "models").exists()


def test_an_archive_that_is_not_of_cycles_cannot_be_exported(
    configuration: Configuration, write_dataset: Callable[..., DataSettings], tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data.zarr")
    finetune(configuration.model_copy(update={"data": data}), tmp_path / "run", last_update=2)
    evaluate(tmp_path / "run")
    group = zarr.open_group(data.archive, mode="r+")
    group.attrs.update({"header": group.attrs["header"] | {"specification": None}})  # type: ignore[operator]
    with pytest.raises(InputError, match=r"does not say how cycles are read.*expected: an archive of cycles"):
        export(tmp_path / "run", "small", "0.2.0", tmp_path / "models", "make train")
    assert not (tmp_path / "models").exists()
