"""A small run with everything that chance and state can enter by, and what it ends with."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.engine import CURVES, WEIGHTS, Objective, Optimisation, Part, Run
from training.networks.internimage import StochasticDepth
from training.order import Indices

SAMPLES = 10
FIELDS = torch.randn(SAMPLES, 3, 4, 4, generator=torch.Generator().manual_seed(0))
TARGETS = FIELDS.sum(dim=1) + 1
SETTINGS = Optimisation(
    updates=8,
    batch=4,
    learning_rate=0.05,
    schedule="cosine",
    warmup_updates=2,
    average_decay=0.9,
    validate_every=3,
    checkpoint_every=2,
)
TIMES = {"samples_per_second", "waiting_share"}


class Network(nn.Module):
    """Everything that chance and state can enter by: drop-out, stochastic depth, batch normalisation."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.GELU(), nn.Dropout2d(0.2)
        )
        self.branch = nn.Sequential(nn.Conv2d(width, width, 1), StochasticDepth(0.4))
        self.decoder = nn.Conv2d(width, 1, 1)

    def forward(self, fields: Tensor) -> Tensor:
        x = self.encoder(fields)
        y: Tensor = self.decoder(x + self.branch(x))[:, 0]
        return y


def squared(network: nn.Module, indices: Indices) -> Part:
    """Against the sum of the fields, and one."""
    errors = (network(FIELDS[indices]) - TARGETS[indices]) ** 2
    return Part(errors.sum(), torch.tensor(errors.numel()))


def noisy_loss(network: nn.Module, indices: Indices, generator: torch.Generator) -> Sequence[Part]:
    """With noise from the generator, so that it matters too."""
    part = squared(network, indices)
    noise = torch.rand((), generator=generator)
    return [part, Part(noise * network.get_parameter("decoder.bias").square().sum(), torch.tensor(1))]


def scores(network: nn.Module) -> dict[str, float]:
    """Over all samples."""
    part = squared(network, np.arange(SAMPLES))
    return {"loss": (part.total / part.count).item(), "bias": 0.25}


def objective(**changes: Callable[..., Any]) -> Objective[Indices]:
    """The numbers of the samples are the batch."""
    parts: dict[str, Any] = {"read": lambda indices: indices, "loss": noisy_loss, "validate": scores}
    return Objective(samples=SAMPLES, **(parts | changes))


def run_in(folder: Path, settings: Optimisation = SETTINGS, **rate_factors: float) -> Run[Indices]:
    """A run that begins, or goes on, with this folder."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    return Run(folder, Network(), settings, seed=3, rate_factors=rate_factors)


def state_of(run: Run[Indices]) -> dict[str, Any]:
    """All that must be the same, flat; without what the clock decides."""
    optimiser = run.optimiser.state_dict()
    return {
        "random": torch.get_rng_state(),
        **{f"network {name}": value.clone() for name, value in run.network.state_dict().items()},
        **{f"average {name}": value.clone() for name, value in run.average.state_dict().items()},
        **{
            f"optimiser {number} {name}": value.clone()
            for number, values in optimiser["state"].items()
            for name, value in values.items()
        },
        **{f"weights {name}": value for name, value in torch.load(run.folder / WEIGHTS).items()},
        "rows": [{name: row[name] for name in row.keys() - TIMES} for row in run.rows],
        "best_loss": run.best_loss,
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of what is not equal, bit for bit."""
    assert one.keys() == other.keys()
    return [
        name
        for name, value in one.items()
        if not (torch.equal(value, other[name]) if isinstance(value, Tensor) else value == other[name])
    ]


def curve(folder: Path, name: str) -> list[float]:
    """A column of the curves."""
    with (folder / CURVES).open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]
