"""The epoch loop: schedule, averaged weights, curves, and checkpoints from which a run goes on unchanged."""

from __future__ import annotations

import copy
import csv
import math
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from service.errors import RainpostError
from training.progress import Progress

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.pt"
CURVES = "curves.csv"


class Diverged(RainpostError):
    """A loss that is not finite."""

    reason: ClassVar[str] = "training-diverged"


class Optimisation(BaseModel):
    """How the parameters are fitted.

    learning_rate: AdamW's rate after the warm-up.
    schedule: ``constant``, or ``cosine`` down to zero at the end.
    warmup_steps: steps of linear growth of the rate from zero.
    gradient_clip: largest norm of the gradient of all parameters together, None for no limit.
    average_decay: decay per step of the averaged weights that are validated and exported, None to use the
        fitted weights themselves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(gt=0)
    batch: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    schedule: Literal["constant", "cosine"]
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    gradient_clip: float | None = Field(default=None, gt=0)
    average_decay: float | None = Field(default=None, gt=0, lt=1)

    def rate_factor(self, step: int, total_steps: int) -> float:
        """Factor on the learning rate for the update number ``step``, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return 1.0
        done = (step - self.warmup_steps) / max(total_steps - self.warmup_steps, 1)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


@dataclass(frozen=True)
class Objective:
    """What is fitted: the loss of a batch, the number of samples, and the scores after each epoch.

    loss: network and sample numbers to a scalar with gradient.
    validate: network in evaluation mode to scores by name; ``loss`` must be among them.
    """

    loss: Callable[[nn.Module, NDArray[np.intp]], Tensor]
    samples: int
    validate: Callable[[nn.Module], dict[str, float]]


def prepare(seed: int, threads: int) -> None:
    """Seeds, threads, and deterministic algorithms."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def code_commit() -> str:
    """The commit of the code, with ``+changes`` where the working tree differs; ``unknown`` without git."""
    folder = Path(__file__).parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", "../service")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    completed = subprocess.run(  # noqa: S603
        ["git", *arguments],  # noqa: S607
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return completed.stdout.strip()


def write_whole(path: Path, content: Any) -> None:
    """Saves so that a kill leaves the old file or the new one."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class Run:
    """A training run in a folder.

    Args:
        folder: where checkpoints, weights and curves are kept; a checkpoint found there is continued.
        network: freshly initialised; its state is replaced by the checkpoint's.
        optimisation: the settings.
        seed: fixes the order of the samples of every epoch.
    """

    def __init__(self, folder: Path, network: nn.Module, optimisation: Optimisation, seed: int) -> None:
        self.folder = folder
        self.network = network
        self.optimisation = optimisation
        self.seed = seed
        self.average = copy.deepcopy(network)
        self.optimiser = torch.optim.AdamW(
            network.parameters(),
            lr=optimisation.learning_rate,
            betas=optimisation.betas,
            weight_decay=optimisation.weight_decay,
        )
        self.epoch = 0
        self.step = 0
        self.best_loss = math.inf
        self.rows: list[dict[str, float]] = []
        if (folder / CHECKPOINT).exists():
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self.folder / CHECKPOINT, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])
        self.epoch, self.step, self.best_loss = state["epoch"], state["step"], state["best_loss"]
        self.rows = state["rows"]

    def _save(self) -> None:
        write_whole(
            self.folder / CHECKPOINT,
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "random": torch.get_rng_state(),
                "epoch": self.epoch,
                "step": self.step,
                "best_loss": self.best_loss,
                "rows": self.rows,
            },
        )

    def fit(self, objective: Objective, last_epoch: int | None = None) -> None:
        """Runs to the last epoch of the settings, or stops early after ``last_epoch`` epochs in total.

        Raises:
            Diverged: the loss of a batch is not finite; the message names the epoch and the samples.
        """
        settings = self.optimisation
        steps = math.ceil(objective.samples / settings.batch)
        end = settings.epochs if last_epoch is None else min(last_epoch, settings.epochs)
        progress = Progress(
            "training", settings.epochs * objective.samples, "samples", done=self.epoch * objective.samples
        )
        while self.epoch < end:
            loss = self._run_epoch(objective, steps, progress)
            validated = self.average if settings.average_decay else self.network
            validated.eval()
            with torch.no_grad():
                scores = objective.validate(validated)
            self.epoch += 1
            self.rows.append(
                {"epoch": self.epoch, "training_loss": loss, "samples_per_second": progress.rate}
                | {f"validation_{name}": value for name, value in scores.items()}
            )
            self._keep(validated, scores["loss"])

    def _run_epoch(self, objective: Objective, steps: int, progress: Progress) -> float:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(objective.samples)
        total, seen = 0.0, 0
        self.network.train()
        for indices in np.array_split(order, steps):
            total += self._update(objective, indices, steps) * len(indices)
            seen += len(indices)
            progress.advance(len(indices), f"epoch {self.epoch + 1}, loss {total / seen:.4f}")
        return total / objective.samples

    def _update(self, objective: Objective, indices: NDArray[np.intp], steps: int) -> float:
        settings = self.optimisation
        rate = settings.learning_rate * settings.rate_factor(self.step, settings.epochs * steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss = objective.loss(self.network, indices)
        if not torch.isfinite(loss):
            raise Diverged(
                "The loss is not finite",
                where=f"epoch {self.epoch + 1}, step {self.step + 1}, samples {indices.tolist()}",
                got=str(loss.item()),
                advice="look at these samples, or lower the learning rate",
            )
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), settings.gradient_clip)
        self.optimiser.step()
        self.step += 1
        self._follow()
        return loss.item()

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the averaged weights; early on they follow faster, so that the start is forgotten."""
        if self.optimisation.average_decay is None:
            return
        decay = min(self.optimisation.average_decay, (1 + self.step) / (10 + self.step))
        averaged: list[Tensor] = list(self.average.parameters())
        fitted: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(averaged, fitted, 1 - decay)
        for mean, buffer in zip(self.average.buffers(), self.network.buffers(), strict=True):
            mean.copy_(buffer)

    def _keep(self, validated: nn.Module, loss: float) -> None:
        """Weights of the best epoch first: a kill in between repeats the epoch and finds the same."""
        if loss < self.best_loss:
            self.best_loss = loss
            write_whole(self.folder / WEIGHTS, validated.state_dict())
        self._save()
        with (self.folder / CURVES).open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
