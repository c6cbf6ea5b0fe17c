"""A training step with the compiled deformable convolution against the same step through ``grid_sample``.

``python -m tests.bench.training``: samples per second of forward, backward and update, medians of several
steps taken in turn, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

from training.engine import prepare
from training.networks import dcnv3, dcnv3_cpu, dcnv3_reference
from training.networks.segmentation import ARCHITECTURES, Segmentation

FIELDS = (16, 224, 128)


class _Step:
    def __init__(self, size: str, batch: int) -> None:
        torch.manual_seed(0)
        self.network = Segmentation(ARCHITECTURES[size]).train()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=1e-4)
        self.fields = torch.randn(batch, *FIELDS)
        self.classes = torch.randint(0, 3, (batch, *FIELDS[1:]))

    def seconds(self, *, compiled: bool) -> float:
        backend = dcnv3_cpu if compiled else dcnv3_reference
        with mock.patch.object(dcnv3, "_backend", return_value=backend):
            start = time.perf_counter()
            self.optimiser.zero_grad()
            loss: Tensor = functional.cross_entropy(self.network(self.fields), self.classes)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.training", description=__doc__)
    parser.add_argument("--size", choices=sorted(ARCHITECTURES), default="nano")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    prepare(seed=0, threads=arguments.threads)
    step = _Step(arguments.size, arguments.batch)
    both: dict[bool, list[float]] = {True: [], False: []}
    for run in range(arguments.runs + 1):
        for compiled, times in both.items():
            seconds = step.seconds(compiled=compiled)
            if run:  # the first one compiles and warms up
                times.append(seconds)
    kernel, reference = (statistics.median(both[compiled]) for compiled in (True, False))
    print(f"{arguments.size}, batch {arguments.batch}, {arguments.threads} threads, {arguments.runs} runs")
    print(f"compiled:    {arguments.batch / kernel:6.1f} samples/s")
    print(f"grid_sample: {arguments.batch / reference:6.1f} samples/s")
    print(f"ratio:       {reference / kernel:6.2f}")


if __name__ == "__main__":
    main()
