"""The deformable convolution on a GPU: against its peers and against the memory's limit.

``python -m tests.bench.deformable [--batch 64] [--runs 30] [--precision bfloat16]``

Two tables. *Operator*: forward and backward at the four stages of InternImage-T for fields of 224 x 128;
beside the median, how many times as long it takes as to move once what must be read and written, at the speed
of a plain copy measured in the same run. *Step*: samples per second of a training step (forward, backward,
AdamW) of InternImage-T and UPerNet with 16 x 224 x 128 fields under autocast.

All ways take turns in one run, after their results and gradients have been found equal; softmax counts for
every one. The cache is written over before each call, which also hides the time that Python needs to launch.
Peers: ``tests.bench.deformable_peers``.

**It has not been run on a GPU yet.** ``--dry-run`` goes through all of it on the CPU with very small shapes;
its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from tests.bench.deformable_peers import Way, ways
from training.networks import dcnv3
from training.networks.dcnv3_reference import POINTS
from training.networks.segmentation import ARCHITECTURES, Segmentation

GIBIBYTE = 2**30


@dataclass(frozen=True)
class Plan:
    """What is measured, and on which device."""

    device: str
    precision: torch.dtype
    batch: int
    runs: int
    architecture: str = "T"
    size: tuple[int, int] = (224, 128)
    buffer: int = GIBIBYTE
    """Bytes of the copy and of what is written over the cache."""

    def stages(self) -> list[tuple[int, int, int, int]]:
        """Height, width, channels and groups of each."""
        encoder = ARCHITECTURES[self.architecture]
        height, width = self.size
        return [
            (height // 2 ** (2 + stage), width // 2 ** (2 + stage), encoder.channels * 2**stage, groups)
            for stage, groups in enumerate(encoder.groups)
        ]


DRY = {"batch": 2, "runs": 1, "architecture": "nano", "size": (32, 32), "buffer": 2**12}


class Clock:
    """Seconds of a call: between two events of the device's stream, or by the wall on a CPU."""

    def __init__(self, plan: Plan) -> None:
        self.cuda = plan.device == "cuda"
        self.cache = torch.empty(plan.buffer, dtype=torch.uint8, device=plan.device)

    def seconds(self, call: Callable[[], object]) -> float:
        self.cache.zero_()
        if not self.cuda:
            start = time.perf_counter()
            call()
            return time.perf_counter() - start
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        call()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000

    def in_turn(self, calls: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
        """Medians, after one run that compiles and warms up."""
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for run in range(runs + 1):
            for name, call in calls.items():
                elapsed = self.seconds(call)
                if run:
                    seconds[name].append(elapsed)
        return {name: statistics.median(values) for name, values in seconds.items()}


def copy_speed(plan: Plan, clock: Clock) -> float:
    """Bytes read and written per second by a plain copy."""
    source = torch.ones(plan.buffer, dtype=torch.uint8, device=plan.device)
    target = torch.empty_like(source)
    return 2 * plan.buffer / clock.in_turn({"copy": lambda: target.copy_(source)}, plan.runs)["copy"]


def tensors(plan: Plan, stage: tuple[int, int, int, int]) -> tuple[list[Tensor], Tensor]:
    """Value, offset and logits, channels last in memory, and a gradient of the result."""
    height, width, channels, groups = stage
    generator = torch.Generator(plan.device).manual_seed(0)

    def draw(numbers: int) -> Tensor:
        drawn = torch.randn(
            plan.batch, height, width, numbers, generator=generator, device=plan.device, dtype=torch.float32
        )
        return drawn.to(plan.precision).permute(0, 3, 1, 2)

    inputs = [draw(channels), draw(2 * POINTS * groups), draw(POINTS * groups)]
    return [each.requires_grad_() for each in inputs], draw(channels)


def least_bytes(inputs: Sequence[Tensor]) -> tuple[int, int]:
    """What a forward and a backward pass must move: every input once, every result once."""
    value, offset, logits = (each.numel() * each.element_size() for each in inputs)
    return 2 * value + offset + logits, 3 * value + 2 * offset + 2 * logits


@dataclass(frozen=True)
class Prepared:
    """A way with its own copies of the tensors, ready to be called."""

    forward: Callable[[], Tensor]
    backward: Callable[[], tuple[Tensor, ...]]


def prepare(way: Way, plan: Plan, inputs: Sequence[Tensor], gradient: Tensor, groups: int) -> Prepared:
    precision = way.precision(plan.precision)
    value, offset, logits = (each.detach().to(precision).requires_grad_() for each in inputs)
    passed = gradient.to(precision)

    def forward() -> Tensor:
        with torch.no_grad():
            return way.call(value, offset, logits, groups)

    result = way.call(value, offset, logits, groups)

    def backward() -> tuple[Tensor, ...]:
        return torch.autograd.grad(result, (value, offset, logits), passed, retain_graph=True)

    return Prepared(forward, backward)


def disagreement(found: Prepared, expected: Prepared) -> float:
    """The largest root mean square difference of result and gradients, over the size of what is expected."""
    pairs = zip((found.forward(), *found.backward()), (expected.forward(), *expected.backward()), strict=True)
    return max(
        float((mine.float() - theirs.float()).square().mean().sqrt() / theirs.float().square().mean().sqrt())
        for mine, theirs in pairs
    )


def agreeing(plan: Plan, found: Sequence[Way], remarks: list[str]) -> list[tuple[Way, list[Prepared]]]:
    """The ways that run and give what the first one gives at every stage; of the others, the reason."""
    kept = []
    drawn = [(stage[3], *tensors(plan, stage)) for stage in plan.stages()]
    ours = [prepare(found[0], plan, inputs, gradient, groups) for groups, inputs, gradient in drawn]
    for way in found:
        try:
            prepared = [prepare(way, plan, inputs, gradient, groups) for groups, inputs, gradient in drawn]
            worst = max(disagreement(mine, own) for mine, own in zip(prepared, ours, strict=True))
        except (RuntimeError, TypeError, ValueError) as problem:
            remarks.append(f"{way.name} does not run: {str(problem).splitlines()[0]}")
            continue
        if not worst < 0.05:
            remarks.append(f"{way.name} gives something else: its results differ by {worst:.3f}")
            continue
        kept.append((way, prepared))
    return kept


def operator_table(plan: Plan, clock: Clock, kept: list[tuple[Way, list[Prepared]]], title: str) -> Table:
    """Median of each pass and stage, its ratio to ours, and to the memory's limit."""
    speed = copy_speed(plan, clock)
    table = Table(title=f"Operator, {title}, copy {speed / 1e9:.0f} GB/s")
    for column in ("stage", "pass", "way", "median ms", "over ours", "over memory limit"):
        table.add_column(column, justify="right")
    for index, stage in enumerate(plan.stages()):
        limits = [number / speed for number in least_bytes(tensors(plan, stage)[0])]
        for name, limit in zip(("forward", "backward"), limits, strict=True):
            calls = {way.name: getattr(prepared[index], name) for way, prepared in kept}
            medians = clock.in_turn(calls, plan.runs)
            ours = medians[kept[0][0].name]
            for way, seconds in medians.items():
                cells = (f"{1000 * seconds:.4f}", f"{seconds / ours:.2f}", f"{seconds / limit:.2f}")
                table.add_row("{} x {}, {} in {}".format(*stage), name, way, *cells)
    return table


def step(plan: Plan, way: Way) -> Callable[[], None]:
    """A training step in which every deformable convolution goes this way."""
    torch.manual_seed(0)
    network = Segmentation(ARCHITECTURES[plan.architecture]).to(plan.device).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    fields = torch.randn(plan.batch, 16, *plan.size, device=plan.device)
    classes = torch.randint(0, 3, (plan.batch, *plan.size), device=plan.device)

    def call(value: Tensor, offset: Tensor, logits: Tensor, groups: int) -> Tensor:
        precision = way.precision(value.dtype)
        parts = value.to(precision), offset.to(precision), logits.to(precision)
        return way.call(*parts, groups).to(value.dtype)

    def run() -> None:
        with patch.object(dcnv3, "dcnv3_sample", call):
            optimiser.zero_grad()
            with torch.autocast(plan.device, dtype=plan.precision, enabled=plan.precision != torch.float32):
                loss = functional.cross_entropy(network(fields).float(), classes)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    return run


def step_table(plan: Plan, clock: Clock, kept: Sequence[Way], title: str) -> Table:
    table = Table(title=f"Step of {plan.architecture} and UPerNet, {title}")
    for column in ("way", "samples/s", "ours over it"):
        table.add_column(column, justify="right")
    medians = clock.in_turn({way.name: step(plan, way) for way in kept}, plan.runs)
    ours = medians[kept[0].name]
    for name, seconds in medians.items():
        table.add_row(name, f"{plan.batch / seconds:.1f}", f"{seconds / ours:.2f}")
    return table


def measure(plan: Plan, console: Console) -> None:
    """Prints both tables and what there is to say about the ways that are not in them."""
    device = torch.cuda.get_device_name() if plan.device == "cuda" else "DRY RUN on the CPU: no measurement"
    title = (
        f"{device}, batch {plan.batch}, {str(plan.precision).removeprefix('torch.')}, median of {plan.runs}"
        f", torch {torch.__version__}"
    )
    found, remarks = ways()
    clock = Clock(plan)
    kept = agreeing(plan, found, remarks)
    remarks += [
        f"{way.name} ran in {way.half}" for way, _ in kept if way.precision(plan.precision) != plan.precision
    ]
    console.print(operator_table(plan, clock, kept, title))
    console.print(step_table(plan, clock, [way for way, _ in kept], title))
    for remark in remarks:
        console.print(remark, markup=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: there is no CUDA device, and it is no dry run.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.bench.deformable", description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--precision", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument(
        "--dry-run", action="store_true", help="very small shapes on the CPU; measures nothing"
    )
    chosen = parser.parse_args(arguments)
    precision: torch.dtype = getattr(torch, chosen.precision)
    if chosen.dry_run:
        plan = Plan("cpu", precision, **DRY)  # type: ignore[arg-type]
    elif torch.cuda.is_available():
        plan = Plan("cuda", precision, chosen.batch, chosen.runs)
    else:
        raise SystemExit(
            "tests.bench.deformable: torch finds no CUDA device, and on a CPU there is nothing to measure. "
            "Run it on a GPU with the CUDA build of torch, or try the code with --dry-run."
        )
    measure(plan, Console(width=110))


if __name__ == "__main__":
    main()
