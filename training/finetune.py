"""Fits the three-class post-processor.

``python -m training.finetune --config training/configs/nano.toml --out runs/nano``. The same command goes on
where a stopped run was and ends at the same weights.
"""

from __future__ import annotations

import argparse
import json
import platform
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor, nn

from service.channels import THRESHOLDS_MM
from service.errors import InputError, SettingsError
from training.engine import WEIGHTS, Objective, Optimisation, Run, code_commit, prepare
from training.labels import LABELS, Labelling
from training.losses import weighted_soft_cross_entropy
from training.networks.segmentation import ARCHITECTURES, Architecture, Segmentation
from training.samples import DataSettings, Split

PROVENANCE = "run.json"


class Configuration(BaseModel):
    """One experiment. Unknown keys are refused.

    data: the archive and its splits.
    architecture: a name of ``ARCHITECTURES`` or a table with the fields of ``Architecture``.
    labels: how observed rain becomes a distribution over the classes (``training.labels``).
    class_weights: weights of no rain, rain and heavy rain in the loss.
    only_wet_samples: leave training samples out in which no precipitation was observed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    threads: int = Field(default=2, gt=0)
    data: DataSettings
    architecture: Architecture
    labels: Labelling
    class_weights: tuple[float, float, float]
    only_wet_samples: bool = True
    optimisation: Optimisation

    @field_validator("architecture", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in ARCHITECTURES:
                raise ValueError(f"no architecture {value!r}; there are {sorted(ARCHITECTURES)}")
            return ARCHITECTURES[value]
        return value


class Provenance(BaseModel):
    """``run.json``: what a run was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    configuration: Configuration
    data_digest: str
    commit: str
    torch: str
    machine: str
    samples: int


def read_configuration(path: Path) -> Configuration:
    """Reads a TOML file.

    Raises:
        SettingsError: unreadable, an unknown key, or a value out of bounds; names each of them.
    """
    try:
        return Configuration.model_validate(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError("The configuration cannot be read", where=str(path), got=str(error)) from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise SettingsError("The configuration is not valid", where=str(path), got=problems) from error


def batch_loss(
    configuration: Configuration, split: Split, network: nn.Module, indices: NDArray[np.intp]
) -> Tensor:
    """The loss over some samples of a split; cells without observation do not count."""
    logits = network(torch.from_numpy(split.fields(indices)))
    rain_mm = torch.from_numpy(split.rain_mm(indices))
    labels = LABELS[configuration.labels](rain_mm)
    return weighted_soft_cross_entropy(logits, labels, configuration.class_weights, ~rain_mm.isnan())


def validation_scores(configuration: Configuration, split: Split, network: nn.Module) -> dict[str, float]:
    """Mean loss, and CSI of the most probable class at each threshold, counts summed first."""
    total = cells = 0.0
    counts = np.zeros((len(THRESHOLDS_MM), 3))
    for indices in np.array_split(np.arange(len(split)), max(len(split) // 16, 1)):
        logits = network(torch.from_numpy(split.fields(indices)))
        rain_mm = torch.from_numpy(split.rain_mm(indices))
        observed = ~rain_mm.isnan()
        labels = LABELS[configuration.labels](rain_mm)
        loss = weighted_soft_cross_entropy(logits, labels, configuration.class_weights, observed)
        total += loss.item() * observed.sum().item()
        cells += observed.sum().item()
        predicted = logits.argmax(dim=1)
        for index, threshold in enumerate(THRESHOLDS_MM):
            event, warning = rain_mm >= threshold, (predicted > index) & observed
            counts[index] += [(event & warning).sum(), (event & ~warning).sum(), (~event & warning).sum()]
    csi = counts[:, 0] / np.maximum(counts.sum(axis=1), 1)
    scores = {
        f"csi_{threshold:g}mm": float(value) for threshold, value in zip(THRESHOLDS_MM, csi, strict=True)
    }
    return {"loss": total / cells, **scores}


def _check(configuration: Configuration, split: Split) -> None:
    if len(split.input_names) != configuration.architecture.inputs:
        raise InputError(
            "The archive does not fit the architecture",
            where=str(configuration.data.archive),
            expected=f"{configuration.architecture.inputs} channels",
            got=str(len(split.input_names)),
        )


def _claim(out: Path, provenance: Provenance) -> None:
    """Writes what the run is made from, or makes sure that the folder's run is made from the same."""
    path = out / PROVENANCE
    if path.exists():
        stored = Provenance.model_validate_json(path.read_text())
        if (stored.configuration, stored.data_digest) != (provenance.configuration, provenance.data_digest):
            raise SettingsError(
                "The folder holds a run with another configuration or other data",
                where=str(out),
                advice="choose another folder for this run",
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(provenance.model_dump_json(indent=2) + "\n")


def finetune(configuration: Configuration, out: Path, last_epoch: int | None = None) -> Run:
    """Fits, or goes on fitting, and returns the run; the weights of the best epoch are in its folder.

    Raises:
        InputError: no archive, an empty split, or other channels than the architecture has.
        SettingsError: the folder holds another run.
        Diverged: a loss that is not finite.
    """
    training = Split(configuration.data, "train", wet_only=configuration.only_wet_samples)
    validation = Split(configuration.data, "validation")
    _check(configuration, training)
    provenance = Provenance(
        configuration=configuration,
        data_digest=training.description.digest,
        commit=code_commit(),
        torch=torch.__version__,
        machine=f"{platform.machine()}, {configuration.threads} threads",
        samples=len(training),
    )
    _claim(out, provenance)
    prepare(configuration.seed, configuration.threads)
    run = Run(out, Segmentation(configuration.architecture), configuration.optimisation, configuration.seed)
    run.fit(
        Objective(
            loss=lambda network, indices: batch_loss(configuration, training, network, indices),
            samples=len(training),
            validate=lambda network: validation_scores(configuration, validation, network),
        ),
        last_epoch,
    )
    return run


def load_run(folder: Path) -> tuple[Provenance, Segmentation]:
    """The provenance of a run and its best network, in evaluation mode.

    Raises:
        InputError: no run, no weights yet, or weights of another architecture.
    """
    if not (folder / WEIGHTS).exists():
        raise InputError(
            "No fitted weights", where=str(folder), advice="run python -m training.finetune first"
        )
    provenance = Provenance.model_validate_json((folder / PROVENANCE).read_text())
    network = Segmentation(provenance.configuration.architecture)
    try:
        network.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    except RuntimeError as error:
        raise InputError(
            "The weights are of another architecture", where=str(folder / WEIGHTS), got=str(error)[:500]
        ) from error
    return provenance, network.eval()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.finetune", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    run = finetune(read_configuration(arguments.config), arguments.out)
    print(json.dumps(run.rows[-1], indent=2))


if __name__ == "__main__":
    main()
