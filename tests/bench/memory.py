"""Peak memory of one way to run six leads, in a process of its own.

``python -m tests.bench.memory WAY FILE`` prints MiB: the largest resident size of the whole process. ``onnx``
takes a graph and imports no torch; ``eager`` takes the name of an architecture.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.torture.memory import peak_bytes

SHAPE = (16, 224, 128)
LEADS = 6
THREADS = 2


def _fields() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((LEADS, *SHAPE)).astype(np.float32)


def _through_onnx(graph: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    for lead in _fields():
        session.run(None, {session.get_inputs()[0].name: lead[None]})


def _through_eager(architecture: str) -> None:
    import torch

    from training.networks.segmentation import ARCHITECTURES, Probabilities, Segmentation

    torch.set_num_threads(THREADS)
    network = Probabilities(Segmentation(ARCHITECTURES[architecture])).eval()
    with torch.inference_mode():
        network(torch.from_numpy(_fields()))


def peak_mib(way: str, what: str) -> float:
    """Of a new process."""
    command = [sys.executable, "-m", "tests.bench.memory", way, what]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """The child process."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("way", choices=("onnx", "eager"))
    parser.add_argument("what")
    chosen = parser.parse_args()
    if chosen.way == "onnx":
        _through_onnx(Path(chosen.what))
    else:
        _through_eager(chosen.what)
    # Not ru_maxrss: it begins with the size of the process that started this one.
    print(peak_bytes(os.getpid()) / 2**20)


if __name__ == "__main__":
    main()
