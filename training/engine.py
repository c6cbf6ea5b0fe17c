"""The training loop: updates, schedule, averaged weights, curves, and checkpoints to go on from unchanged.

Everything that chance decides follows from the seed and the number of the update, or is kept in the
checkpoint: a run that is killed and started again ends at the same weights.
"""

from __future__ import annotations

import copy
import csv
import math
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from service.errors import InputError, RainpostError
from training import distribution
from training.order import Clock, Indices, batches, read_ahead
from training.progress import Progress
from training.sole_writer import sole_writer

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.pt"
CURVES = "curves.csv"

Beta = Annotated[float, Field(ge=0, lt=1)]

Batch = TypeVar("Batch")
"""What an objective reads and takes the loss of."""


class Diverged(RainpostError):
    """A loss, or its gradient, that is not finite."""

    reason: ClassVar[str] = "training-diverged"


class Optimisation(BaseModel):
    """How the parameters are fitted.

    updates: steps of the optimiser.
    batch: samples of an update, over all processes.
    learning_rate: AdamW's rate after the warm-up.
    reference_batch: batch that ``learning_rate`` is meant for; the rate grows in proportion to the batch.
        None takes it as it is. 256 makes it the base rate of masked autoencoders.
    schedule: ``constant``, or ``cosine`` down to zero at the end.
    warmup_updates: updates of linear growth of the rate from zero.
    gradient_clip: largest norm of the gradient of all parameters together, None for no limit.
    average_decay: decay per update of the averaged weights that are validated and exported; 0 makes them the
        fitted weights themselves.
    validate_every: updates between validations; there is one at the end.
    checkpoint_every: updates between checkpoints; there is one at every validation.
    precision: of the network's arithmetic on a GPU; parameters and losses are float32.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    updates: int = Field(gt=0)
    batch: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    reference_batch: int | None = Field(default=None, gt=0)
    schedule: Literal["constant", "cosine"]
    warmup_updates: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    gradient_clip: float | None = Field(default=None, gt=0)
    average_decay: float = Field(default=0.0, ge=0, lt=1)
    validate_every: int = Field(default=1000, gt=0)
    checkpoint_every: int = Field(default=100, gt=0)
    precision: Literal["float32", "bfloat16"] = "float32"

    def rate(self, update: int) -> float:
        """Learning rate of the update number ``update``, counted from 0."""
        scale = self.batch / self.reference_batch if self.reference_batch else 1.0
        return self.learning_rate * scale * self._factor(update)

    def _factor(self, update: int) -> float:
        if update < self.warmup_updates:
            return (update + 1) / self.warmup_updates
        if self.schedule == "constant":
            return 1.0
        done = (update - self.warmup_updates) / max(self.updates - self.warmup_updates, 1)
        return 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Part:
    """A part of a loss over this process's samples: a sum, with gradient, and what it is to be divided by."""

    total: Tensor
    count: Tensor


@dataclass(frozen=True)
class Objective(Generic[Batch]):
    """What is fitted: samples, how a batch is read and what it costs, and the scores of a validation.

    samples: their number.
    read: numbers of samples to a batch in memory; called from another thread.
    loss: network, batch, and a generator for all chance that must not depend on the number of processes, to
        the parts of the loss. The generator has drawn nothing yet and is the same in every process.
    validate: network in evaluation mode to scores by name; ``loss`` must be among them.
    """

    samples: int
    read: Callable[[Indices], Batch]
    loss: Callable[[nn.Module, Batch, torch.Generator], Sequence[Part]]
    validate: Callable[[nn.Module], dict[str, float]]


def prepare(seed: int, threads: int, device: str = "cpu") -> None:
    """Seeds, threads, and deterministic algorithms on the CPU: a GPU has none to sample between cells."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(device == "cpu")
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


class Run(Generic[Batch]):
    """A training run in a folder.

    Args:
        folder: where checkpoints, weights and curves are kept; a checkpoint found there is continued.
        network: freshly initialised, on its device; its state is replaced by the checkpoint's.
        optimisation: the settings.
        seed: fixes the order of the samples and everything else that is drawn.
        rate_factors: beginnings of parameter names, and the factor on their learning rate; 0 keeps these
            parameters as they are.

    Raises:
        InputError: the checkpoint is of another network.
    """

    def __init__(
        self,
        folder: Path,
        network: nn.Module,
        optimisation: Optimisation,
        seed: int,
        rate_factors: dict[str, float] | None = None,
    ) -> None:
        self.folder = folder
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimisation = optimisation
        self.seed = seed
        self.average = copy.deepcopy(network)
        self.optimiser = torch.optim.AdamW(
            _groups(network, rate_factors or {}),
            lr=optimisation.learning_rate,
            betas=optimisation.betas,
            weight_decay=optimisation.weight_decay,
        )
        self.fixed = [
            network.get_submodule(name) for name, factor in (rate_factors or {}).items() if not factor
        ]
        self.update = 0
        self.best_loss = math.inf
        self.rows: list[dict[str, float]] = []
        if (folder / CHECKPOINT).exists():
            self._resume()
        self._parallel = (
            DistributedDataParallel(network, broadcast_buffers=False, find_unused_parameters=True)
            if distribution.together()
            else network
        )

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self.network.parameters()).device
        return device

    def _resume(self) -> None:
        state = torch.load(self.folder / CHECKPOINT, weights_only=True, map_location=self._device)
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise InputError(
                "The checkpoint is of another architecture",
                where=str(self.folder / CHECKPOINT),
                got=str(error)[:500],
                advice="choose another folder for this run",
            ) from error
        torch.set_rng_state(state["random"].cpu())
        if self._device.type == "cuda" and "random_device" in state:
            torch.cuda.set_rng_state(state["random_device"].cpu())
        self.update, self.best_loss = state["update"], state["best_loss"]
        self.rows = state["rows"]
        self._sums = state["sums"]

    _sums: tuple[float, int] = (0.0, 0)
    """Loss since the last validation, and over how many updates."""

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "update": self.update,
            "best_loss": self.best_loss,
            "rows": self.rows,
            "sums": self._sums,
        }
        if self._device.type == "cuda":
            state["random_device"] = torch.cuda.get_rng_state()
        write_whole(self.folder / CHECKPOINT, state)

    def fit(self, objective: Objective[Batch], last_update: int | None = None) -> None:
        """Runs to the last update of the settings, or stops early after ``last_update`` updates in total.

        Raises:
            Diverged: the loss of a batch, its gradient or the loss of a validation is not finite; the
                message names the update and the samples.
            InputError: another process fits this run.
        """
        # Of the processes that fit it together, the first one writes.
        with sole_writer(self.folder) if distribution.rank() == 0 else nullcontext():
            self._fit(objective, last_update)

    def _fit(self, objective: Objective[Batch], last_update: int | None) -> None:
        settings = self.optimisation
        end = settings.updates if last_update is None else min(last_update, settings.updates)
        progress = Progress(
            "training",
            settings.updates * settings.batch,
            "samples",
            done=self.update * settings.batch,
            quiet=distribution.rank() > 0,
        )
        clock = Clock()
        for indices, batch in read_ahead(objective.read, self._batches(objective.samples, end), clock):
            loss = self._step(objective, indices, batch)
            self.update += 1
            self._sums = (self._sums[0] + loss, self._sums[1] + 1)
            mean = self._sums[0] / self._sums[1]
            progress.advance(settings.batch, f"loss {mean:.4f}, waiting for data {100 * clock.share:.0f} %")
            if self.update % settings.validate_every == 0 or self.update == settings.updates:
                self._validate(objective, mean, progress.rate, clock.share)
            elif self.update % settings.checkpoint_every == 0 or self.update == end:
                self._save_alone()

    def _batches(self, samples: int, end: int) -> Iterator[Indices]:
        part = distribution.share(self.optimisation.batch)
        for indices in batches(samples, self.optimisation.batch, self.seed, self.update, end):
            yield indices[part]

    def _step(self, objective: Objective[Batch], indices: Indices, batch: Batch) -> float:
        settings = self.optimisation
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate(self.update) * group["factor"]
        self.optimiser.zero_grad(set_to_none=True)
        self._parallel.train()
        for module in self.fixed:
            module.eval()
        generator = torch.Generator().manual_seed(hash((self.seed, self.update)) % 2**63)
        if distribution.together():
            # Or what drop-out leaves out would be the same in every process.
            torch.manual_seed(hash((self.seed, self.update, distribution.rank())) % 2**63)
        with torch.autocast(
            self._device.type, dtype=torch.bfloat16, enabled=settings.precision == "bfloat16"
        ):
            parts = objective.loss(self._parallel, batch, generator)
        # The wrapper takes the mean of the gradients; the counts are those of all processes. A crop may hold
        # no observed cell: there is nothing to learn from it, and no mean.
        shares = [part.total.float() / distribution.total(part.count).clamp(min=1) for part in parts]
        loss = torch.stack(shares).sum() * distribution.world()
        value = float(distribution.total(loss)) / distribution.world()
        place = f"update {self.update + 1}, samples {indices.tolist()}"
        _check_finite("The loss", value, place)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), settings.gradient_clip or math.inf)
        _check_finite("The gradient", norm.item(), place)
        self.optimiser.step()
        self._follow()
        return value

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the averaged weights; early on they follow faster, so that the start is forgotten."""
        decay = min(self.optimisation.average_decay, (2 + self.update) / (11 + self.update))
        averaged: list[Tensor] = list(self.average.parameters())
        fitted: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(averaged, fitted, 1 - decay)
        for mean, buffer in zip(self.average.buffers(), self.network.buffers(), strict=True):
            mean.copy_(buffer)

    def _validate(self, objective: Objective[Batch], loss: float, rate: float, waiting: float) -> None:
        """Weights of the best validation first: a kill in between repeats it and finds the same."""
        if distribution.rank() == 0:
            self.average.eval()
            with torch.no_grad():
                scores = objective.validate(self.average)
            _check_finite("The loss of the validation", scores["loss"], f"update {self.update}")
            self.rows.append(
                {
                    "update": self.update,
                    "training_loss": loss,
                    "learning_rate": self.optimisation.rate(self.update - 1),
                    "samples_per_second": rate,
                    "waiting_share": waiting,
                }
                | {f"validation_{name}": value for name, value in scores.items()}
            )
            if scores["loss"] < self.best_loss:
                self.best_loss = scores["loss"]
                write_whole(self.folder / WEIGHTS, self.average.state_dict())
        self._sums = (0.0, 0)
        self._save_alone()

    def _save_alone(self) -> None:
        if distribution.rank() == 0:
            # Curves first: after a kill in between they are written again, for they follow the checkpoint.
            self._write_curves()
            self._save()
        distribution.wait()

    def _write_curves(self) -> None:
        if not self.rows:
            return
        temporary = (self.folder / CURVES).with_suffix(".part")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        temporary.replace(self.folder / CURVES)


def _check_finite(name: str, value: float, where: str) -> None:
    if not math.isfinite(value):
        raise Diverged(
            f"{name} is not finite",
            where=where,
            got=str(value),
            advice="look at these samples, or lower the learning rate",
        )


def _groups(network: nn.Module, rate_factors: dict[str, float]) -> list[dict[str, Any]]:
    """Parameters by factor on the learning rate; those with the factor 0 get no gradient."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        factor = next((value for start, value in rate_factors.items() if name.startswith(f"{start}.")), 1.0)
        parameter.requires_grad_(factor > 0)
        if factor:
            groups.setdefault(factor, []).append(parameter)
    return [{"params": parameters, "factor": factor} for factor, parameters in groups.items()]
