"""Skill per millisecond by the width of the decoder: what decides which width is shipped.

``python -m tests.bench.widths [--runs 20] [--out training/pictures/skill_by_cost.png]``

Measures the milliseconds of CPU that one lead takes in ONNX Runtime at each width, all in turn in one run,
reads their CSI with tuned thresholds from ``training/results.json``, prints both, and draws one over the
other. A width that was not fitted is measured, and left out of the picture.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from service.channels import THRESHOLDS_MM
from tests.bench.inference import cpu_in_turn, open_session, over, random_fields
from tests.bench.memory import SHAPE, THREADS
from tests.bench.random_model import random_network
from training import figures
from training.export import write_graph
from training.figures import Cost
from training.networks.segmentation import ARCHITECTURES, Probabilities
from training.report import RESULTS
from training.result_tables import NOT_RUN, TUNED, with_interval
from training.results import Results, read_results
from training.rows import WIDTHS

SHIPPED = 32


def spent(runs: int) -> dict[int, list[float]]:
    """Milliseconds of CPU of one lead by width, all widths in turn."""
    sessions = {}
    with tempfile.TemporaryDirectory() as folder:
        for width in WIDTHS:
            path = Path(folder) / f"{width}.onnx"
            network = random_network(replace(ARCHITECTURES["nano"], decoder_width=width))
            write_graph(Probabilities(network), SHAPE, path)
            sessions[width] = open_session(path)
    return cpu_in_turn(sessions, random_fields()[:1], runs)


def costs(milliseconds: dict[int, float], results: Results) -> list[Cost]:
    """Those widths that were scored."""
    found = []
    for width, row in WIDTHS.items():
        csi = {}
        for threshold in THRESHOLDS_MM:
            summary = results.summary(row, threshold, TUNED)
            if summary is not None:
                csi[threshold] = (summary.csi.value, *summary.csi.interval)
        if csi:
            found.append(Cost(f"{width} channels", milliseconds[width], csi))
    return found


def table(found: dict[int, list[float]], results: Results, title: str) -> Table:
    made = Table(title=title)
    for column in (
        "width",
        "CPU ms",
        "least",
        f"over {SHIPPED}",
        *(f"CSI {mm:g} mm" for mm in THRESHOLDS_MM),
    ):
        made.add_column(column, justify="right")
    for width, values in found.items():
        summaries = [results.summary(WIDTHS[width], threshold, TUNED) for threshold in THRESHOLDS_MM]
        made.add_row(
            str(width),
            f"{statistics.median(values):.1f}",
            f"{min(values):.1f}",
            f"{over(values, found[SHIPPED]):.2f}",
            *(with_interval(summary.csi) if summary else NOT_RUN for summary in summaries),
        )
    return made


def main() -> None:
    """Print the table and draw the picture."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.widths", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--out", type=Path, help="where the picture is drawn; none by default")
    chosen = parser.parse_args()
    torch.set_num_threads(THREADS)
    results = Results(read_results(RESULTS))
    found = spent(chosen.runs)
    title = f"nano, one lead, {THREADS} threads, {chosen.runs} runs, ONNX Runtime {onnxruntime.__version__}"
    Console(width=110).print(table(found, results, title))
    drawn = costs({width: statistics.median(values) for width, values in found.items()}, results)
    if chosen.out and drawn:
        figures.save(figures.skill_by_cost(drawn), chosen.out)
        print(chosen.out)


if __name__ == "__main__":
    main()
