"""Inference of a cycle of six leads on the CPU, as ratios to the service's own way, in one run.

``python -m tests.bench.inference [--architecture nano] [--runs 5] [--width 256]``

service      the exported graph with ``DeformConv``, lead by lead
sleeping     the same, threads that have nothing to do sleep instead of spinning
batch        the same graph, six leads in one call
gridsample   the same network exported through ``grid_sample`` to ``GridSample``
eager        torch, no gradient, six leads in one call

The weights are random: speed does not depend on them, but the offsets do not wander as trained ones may.
All take turns and agree within 1e-4. Milliseconds of CPU are those of all threads of the process. Threads
spin while they wait, as the service's do, and that counts: on cores that others use every way looks dearer.
Between two ways there is a rest, so that none pays for the spinning of the one before.
Peak memory is that of a process of its own. A second table says where the time goes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tests.bench.deformable_peers import through_grid_sample
from tests.bench.memory import LEADS, SHAPE, THREADS, peak_mib
from tests.bench.random_model import random_network
from training.export import INPUT_NAME, OPSET, OUTPUT_NAME, folded, write_graph
from training.networks import dcnv3
from training.networks.segmentation import ARCHITECTURES, Architecture, Probabilities, Segmentation

Name = TypeVar("Name")
Run = Callable[[], NDArray[np.float32]]

REST_SECONDS = 0.3
"""Longer than the threads of ONNX Runtime, of torch and of OpenMP spin after their last work."""


@dataclass(frozen=True)
class Timing:
    """Seconds of each run: of all threads together, and by the clock."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


def open_session(
    graph: Path, *, spinning: bool = True, profile: Path | None = None
) -> onnxruntime.InferenceSession:
    """On the CPU, with two threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def random_fields() -> NDArray[np.float32]:
    """z-scores of six leads."""
    return np.random.default_rng(0).standard_normal((LEADS, *SHAPE)).astype(np.float32)


def export_grid_sample(network: Segmentation, path: Path) -> None:
    """The same network with the operator's reference in its place, which the exporter can see into."""
    with patch.object(dcnv3, "dcnv3_sample", through_grid_sample):
        program = torch.onnx.export(
            folded(Probabilities(network).eval()),
            (torch.zeros(1, *SHAPE),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            verbose=False,
        )
    assert program is not None
    program.save(path)


def lead_by_lead(session: onnxruntime.InferenceSession, fields: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([session.run([OUTPUT_NAME], {INPUT_NAME: lead[None]})[0] for lead in fields])


def measure(calls: dict[str, Run], runs: int) -> dict[str, Timing]:
    """All calls in turn, after one of each that warms up.

    Raises:
        SystemExit: one gives something else than the first.
    """
    reference = next(iter(calls.values()))()
    for name, call in calls.items():
        difference = float(np.abs(call() - reference).max())
        if not difference <= 1e-4:
            raise SystemExit(f"{name} differs by {difference:g}: the comparison would be of different things")
    timings = {name: Timing() for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            time.sleep(REST_SECONDS)
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            timings[name].cpu.append(time.process_time() - cpu)
            timings[name].wall.append(time.perf_counter() - wall)
    return timings


def cpu_in_turn(
    sessions: Mapping[Name, onnxruntime.InferenceSession], fields: NDArray[np.float32], runs: int
) -> dict[Name, list[float]]:
    """Milliseconds of CPU that each session takes for these fields, run by run, after one that warms up."""
    spent: dict[Name, list[float]] = {name: [] for name in sessions}
    for run in range(runs + 1):
        for name, session in sessions.items():
            time.sleep(REST_SECONDS)
            start = time.process_time()
            session.run(None, {INPUT_NAME: fields})
            if run:
                spent[name].append(1000 * (time.process_time() - start))
    return spent


def over(mine: list[float], base: list[float]) -> float:
    """Median of the ratios within each turn: what slows the machine for a while slows both."""
    return statistics.median(one / other for one, other in zip(mine, base, strict=True))


def timing_table(title: str, timings: dict[str, Timing], memory: dict[str, float], base: str) -> Table:
    """Medians, and ratios to ``base``."""
    table = Table(title=title)
    for column in ("way", "CPU ms", "least", f"over {base}", "wall ms", f"over {base}", "peak MiB"):
        table.add_column(column, justify="right")
    for way, one in timings.items():
        table.add_row(
            way,
            f"{1000 * statistics.median(one.cpu):.0f}",
            f"{1000 * min(one.cpu):.0f}",
            f"{over(one.cpu, timings[base].cpu):.2f}",
            f"{1000 * statistics.median(one.wall):.0f}",
            f"{over(one.wall, timings[base].wall):.2f}",
            f"{memory[way]:.0f}" if way in memory else "",
        )
    return table


def operator_milliseconds(profile: Path) -> Counter[str]:
    """Of a profile of ONNX Runtime: by type of operator, by the clock, all runs together."""
    spent: Counter[str] = Counter()
    for event in json.loads(profile.read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"] / 1000
    return spent


def profile_table(graph: Path, fields: NDArray[np.float32], runs: int, folder: Path) -> Table:
    """Where the time of a cycle goes."""
    session = open_session(graph, profile=folder / "profile")
    for _ in range(runs):
        lead_by_lead(session, fields)
    spent = operator_milliseconds(Path(session.end_profiling()))
    table = Table(title=f"Where the time goes, mean of {runs} runs; names are those after fusion")
    for column in ("operator", "wall ms", "share"):
        table.add_column(column, justify="right")
    for name, milliseconds in spent.most_common():
        if (share := milliseconds / spent.total()) >= 0.005:
            table.add_row(name, f"{milliseconds / runs:.1f}", f"{100 * share:.1f} %")
    return table


def _compare(name: str, architecture: Architecture, runs: int, folder: Path, console: Console) -> None:
    network, fields = random_network(architecture), random_fields()
    deform, grid = folder / "deform.onnx", folder / "grid.onnx"
    write_graph(Probabilities(network), SHAPE, deform)
    export_grid_sample(network, grid)
    model = Probabilities(network).eval()
    service, sleeping, peer = open_session(deform), open_session(deform, spinning=False), open_session(grid)

    def eager() -> NDArray[np.float32]:
        with torch.inference_mode():
            result: NDArray[np.float32] = model(torch.from_numpy(fields)).numpy()
        return result

    calls: dict[str, Run] = {
        "service": lambda: lead_by_lead(service, fields),
        "sleeping": lambda: lead_by_lead(sleeping, fields),
        "batch": lambda: np.asarray(service.run([OUTPUT_NAME], {INPUT_NAME: fields})[0]),
        "gridsample": lambda: lead_by_lead(peer, fields),
        "eager": eager,
    }
    memory = {"service": peak_mib("onnx", str(deform)), "gridsample": peak_mib("onnx", str(grid))}
    if architecture == ARCHITECTURES.get(name):
        memory["eager"] = peak_mib("eager", name)
    title = (
        f"{name}, decoder {architecture.decoder_width} wide, {LEADS} leads, {THREADS} threads, {runs} runs, "
        f"torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}"
    )
    console.print(timing_table(title, measure(calls, runs), memory, "service"))
    console.print(profile_table(deform, fields, min(runs, 5), folder))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.inference", description=__doc__)
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="nano")
    parser.add_argument("--width", type=int, help="of the decoder; the architecture's own by default")
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(THREADS)
    architecture = ARCHITECTURES[chosen.architecture]
    if chosen.width:
        architecture = replace(architecture, decoder_width=chosen.width)
    with tempfile.TemporaryDirectory() as name:
        _compare(chosen.architecture, architecture, chosen.runs, Path(name), Console(width=110))


if __name__ == "__main__":
    main()
