"""A model folder of any architecture with random weights, exported as training exports: for speed alone.

``python -m tests.bench.random_model T --out FOLDER`` writes one for the other commands' ``--model``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from service.artefact import (
    CARD,
    GOLDEN,
    GOLDEN_INPUT,
    GOLDEN_OUTPUT,
    GRAPH,
    MANIFEST,
    Manifest,
    digest_folder,
    normalise,
)
from tests.shipped_model import SHIPPED
from training.export import INPUT_NAME, OUTPUT_NAME, check_parity, write_graph
from training.networks.dcnv3 import DCNv3
from training.networks.segmentation import ARCHITECTURES, Architecture, Probabilities, Segmentation

RANDOM = "random weights, for measurements of speed alone"


def random_network(architecture: Architecture) -> Segmentation:
    """Offsets and masks start at zero in training; here they must sample between the cells."""
    torch.manual_seed(0)
    network = Segmentation(architecture).eval()
    for module in network.modules():
        if isinstance(module, DCNv3):
            torch.nn.init.normal_(module.offset.weight, std=0.1)
            torch.nn.init.normal_(module.mask.weight, std=0.1)
    return network


def write_random_model(models: Path, architecture: str, like: Path) -> Path:
    """``models/<in lower case>-0.0.1``, which reads and answers what the model folder ``like`` does."""
    name = architecture.lower()
    folder = models / f"{name}-0.0.1"
    folder.mkdir(parents=True)
    manifest = Manifest.model_validate_json((like / MANIFEST).read_text())
    with np.load(like / GOLDEN) as golden:
        values = golden[GOLDEN_INPUT][:1]
    fields = normalise(values, manifest)
    model = Probabilities(random_network(ARCHITECTURES[architecture]))
    write_graph(model, fields.shape[1:], folder / GRAPH)
    check_parity(model, folder / GRAPH, fields)
    session = onnxruntime.InferenceSession(folder / GRAPH, providers=["CPUExecutionProvider"])
    (output,) = session.run([OUTPUT_NAME], {INPUT_NAME: fields})
    np.savez(folder / GOLDEN, **{GOLDEN_INPUT: values, GOLDEN_OUTPUT: output})
    shutil.copyfile(like / CARD, folder / CARD)
    document = json.loads((like / MANIFEST).read_text())
    document |= {"name": name, "version": "0.0.1", "scores": [], "decision_thresholds": {}}
    document["network"]["architecture"] = f"{architecture}, {RANDOM}"
    document["training"]["statement"] = RANDOM
    document["files"] = digest_folder(folder)
    (folder / MANIFEST).write_text(json.dumps(document))
    return folder


def main() -> None:
    """Write one."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.random_model", description=__doc__)
    parser.add_argument("architecture", choices=sorted(ARCHITECTURES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--like", type=Path, default=SHIPPED, help="whose channels it has")
    chosen = parser.parse_args()
    print(write_random_model(chosen.out, chosen.architecture, chosen.like))


if __name__ == "__main__":
    main()
