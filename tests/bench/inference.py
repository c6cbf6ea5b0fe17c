"""Inference of a cycle of six leads, as ratios to torch eager and to an export by GridSample.

``python -m tests.bench.inference [--architecture nano] [--runs 5]``

service     the exported graph with ``DeformConv``, as the service runs it: lead by lead
batch       the same graph, six leads in one call
gridsample  the same network exported through ``grid_sample`` to ``GridSample``
eager       torch, no gradient, six leads in one call

The weights are random: speed does not depend on them, but the offsets do not wander as trained ones may. All
are measured in turn in the same run and agree within 1e-4.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tests.bench.deformable_peers import through_grid_sample
from tests.bench.random_model import random_network
from training.export import INPUT_NAME, OPSET, OUTPUT_NAME, write_graph
from training.networks import dcnv3
from training.networks.segmentation import ARCHITECTURES, Probabilities, Segmentation

SHAPE = (16, 224, 128)
LEADS = 6
THREADS = 2


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _export_grid_sample(network: Segmentation, path: Path) -> None:
    """The same network with the operator's reference in its place, which the exporter can see into."""
    with patch.object(dcnv3, "dcnv3_sample", through_grid_sample):
        program = torch.onnx.export(
            Probabilities(network).eval(),
            (torch.zeros(1, *SHAPE),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            verbose=False,
        )
    assert program is not None
    program.save(path)


def _measure(calls: dict[str, Callable[[], NDArray[np.float32]]], runs: int) -> dict[str, list[float]]:
    reference = next(iter(calls.values()))()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for name, call in calls.items():
        difference = float(np.abs(call() - reference).max())
        if difference > 1e-4:
            raise SystemExit(f"{name} differs by {difference:g}: the comparison would be of different things")
    for _ in range(runs):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Print a table of medians and ratios."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.inference", description=__doc__)
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="nano")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    network = random_network(arguments.architecture)
    fields = np.random.default_rng(0).standard_normal((LEADS, *SHAPE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        deform, grid = Path(name) / "deform.onnx", Path(name) / "grid.onnx"
        write_graph(Probabilities(network), SHAPE, deform)
        _export_grid_sample(network, grid)
        ours, peer = _session(deform), _session(grid)

    def lead_by_lead(session: onnxruntime.InferenceSession) -> NDArray[np.float32]:
        parts = [session.run([OUTPUT_NAME], {INPUT_NAME: lead[None]})[0] for lead in fields]
        return np.concatenate(parts)

    def eager() -> NDArray[np.float32]:
        with torch.inference_mode():
            result: NDArray[np.float32] = Probabilities(network).eval()(torch.from_numpy(fields)).numpy()
        return result

    seconds = _measure(
        {
            "service": lambda: lead_by_lead(ours),
            "batch": lambda: np.asarray(ours.run([OUTPUT_NAME], {INPUT_NAME: fields})[0]),
            "gridsample": lambda: lead_by_lead(peer),
            "eager": eager,
        },
        arguments.runs,
    )
    base = statistics.median(seconds["service"])
    table = Table(
        title=f"{arguments.architecture}, {LEADS} leads, {THREADS} threads, {arguments.runs} runs, "
        f"torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}"
    )
    for column in ("way", "median ms", "ratio to service"):
        table.add_column(column, justify="right")
    for way, values in seconds.items():
        median = statistics.median(values)
        table.add_row(way, f"{1000 * median:.0f}", f"{median / base:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
