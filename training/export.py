"""A fitted run as a model folder that the service can load.

``python -m training.export --run runs/nano --name nano --version 0.3.0 --out models --beside runs/raw
runs/smoothed`` writes ``models/nano-0.3.0/`` with the graph in ONNX, the manifest, a golden case and the
model card. The calibration of ``scores.json`` is part of the graph, and decision thresholds are calibrated
probabilities. A folder that exists is never written again: a change is a new version.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

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
    Score,
    Training,
    digest_folder,
)
from service.channels import THRESHOLDS_MM
from service.errors import ArtefactError, InputError
from service.specification import CycleSpecification
from training.card import MODEL, RAW, SMOOTHED, Release, decision_thresholds, model_card
from training.evaluation import SCORES, DecisionName, Evaluation, read_evaluation
from training.finetune import Provenance, load_run
from training.networks.dcnv3 import DCNv3, onnx_translations
from training.networks.heads import HEADS, Calibration, PiecewiseLinear
from training.networks.internimage import Block
from training.networks.segmentation import Probabilities
from training.samples import Floats, Split

OPSET: Final = 22
INPUT_NAME, OUTPUT_NAME = "fields", "probabilities"
PARITY: Final = 1e-4
GOLDEN_TOLERANCE: Final = 1e-4

NAMES: Final = {SMOOTHED: "raw_smoothed"}
"""Of systems in manifests, where they are not the ones here."""
SHOWN: Final[dict[str, dict[DecisionName, str]]] = {
    RAW: {"value": "value"},
    MODEL: {"calibrated_argmax": "argmax", "tuned": "tuned"},
}
"""Decisions that a manifest shows, and their names there; of other systems the tuned one."""


def write_graph(model: Probabilities, shape: tuple[int, int, int], path: Path) -> None:
    """Writes a network with its head, and its calibration where it has one, as ONNX.

    Args:
        model: its network is exported in evaluation mode.
        shape: channels, height and width of the input; the batch stays free.
        path: the file.

    Raises:
        ArtefactError: the graph holds an operator outside the ONNX standard, or a deformable convolution
            is missing.
    """
    # A batch of two: the exporter would take a one for a constant.
    example = torch.zeros(2, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.onnx.export(
            folded(model.eval()),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes={"fields": {0: torch.export.Dim("batch")}},
            custom_translation_table=onnx_translations(),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ArtefactError("The exporter returned nothing", where=str(path))
    program.save(path)
    _forget_traces(path)
    _check_graph(model, path)


def folded(model: Probabilities) -> Probabilities:
    """A copy with less to compute. What else was tried is in ``tests.bench.rewrites``."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if isinstance(module, Block):
            module.fold()
    return copied


def _forget_traces(path: Path) -> None:
    """Takes out where in which folder the exporter met each node: the same model is then the same file."""
    graph = onnx.load(path)
    for node in graph.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    onnx.save(graph, path)


def _check_graph(model: Probabilities, path: Path) -> None:
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    foreign = sorted({f"{node.domain}::{node.op_type}" for node in graph.graph.node if node.domain})
    expected = sum(isinstance(module, DCNv3) for module in model.modules())
    found = sum(node.op_type == "DeformConv" for node in graph.graph.node)
    if foreign or found != expected:
        raise ArtefactError(
            "The exported graph is not what it should be",
            where=str(path),
            expected=f"standard operators only, {expected} DeformConv",
            got=f"{found} DeformConv, foreign operators: {foreign}",
        )


def check_parity(model: Probabilities, path: Path, fields: Floats) -> float:
    """The largest difference of the probabilities between PyTorch and ONNX Runtime.

    Raises:
        ArtefactError: it exceeds 1e-4.
    """
    with torch.no_grad():
        expected: Tensor = model.eval()(torch.from_numpy(fields))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run([OUTPUT_NAME], {INPUT_NAME: fields})
    difference = float(np.abs(found - expected.numpy()).max())
    if not difference <= PARITY:
        raise ArtefactError(
            "ONNX Runtime does not give the probabilities of PyTorch",
            where=str(path),
            expected=f"a difference of at most {PARITY:g}",
            got=f"{difference:g}",
        )
    return difference


def _golden_sample(split: Split) -> int:
    """The test sample with the most heavy rain: every class occurs."""
    heavy = [float((split.rain_mm([index]) >= THRESHOLDS_MM[-1]).sum()) for index in range(len(split))]
    return int(np.argmax(heavy))


def _cycle(split: Split) -> CycleSpecification:
    specification = split.description.specification
    if specification is None:
        raise InputError(
            "The archive does not say how cycles are read, so that no service could run the model",
            where=str(split.description.provenance),
            expected="an archive of cycles",
            got="pairs of forecasts and observations",
        )
    return specification


def _manifest(release: Release, folder: Path) -> Manifest:
    description = release.split.description
    return Manifest(
        name=release.name,
        version=release.version,
        created=datetime.now(UTC).replace(microsecond=0),
        cycle=release.cycle,
        normalisation=description.normalisation,
        decision_thresholds=decision_thresholds(release.evaluation),
        network=Network(
            architecture=release.architecture,
            opset=OPSET,
            input_name=INPUT_NAME,
            output_name=OUTPUT_NAME,
        ),
        golden=Golden(tolerance=GOLDEN_TOLERANCE),
        training=Training(
            data=release.provenance.data_digest,
            simulated=description.simulated,
            statement=release.statement,
            samples=release.provenance.samples,
            commit=release.provenance.commit,
            seed=release.provenance.configuration.seed,
            command=release.command,
        ),
        scores=tuple(_scores(release)),
        files=digest_folder(folder),
    )


def _scores(release: Release) -> Iterator[Score]:
    """Of the systems beside the model and of the model as it is exported: calibrated, so is its argmax."""
    for system, evaluation in (*release.beside.items(), (MODEL, release.evaluation)):
        for at in evaluation.thresholds:
            for decision, name in SHOWN.get(system, {"tuned": "tuned"}).items():
                chosen = at.decision(decision)
                if chosen is not None:
                    ratios = chosen.ratios.model_dump(exclude={"ets", "fss"})
                    yield Score(
                        system=NAMES.get(system, system),
                        decision=name,
                        threshold_mm=at.threshold_mm,
                        **ratios,
                    )


def _evaluation(run: Path, provenance: Provenance) -> Evaluation:
    evaluation = read_evaluation(run)
    expected = (provenance.data_digest, provenance.statistics_digest)
    if (evaluation.data_digest, evaluation.statistics_digest) != expected:
        raise InputError(
            "The scores are of other data than the run's",
            where=str(run / SCORES),
            advice="run python -m training.evaluate",
        )
    return evaluation


def _beside(folders: Sequence[Path], evaluation: Evaluation) -> dict[str, Evaluation]:
    """Scores of other systems, by system."""
    found = {}
    for folder in folders:
        other = read_evaluation(folder)
        if (other.data_digest, other.statistics_digest) != (
            evaluation.data_digest,
            evaluation.statistics_digest,
        ):
            raise InputError(
                "The scores are of other data than the run's",
                where=str(folder / SCORES),
                advice="score the system on the run's data",
            )
        found[other.system] = other
    return found


def calibration(evaluation: Evaluation) -> Calibration:
    """The maps that were fitted on the validation split, as a part of the graph.

    Raises:
        InputError: the scores are of amounts.
    """
    probabilities = [at.probability for at in evaluation.thresholds if at.probability is not None]
    if len(probabilities) != len(THRESHOLDS_MM):
        raise InputError("The scores are not of probabilities", where=evaluation.system)
    rain, heavy = (PiecewiseLinear(one.calibration.knots, one.calibration.values) for one in probabilities)
    return Calibration(rain, heavy)


def _check_inputs(split: Split) -> None:
    if split.input_names != split.description.channels:
        raise InputError(
            "The network needs more than the channels of a forecast, which no service gives it",
            expected=f"{len(split.description.channels)} inputs",
            got=", ".join(split.input_names),
            advice="fit a network without conditions",
        )


def export(run: Path, name: str, version: str, out: Path, command: str, beside: Sequence[Path] = ()) -> Path:
    """Writes ``out/<name>-<version>/`` and returns it; the folder appears whole or not at all.

    Args:
        run: a fitted and scored network.
        name, version: of the model.
        out: where models lie.
        command: makes the model again; for its card.
        beside: folders with scores of other systems on the same data, for the card and the manifest.

    Raises:
        InputError: no fitted run, no scores, scores of other data, no archive, an archive of pairs that are
            no cycles, or a network with inputs that are no channels.
        ArtefactError: the version exists already, or ONNX Runtime does not agree with PyTorch.
    """
    target = out / f"{name}-{version}"
    if target.exists():
        raise ArtefactError(
            "This version exists", where=str(target), advice="versions are never rewritten: raise it"
        )
    provenance, network = load_run(run)
    split = Split(provenance.configuration.data, "test")
    _check_inputs(split)
    evaluation = _evaluation(run, provenance)
    others = _beside(beside, evaluation)
    release = Release(name, version, provenance, network, evaluation, split, _cycle(split), command, others)
    model = Probabilities(network, HEADS[provenance.configuration.head](), calibration(evaluation)).eval()
    out.mkdir(parents=True, exist_ok=True)
    folder = out / f".{target.name}.part"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _write(release, model, folder)
    folder.rename(target)
    return target


def _write(release: Release, model: Probabilities, folder: Path) -> None:
    """All files; the manifest last, with the digests of the others."""
    split = release.split
    golden = _golden_sample(split)
    fields = split.fields([golden])
    write_graph(model, (fields.shape[1], fields.shape[2], fields.shape[3]), folder / GRAPH)
    check_parity(model, folder / GRAPH, split.fields(range(min(8, len(split)))))
    with torch.no_grad():
        probabilities = model(torch.from_numpy(fields)).numpy()
    np.savez_compressed(
        folder / GOLDEN, **{GOLDEN_INPUT: split.physical(golden)[None], GOLDEN_OUTPUT: probabilities}
    )
    (folder / CARD).write_text(model_card(release))
    manifest = _manifest(release, folder)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", type=Path, default=Path("models"))
    parser.add_argument("--command", default="make train", help="how to make the model again, for its card")
    parser.add_argument(
        "--beside",
        type=Path,
        nargs="*",
        default=[],
        help="folders with scores of other systems on the same data, for its card",
    )
    arguments = parser.parse_args()
    print(
        export(
            arguments.run,
            arguments.name,
            arguments.version,
            arguments.out,
            arguments.command,
            arguments.beside,
        )
    )


if __name__ == "__main__":
    main()
