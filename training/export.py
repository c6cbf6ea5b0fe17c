"""A fitted run as a model folder that the service can load.

``python -m training.export --run runs/nano --name nano --version 0.1.0 --out models``
writes ``models/nano-0.1.0/`` with the graph in ONNX, the manifest, a golden case and the model card. A folder
that exists is never written again: a change is a new version.
"""

from __future__ import annotations

import argparse
import shutil
import warnings
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
    Training,
    digest_folder,
)
from service.channels import THRESHOLDS_MM
from service.errors import ArtefactError, InputError
from service.specification import CycleSpecification
from training.card import Release, model_card
from training.evaluate import SCORES, Evaluation
from training.finetune import Provenance, load_run
from training.networks.dcnv3 import DCNv3, onnx_translations
from training.networks.segmentation import Probabilities
from training.samples import Floats, Split

OPSET: Final = 22
INPUT_NAME, OUTPUT_NAME = "fields", "probabilities"
PARITY: Final = 1e-4
GOLDEN_TOLERANCE: Final = 1e-4


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
            model.eval(),
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
    _check_graph(model, path)


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
    configuration = release.provenance.configuration
    return Manifest(
        name=release.name,
        version=release.version,
        created=datetime.now(UTC).replace(microsecond=0),
        cycle=release.cycle,
        normalisation=description.normalisation,
        decision_thresholds=release.evaluation.decision_thresholds,
        network=Network(
            architecture=f"InternImage + UPerNet {configuration.architecture}",
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
            seed=configuration.seed,
            command=release.command,
        ),
        scores=tuple(row.score for row in release.evaluation.rows),
        files=digest_folder(folder),
    )


def _evaluation(run: Path, provenance: Provenance) -> Evaluation:
    path = run / SCORES
    if not path.exists():
        raise InputError(
            "The run has no scores", where=str(run), advice="run python -m training.evaluate first"
        )
    evaluation = Evaluation.model_validate_json(path.read_text())
    if evaluation.data_digest != provenance.data_digest:
        raise InputError(
            "The scores are of other data than the run's",
            where=str(path),
            advice="run python -m training.evaluate",
        )
    return evaluation


def export(run: Path, name: str, version: str, out: Path, command: str) -> Path:
    """Writes ``out/<name>-<version>/`` and returns it; the folder appears whole or not at all.

    Raises:
        InputError: no fitted run, no scores, no archive, or an archive of pairs that are no cycles.
        ArtefactError: the version exists already, or ONNX Runtime does not agree with PyTorch.
    """
    target = out / f"{name}-{version}"
    if target.exists():
        raise ArtefactError(
            "This version exists", where=str(target), advice="versions are never rewritten: raise it"
        )
    provenance, network = load_run(run)
    split = Split(provenance.configuration.data, "test")
    release = Release(
        name, version, provenance, network, _evaluation(run, provenance), split, _cycle(split), command
    )
    out.mkdir(parents=True, exist_ok=True)
    folder = out / f".{target.name}.part"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    golden = _golden_sample(split)
    fields = split.fields([golden])
    shape = (fields.shape[1], fields.shape[2], fields.shape[3])
    model = Probabilities(network).eval()
    write_graph(model, shape, folder / GRAPH)
    check_parity(model, folder / GRAPH, split.fields(range(min(8, len(split)))))
    with torch.no_grad():
        probabilities = model(torch.from_numpy(fields)).numpy()
    np.savez_compressed(
        folder / GOLDEN, **{GOLDEN_INPUT: split.physical(golden)[None], GOLDEN_OUTPUT: probabilities}
    )
    (folder / CARD).write_text(model_card(release))
    manifest = _manifest(release, folder)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
    folder.rename(target)
    return target


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", type=Path, default=Path("models"))
    parser.add_argument("--command", default="make train", help="how to make the model again, for its card")
    arguments = parser.parse_args()
    print(export(arguments.run, arguments.name, arguments.version, arguments.out, arguments.command))


if __name__ == "__main__":
    main()
