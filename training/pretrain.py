"""Self-supervised pre-training: the network restores what was masked of the forecast fields.

``python -m training.pretrain --config training/configs/pretrain.toml --out runs/pretrained``. Needs no
observation, and takes dry samples too. Source: paper section 2.3 and Table 3.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from service.artefact import digest_file
from service.errors import InputError
from training import distribution, losses
from training.batch import VALIDATION_BATCH, Batch, read
from training.configuration import (
    TrainingSettings,
    claim,
    machine,
    network_of,
    parse_arguments,
    read_provenance,
    read_settings,
)
from training.engine import WEIGHTS, Objective, Part, Run, code_commit, prepare
from training.networks.catalogue import InternImageSettings
from training.networks.masking import MaskedEmbedding
from training.samples import Split


class Pretraining(TrainingSettings):
    """One pre-training.

    mask_ratio: share of the tokens that are masked.
    """

    mask_ratio: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _embedded(self) -> Self:
        if not isinstance(self.network, InternImageSettings) or self.network.embedding is None:
            raise ValueError("pre-training needs the network internimage with an embedding")
        return self


class PretrainingProvenance(BaseModel):
    """``run.json`` of a pre-training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    configuration: Pretraining
    data_digest: str
    statistics_digest: str
    commit: str
    torch: str
    machine: str
    processes: int
    samples: int


class Restoration:
    """The loss of a batch: mean squared error of the masked values, in z-scores.

    Args:
        settings: the configuration.
        embedding: of the network; draws the masks.
    """

    def __init__(self, settings: Pretraining, embedding: MaskedEmbedding) -> None:
        self._settings = settings
        self._embedding = embedding

    def training(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Sequence[Part]:
        """The loss, with this process's masks among those of the whole batch."""
        whole = self._settings.optimisation.batch
        masked = self._embedding.draw(whole, self._settings.mask_ratio, generator)
        return [self._part(network, batch, masked[distribution.share(whole)])]

    def validation(self, network: nn.Module, split: Split, device: torch.device) -> dict[str, float]:
        """The loss under masks that are the same at every validation."""
        generator = torch.Generator().manual_seed(0)
        total = count = 0.0
        for indices in np.array_split(np.arange(len(split)), max(len(split) // VALIDATION_BATCH, 1)):
            masked = self._embedding.draw(len(indices), self._settings.mask_ratio, generator)
            part = self._part(network, read(split, indices, device), masked)
            total += part.total.item()
            count += float(part.count)
        return {"loss": total / count}

    def _part(self, network: nn.Module, batch: Batch, masked: Tensor) -> Part:
        masked = masked.to(batch.fields.device)
        fields = batch.fields[:, : self._embedding.channels]
        return losses.masked_error(
            network(batch.fields, masked).float(), fields, self._embedding.expand(masked)
        )


def pretrain(settings: Pretraining, out: Path, last_update: int | None = None) -> Run[Batch]:
    """Fits, or goes on fitting, and returns the run; the weights of the best validation are in its folder.

    Raises:
        InputError: no archive, an empty split, or a network that does not fit it.
        SettingsError: the folder holds another run.
        Diverged: a loss that is not finite.
    """
    training, validation = Split(settings.data, "train"), Split(settings.data, "validation")
    prepare(settings.seed, settings.threads, settings.device)
    network = network_of(settings, training, len(training.description.channels))
    claim(
        out,
        PretrainingProvenance(
            configuration=settings,
            data_digest=training.description.digest,
            statistics_digest=training.description.statistics_digest,
            commit=code_commit(),
            torch=torch.__version__,
            machine=machine(settings),
            processes=distribution.world(),
            samples=len(training),
        ),
        ("configuration", "data_digest", "statistics_digest"),
    )
    device = torch.device(settings.device)
    embedding = network.get_submodule("embedding")
    assert isinstance(embedding, MaskedEmbedding)  # noqa: S101 - the settings ask for one
    run: Run[Batch] = Run(out, network.to(device), settings.optimisation, settings.seed)
    restoration = Restoration(settings, embedding)
    run.fit(
        Objective(
            samples=len(training),
            read=lambda indices: read(training, indices, device),
            loss=restoration.training,
            validate=lambda validated: restoration.validation(validated, validation, device),
        ),
        last_update,
    )
    return run


def load_pretrained(folder: Path, split: Split) -> tuple[dict[str, Tensor], str]:
    """The parameters of a pre-trained run and the digest of their file.

    Args:
        folder: of the run.
        split: of the data that the parameters are to be used with.

    Raises:
        InputError: no such run, one of another kind, or one whose z-scores are of other data.
    """
    provenance, path = _finished(folder)
    if provenance.statistics_digest != split.description.statistics_digest:
        raise InputError(
            "The pre-trained network saw other z-scores",
            where=str(folder),
            expected=f"data and splits {split.description.statistics_digest[:16]}",
            got=provenance.statistics_digest[:16],
            advice="pre-train on the archive and the splits of this configuration",
        )
    return torch.load(path, weights_only=True, map_location="cpu"), digest_file(path)


def load_pretrained_network(folder: Path) -> tuple[PretrainingProvenance, nn.Module]:
    """A pre-trained network with the decoder that restores the fields, in evaluation mode.

    Raises:
        InputError: no such run.
    """
    provenance, path = _finished(folder)
    split = Split(provenance.configuration.data, "validation")
    network = network_of(provenance.configuration, split, len(split.description.channels))
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return provenance, network.eval()


def _finished(folder: Path) -> tuple[PretrainingProvenance, Path]:
    path = folder / WEIGHTS
    if not path.exists():
        raise InputError(
            "No pre-trained weights", where=str(folder), advice="run python -m training.pretrain first"
        )
    return read_provenance(PretrainingProvenance, folder), path


def main() -> None:
    """Command line."""
    arguments = parse_arguments("python -m training.pretrain", __doc__)
    settings = read_settings(Pretraining, arguments.config, dict(arguments.set))
    with distribution.processes(settings.device):
        run = pretrain(settings, arguments.out)
    if run.rows and distribution.rank() == 0:
        print(json.dumps(run.rows[-1], indent=2))


if __name__ == "__main__":
    main()
