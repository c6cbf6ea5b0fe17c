"""What 8-bit integers would save of a model's inference on the CPU, and what they cost in skill.

``python -m tests.bench.int8 [--model models/NAME] [--config training/configs/nano.toml]``

Convolutions and matrix products are quantised statically by ONNX Runtime's own tool, weights per channel,
with the ranges of activations that samples of the training split have; DeformConv has no integer form and
stays. The graphs are scored on the test split, thresholds tuned on the validation split, and timed in turn,
one lead a call, all threads together. ``products`` leaves the convolutions as they are, ``all`` takes both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from rich.console import Console
from rich.table import Table

from service.artefact import Artefact, normalise
from service.channels import THRESHOLDS_MM
from tests.bench.inference import cpu_in_turn, open_session, over
from tests.bench.memory import THREADS
from tests.shipped_model import SHIPPED
from training.configuration import read_settings
from training.export import INPUT_NAME
from training.finetune import Configuration
from training.forecasts import Forecast, of_classes
from training.progress import Progress
from training.result_tables import TUNED
from training.samples import DataSettings, Split
from training.scoring import Subject, evaluate_system

Fields = NDArray[np.float32]
KINDS: Final = {"products": ("MatMul",), "all": ("MatMul", "Conv")}


class Samples(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Samples of a split, one at a time, drawn from a seed, as the graph is given them."""

    def __init__(self, artefact: Artefact, split: Split, count: int) -> None:
        drawn = np.random.default_rng(0).choice(len(split), min(count, len(split)), replace=False)
        self._fields: Iterator[Fields] = (inputs(artefact, split, int(index)) for index in np.sort(drawn))

    def get_next(self) -> dict[str, Fields] | None:
        fields = next(self._fields, None)
        return None if fields is None else {INPUT_NAME: fields}


def inputs(artefact: Artefact, split: Split, index: int) -> Fields:
    """z-scores (1, channel, y, x) of one sample, by the model's own statistics."""
    return normalise(split.physical(index)[None], artefact.manifest)


def quantised(graph: Path, kinds: tuple[str, ...], samples: Samples, out: Path) -> Path:
    """The graph with these operators in integers."""
    prepared = out.with_suffix(".prepared.onnx")
    quant_pre_process(graph, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared,
        out,
        samples,
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=list(kinds),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return out


def skill(
    artefact: Artefact, session: onnxruntime.InferenceSession, data: DataSettings, name: str
) -> dict[float, float]:
    """CSI by threshold."""

    def forecast(split: Split) -> Forecast:
        progress, found = Progress(name, len(split), "samples"), []
        for index in range(len(split)):
            found.append(session.run(None, {INPUT_NAME: inputs(artefact, split, index)})[0])
            progress.advance()
        return of_classes(np.concatenate(found))

    evaluation, _ = evaluate_system(Subject(system=name, seed=None, settings={}), forecast, data)
    scores = {}
    for threshold_mm in THRESHOLDS_MM:
        at = evaluation.at(threshold_mm)
        decision = at.decision(TUNED) if at else None
        if decision is None:
            raise SystemExit(f"{name}: nothing was tuned at {threshold_mm:g} mm")
        scores[threshold_mm] = decision.ratios.csi
    return scores


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.int8",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--config", type=Path, default=Path("training/configs/nano.toml"))
    parser.add_argument("--samples", type=int, default=200, help="of the training split, for the ranges")
    parser.add_argument("--runs", type=int, default=40)
    chosen = parser.parse_args()
    artefact = Artefact.load(chosen.model)
    data = read_settings(Configuration, chosen.config).data
    train, test = Split(data, "train", wet_only=True), Split(data, "test")
    with tempfile.TemporaryDirectory() as folder:
        graphs = {"float32": artefact.graph}
        for name, kinds in KINDS.items():
            reader = Samples(artefact, train, chosen.samples)
            graphs[name] = quantised(artefact.graph, kinds, reader, Path(folder) / f"{name}.onnx")
        sessions = {name: open_session(graph) for name, graph in graphs.items()}
        scores = {name: skill(artefact, session, data, name) for name, session in sessions.items()}
        spent = cpu_in_turn(sessions, inputs(artefact, test, 0), chosen.runs)
    table = Table(
        title=f"{chosen.model.name}, {chosen.samples} samples for the ranges, {THREADS} threads, "
        f"{chosen.runs} runs, ONNX Runtime {onnxruntime.__version__}"
    )
    for column in ("in integers", "CPU ms", "over float32", *(f"CSI {mm:g} mm" for mm in THRESHOLDS_MM)):
        table.add_column(column, justify="right")
    for name, values in spent.items():
        table.add_row(
            name,
            f"{statistics.median(values):.1f}",
            f"{over(values, spent['float32']):.2f}",
            *(f"{scores[name][threshold]:.4f}" for threshold in THRESHOLDS_MM),
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
