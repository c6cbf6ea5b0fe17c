"""What each of two processes finds of the other: in a module of its own, because each must import it."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from training import distribution
from training.engine import Objective, Optimisation, Part, Run


class _Dropped(nn.Module):
    """Ones, of which chance leaves some out, times a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(self.scale * torch.ones_like(x))
        return y


def work(rank: int, folder: Path) -> None:
    """Joins, looks, fits and leaves; the findings go into a file."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with distribution.processes("cpu"):
        value = torch.tensor([1.0 + rank], requires_grad=True)
        found = {
            "together": torch.tensor(distribution.together()),
            "place": torch.tensor([distribution.rank(), distribution.world()]),
            "total": distribution.total(value),
            "unchanged": value.detach(),
            "share": torch.arange(6)[distribution.share(6)],
        }
        masks = _masks(folder)
    torch.save(found | {"masks": masks, "left": torch.tensor(distribution.together())}, folder / f"{rank}.pt")


def _masks(folder: Path) -> Tensor:
    """What drop-out leaves out in three updates, and in the same after a stop."""
    settings = Optimisation(updates=3, batch=64, learning_rate=0.1, schedule="constant", checkpoint_every=1)
    seen = []

    def _loss(network: nn.Module, indices: Tensor, generator: torch.Generator) -> list[Part]:
        outputs = network(torch.zeros(len(indices)))
        seen.append(outputs.detach() == 0)
        return [Part(outputs.sum(), torch.tensor(len(indices)))]

    objective = Objective(
        samples=64, read=torch.from_numpy, loss=_loss, validate=lambda network: {"loss": 0.0}
    )
    for name, stops in (("whole", (3,)), ("parts", (1, 3))):
        (folder / name).mkdir(exist_ok=True)
        for stop in stops:
            torch.manual_seed(stop)
            run: Run[Tensor] = Run(folder / name, _Dropped(), settings, seed=1)
            run.fit(objective, stop)
    return torch.stack(seen)
