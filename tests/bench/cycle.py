"""Where the CPU time of a whole cycle goes: reading, inference, and making and writing the product.

``python -m tests.bench.cycle [--model models/NAME] [--runs 15]``

A simulated cycle of seven leads on the full grid, in GRIB2, is corrected as ``rainpost correct`` does it,
again and again, weights of remapping at hand after the first time. An operational cycle has larger files:
what reading takes here is a lower bound. Milliseconds are of all threads and child processes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table

from service.artefact import Artefact
from service.cycle import read_cycle
from service.inference import Inference
from service.product import Provenance, build_product, write_product
from tests.bench.memory import THREADS
from tests.shipped_model import SHIPPED
from training.cycle_files import write_grib2
from training.orography import FULL, Region
from training.simulate import simulate_cycle

PARTS = ("reading", "inference", "product")
REFERENCE_TIME = np.datetime64("2022-08-09T18", "s")


def _cpu_ms() -> float:
    return 1000 * sum(os.times()[:4])


def spent(inference: Inference, region: Region, runs: int, folder: Path) -> dict[str, list[float]]:
    """Milliseconds of CPU of each part, run by run, after one that warms up."""
    manifest = inference.artefact.manifest
    paths = write_grib2(simulate_cycle(1, REFERENCE_TIME, tuple(range(24, 31)), region), folder)
    found: dict[str, list[float]] = {part: [] for part in PARTS}
    for run in range(runs + 1):
        times = [_cpu_ms()]
        cycle = read_cycle(paths, manifest.cycle, weights_folder=folder / "weights")
        times.append(_cpu_ms())
        probabilities = inference.infer(cycle.values)
        times.append(_cpu_ms())
        provenance = Provenance(
            model_sha256=inference.artefact.model_sha256,
            manifest_sha256=inference.artefact.sha256,
            inputs=(),
            code_version="bench",
            provider=inference.runtime_provider,
            revision=1,
            created=datetime.now(UTC),
        )
        write_product(build_product(cycle, probabilities, manifest, provenance), folder / "product.nc")
        times.append(_cpu_ms())
        if run:
            for part, before, after in zip(PARTS, times, times[1:], strict=False):
                found[part].append(after - before)
    return found


def table(found: dict[str, list[float]], title: str) -> Table:
    """Medians, and the share of each in the whole."""
    whole = [sum(parts) for parts in zip(*found.values(), strict=True)]
    made = Table(title=title)
    for column in ("part", "CPU ms", "least", "share"):
        made.add_column(column, justify="right")
    for name, values in {**found, "whole": whole}.items():
        share = statistics.median(one / all_of_it for one, all_of_it in zip(values, whole, strict=True))
        made.add_row(name, f"{statistics.median(values):.0f}", f"{min(values):.0f}", f"{100 * share:.1f} %")
    return made


def main(arguments: Sequence[str] | None = None, region: Region = FULL) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cycle", description=__doc__)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--runs", type=int, default=15)
    chosen = parser.parse_args(arguments)
    inference = Inference(Artefact.load(chosen.model), threads=THREADS)
    with tempfile.TemporaryDirectory() as folder:
        found = spent(inference, region, chosen.runs, Path(folder))
    title = (
        f"{inference.artefact.identity}, {THREADS} threads, {chosen.runs} runs, "
        f"ONNX Runtime {onnxruntime.__version__}"
    )
    Console(width=100).print(table(found, title))


if __name__ == "__main__":
    main()
