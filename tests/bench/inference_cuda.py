"""Inference of a cycle of six leads on a GPU: the ways round DeformConv's loop over groups, and the peers.

``python -m tests.bench.inference_cuda [--architecture T] [--runs 30]``

service     the exported graph, lead by lead, as ``service.inference`` runs it with ``provider = cuda``
bound       the same, input and output bound to memory of the device
graph       the same, replayed as a CUDA graph
batch       six leads in one call: the CUDA kernel of ``DeformConv`` then loops over its groups
folded      six leads in one call, the batch folded into the channels around each ``DeformConv``
absorbed    lead by lead, the output projection absorbed: group 1, the projection tiled over the nine points
tensorrt    the exported graph, lead by lead, by ONNX Runtime's TensorRT provider; where it is present
eager       torch, six leads in one call, float32 without TF32
compiled    the same, through ``torch.compile``

All take turns in one run, after the probabilities have been found within 1e-4 of torch's. Every
``DeformConv`` must have run on the device, by ONNX Runtime's profile. Needs ``onnxruntime-gpu[cuda,cudnn]``
in the place of ``onnxruntime``, and the CUDA build of torch.

**It has not been run on a GPU yet.** ``--dry-run`` goes through all of it on the CPU with a very small
network; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto, helper
from rich.console import Console
from rich.table import Table

from service.inference import PROVIDERS
from tests.bench.memory import LEADS
from tests.bench.random_model import random_network
from tests.bench.rewrites import AFTER, Graph
from training.export import INPUT_NAME, OUTPUT_NAME, PARITY, write_graph
from training.networks.dcnv3_reference import POINTS
from training.networks.segmentation import ARCHITECTURES, Architecture, Probabilities

Call = Callable[[], NDArray[np.float32]]
TENSORRT = "TensorrtExecutionProvider"


@dataclass(frozen=True)
class Plan:
    """What is measured, and on which device."""

    device: str
    architecture: Architecture
    runs: int
    shape: tuple[int, int, int] = (16, 224, 128)
    leads: int = LEADS

    @property
    def provider(self) -> str:
        return "CUDAExecutionProvider" if self.device == "cuda" else "CPUExecutionProvider"


SMALL = Architecture(16, (1, 1, 1, 1), (2, 2, 4, 4), decoder_width=8, inputs=4, perceptron_ratio=2)
DRY = Plan("cpu", SMALL, 1, (4, 32, 64), 3)


def folded(model: ModelProto, leads: int) -> ModelProto:
    """The batch folded into the channels around each DeformConv, for exactly so many leads.

    (leads, channels, ...) becomes (1, leads * channels, ...), with groups and offset groups of all leads: the
    order in memory stays, and both reshapes are free.
    """
    graph = Graph(model)
    graph.fold_constants()
    for node in graph.all("DeformConv"):
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        name, channels = node.output[0], attributes["group"]
        before = []
        for place in (0, 2, 4):
            reshaped = f"{name}_folded_{place}"
            numbers = {
                0: channels,
                2: 2 * POINTS * attributes["offset_group"],
                4: POINTS * attributes["offset_group"],
            }
            size = graph.integers(1, leads * numbers[place], *_spatial(graph, node.input[0]))
            before.append(helper.make_node("Reshape", [node.input[place], size], [reshaped]))
        ones = graph.constant(np.ones((leads * channels, 1, 3, 3), np.float32))
        inputs = [before[0].output[0], ones, before[1].output[0], "", before[2].output[0]]
        wider = attributes | {"group": leads * channels, "offset_group": leads * attributes["offset_group"]}
        convolution = helper.make_node("DeformConv", inputs, [f"{name}_folded"], **wider)
        back = graph.integers(leads, channels, *_spatial(graph, node.input[0]))
        unfolded = helper.make_node("Reshape", [f"{name}_folded", back], [name])
        graph.replace([node], [*before, convolution, unfolded])
    return graph.finished()


def _spatial(graph: Graph, value: str) -> tuple[int, int]:
    """Height and width of a field with channels first: those of what is transposed, channels last."""
    return graph.sizes[graph.maker(value).input[0]]


def absorbed(model: ModelProto) -> ModelProto:
    """The output projection as weights of DeformConv: one group, the same matrix at all nine points."""
    graph = Graph(model)
    graph.fold_constants()
    for node in graph.all("DeformConv"):
        (after,) = graph.users(node.output[0])
        (product,) = graph.users(after.output[0])
        (added,) = graph.users(product.output[0])
        projection = graph.constants[product.input[1]].T
        tiled = np.broadcast_to(projection[:, :, None, None], (*projection.shape, 3, 3))
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        inputs = [node.input[0], graph.constant(tiled), node.input[2], added.input[1], node.input[4]]
        made = [
            helper.make_node("DeformConv", inputs, list(node.output), **(attributes | {"group": 1})),
            helper.make_node("Transpose", list(node.output), list(added.output), perm=AFTER),
        ]
        graph.replace([node, after, product, added], made)
    return graph.finished()


def _session(
    graph: Path, providers: Sequence[Any], profile: Path | None = None
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(graph, options, providers=list(providers))


def providers(plan: Plan, **more: str) -> list[Any]:
    """As the service has them, with further options of the CUDA provider."""
    if plan.device == "cpu":
        return list(PROVIDERS["cpu"])
    (name, options), *rest = PROVIDERS["cuda"]
    return [(name, options | more), *rest]


def placements(
    graph: Path, given: Sequence[Any], feeds: dict[str, NDArray[np.float32]], folder: Path
) -> Counter[str]:
    """By provider, how many DeformConv nodes ran on it; from the profile."""
    session = _session(graph, given, folder / "placement")
    session.run(None, feeds)
    events = json.loads(Path(session.end_profiling()).read_text())
    return Counter(
        event["args"]["provider"]
        for event in events
        if event.get("cat") == "Node"
        and event["name"].endswith("_kernel_time")
        and event["args"]["op_name"] == "DeformConv"
    )


def check_placement(found: Counter[str], provider: str, convolutions: int) -> None:
    """Raises SystemExit unless each ran on the provider that was asked for."""
    if found != Counter({provider: convolutions}):
        raise SystemExit(f"DeformConv ran on {dict(found)}, not {convolutions} times on {provider}")


def lead_by_lead(session: onnxruntime.InferenceSession, fields: NDArray[np.float32]) -> Call:
    return lambda: np.concatenate(
        [session.run([OUTPUT_NAME], {INPUT_NAME: lead[None]})[0] for lead in fields]
    )


def at_once(session: onnxruntime.InferenceSession, fields: NDArray[np.float32]) -> Call:
    return lambda: np.asarray(session.run([OUTPUT_NAME], {INPUT_NAME: fields})[0])


def bound(session: onnxruntime.InferenceSession, fields: NDArray[np.float32], plan: Plan) -> Call:
    """Input and output in memory of the device that stays where it is, as a CUDA graph needs it."""
    # A copy: on the CPU the value shares its memory with the array that it is made of.
    shape = (1, plan.architecture.classes, *plan.shape[1:])
    held = onnxruntime.OrtValue.ortvalue_from_numpy(fields[:1].copy(), plan.device, 0)
    result = onnxruntime.OrtValue.ortvalue_from_numpy(np.empty(shape, np.float32), plan.device, 0)
    binding = session.io_binding()
    binding.bind_ortvalue_input(INPUT_NAME, held)
    binding.bind_ortvalue_output(OUTPUT_NAME, result)

    def call() -> NDArray[np.float32]:
        parts = []
        for lead in fields:
            held.update_inplace(lead[None])
            session.run_with_iobinding(binding)
            parts.append(result.numpy().copy())
        return np.concatenate(parts)

    return call


def through_torch(model: Probabilities, fields: NDArray[np.float32], plan: Plan, *, compiled: bool) -> Call:
    """From memory of the host to memory of the host, as the others."""
    model = model.to(plan.device)
    # Without a device there is nothing to compile for, and a compiler may be missing.
    run = (
        torch.compile(model, backend="inductor" if plan.device == "cuda" else "eager") if compiled else model
    )

    def call() -> NDArray[np.float32]:
        with torch.inference_mode():
            result: NDArray[np.float32] = run(torch.from_numpy(fields).to(plan.device)).cpu().numpy()
        return result

    return call


def ways(plan: Plan, folder: Path, remarks: list[str]) -> dict[str, Call]:
    """Each way ready to be called, torch first; why another is missing is remarked."""
    model = Probabilities(random_network(plan.architecture)).eval()
    fields = np.random.default_rng(0).standard_normal((plan.leads, *plan.shape)).astype(np.float32)
    graphs = {name: folder / f"{name}.onnx" for name in ("service", "folded", "absorbed")}
    write_graph(model, plan.shape, graphs["service"])
    plain = onnx.load(graphs["service"])
    onnx.save(folded(plain, plan.leads), graphs["folded"])
    onnx.save(absorbed(plain), graphs["absorbed"])
    convolutions = sum(node.op_type == "DeformConv" for node in plain.graph.node)
    for name, graph in graphs.items():
        feeds = {INPUT_NAME: fields if name == "folded" else fields[:1]}
        check_placement(placements(graph, providers(plan), feeds, folder), plan.provider, convolutions)
    sessions = {name: _session(graph, providers(plan)) for name, graph in graphs.items()}
    made = {
        "eager": through_torch(model, fields, plan, compiled=False),
        "service": lead_by_lead(sessions["service"], fields),
        "bound": bound(sessions["service"], fields, plan),
        "batch": at_once(sessions["service"], fields),
        "folded": at_once(sessions["folded"], fields),
        "absorbed": lead_by_lead(sessions["absorbed"], fields),
        "compiled": through_torch(model, fields, plan, compiled=True),
    }
    if plan.device == "cuda":
        captured = _session(graphs["service"], providers(plan, enable_cuda_graph="1"))
        made["graph"] = bound(captured, fields, plan)
    else:
        remarks.append("graph: a CUDA graph needs a CUDA device")
    if TENSORRT in onnxruntime.get_available_providers() and plan.device == "cuda":
        engine = _session(graphs["service"], [TENSORRT, *providers(plan)])
        made["tensorrt"] = lead_by_lead(engine, fields)
    else:
        remarks.append(f"tensorrt: this ONNX Runtime has {', '.join(onnxruntime.get_available_providers())}")
    return made


def measure(plan: Plan, calls: dict[str, Call], remarks: list[str]) -> dict[str, list[float]]:
    """Seconds of each run, all in turn; a way that fails or gives something else is left out and remarked."""
    reference = calls["eager"]()
    kept = {}
    for name, call in calls.items():
        try:
            difference = float(np.abs(call() - reference).max())
        except Exception as problem:  # noqa: BLE001 - runtimes and compilers share no other base class
            remarks.append(f"{name} does not run: {str(problem).splitlines()[0]}")
            continue
        if difference <= PARITY:
            kept[name] = call
        else:
            remarks.append(f"{name} gives something else: its probabilities differ by {difference:g}")
    seconds: dict[str, list[float]] = {name: [] for name in kept}
    for _ in range(plan.runs):
        for name, call in kept.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: there is no CUDA device, and it is no dry run; or a DeformConv ran elsewhere.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.bench.inference_cuda", description=__doc__)
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="T")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument(
        "--dry-run", action="store_true", help="a very small network on the CPU; measures nothing"
    )
    chosen = parser.parse_args(arguments)
    if chosen.dry_run:
        plan = DRY
    elif torch.cuda.is_available() and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        onnxruntime.preload_dlls()
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        plan = Plan("cuda", ARCHITECTURES[chosen.architecture], chosen.runs)
    else:
        available = ", ".join(onnxruntime.get_available_providers())
        devices = torch.cuda.device_count()
        raise SystemExit(
            f"tests.bench.inference_cuda: torch finds {devices} CUDA devices, ONNX Runtime has {available}; "
            "both are needed. Install the CUDA build of torch, and onnxruntime-gpu[cuda,cudnn] in the place "
            "of onnxruntime, or try the code with --dry-run."
        )
    remarks: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(plan, ways(plan, Path(folder), remarks), remarks)
    device = torch.cuda.get_device_name() if plan.device == "cuda" else "DRY RUN on the CPU: no measurement"
    table = Table(
        title=f"{device}, {plan.leads} leads, median of {plan.runs}, torch {torch.__version__}, "
        f"ONNX Runtime {onnxruntime.__version__}"
    )
    for column in ("way", "ms", "least", "over service"):
        table.add_column(column, justify="right")
    base = statistics.median(seconds["service"])
    for name, values in seconds.items():
        median = statistics.median(values)
        table.add_row(name, f"{1000 * median:.2f}", f"{1000 * min(values):.2f}", f"{median / base:.2f}")
    console = Console(width=110)
    console.print(table)
    console.print(f"every DeformConv ran on {plan.provider}")
    for remark in remarks:
        console.print(remark, markup=False)


if __name__ == "__main__":
    main()
