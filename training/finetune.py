"""Fits the three-class post-processor.

``python -m training.finetune --config training/configs/nano.toml --out runs/nano``. The same command goes on
where a stopped run was and ends at the same weights. ``torchrun --nproc-per-node N -m training.finetune ...``
shares every batch among N processes.
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

from service.channels import THRESHOLDS_MM
from service.errors import InputError
from training import distribution, losses
from training.batch import VALIDATION_BATCH, Batch, cropped, read
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
from training.labels import LABELS, Labelling
from training.networks.catalogue import FRESH, InternImageSettings, transfer
from training.networks.heads import HEADS, HeadName
from training.networks.internimage import STRIDE
from training.networks.masking import MaskedEmbedding
from training.pretrain import load_pretrained
from training.samples import Split


class TransferSettings(BaseModel):
    """``[transfer]``: everything but the decoder comes from a pre-trained run.

    pretrained: folder of the run.
    rate_factor: on the learning rate of what is carried over; 0 keeps it fixed, as in Figure 1 of the paper.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pretrained: Path
    rate_factor: float = Field(ge=0, le=1)


class LossSettings(BaseModel):
    """``[loss]``: the weight of each part.

    classes: weighted soft cross-entropy (equation 2 of the paper).
    amount: squared error of log(1 + rain), the second task of CAMT; the network has one output more.
    csi: one less the soft critical success index.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: float = Field(default=1.0, ge=0)
    amount: float = Field(default=0.0, ge=0)
    csi: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.classes or self.amount or self.csi):
            raise ValueError("no part of the loss has a weight")
        return self


class Configuration(TrainingSettings):
    """One fine-tuning.

    head: what the outputs of the network mean (``training.networks.heads``).
    labels: how observed rain becomes a distribution over the classes (``training.labels``).
    class_weights: weights of no rain, rain and heavy rain in the loss.
    loss: the parts of the loss.
    mask_ratio: share of the tokens that are masked in training; none are at inference.
    transfer: what the network starts from; chance, without the table.
    crop: height and width of a random part of the fields that an update sees, for networks that take any.
    only_wet_samples: leave training samples out in which no precipitation was observed.
    """

    head: HeadName = "softmax"
    labels: Labelling
    class_weights: tuple[float, float, float]
    loss: LossSettings = LossSettings()
    mask_ratio: float = Field(default=0.0, ge=0, lt=1)
    transfer: TransferSettings | None = None
    crop: tuple[int, int] | None = None
    only_wet_samples: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        embedded = isinstance(self.network, InternImageSettings) and self.network.embedding is not None
        if self.mask_ratio and not embedded:
            raise ValueError("mask_ratio needs a network with an embedding")
        if self.transfer and not isinstance(self.network, InternImageSettings):
            raise ValueError("transfer needs the network internimage")
        if self.crop and (embedded or not isinstance(self.network, InternImageSettings)):
            raise ValueError("crop needs the network internimage without an embedding")
        if self.crop and any(size <= 0 or size % STRIDE for size in self.crop):
            raise ValueError(f"the sides of a crop must be multiples of {STRIDE} cells")
        return self

    @property
    def outputs(self) -> int:
        """Channels of the network's result."""
        return HEADS[self.head].logits + (self.loss.amount > 0)


class Provenance(BaseModel):
    """``run.json``: what a run was made from.

    weights_digest of ``pretrained``: sha256 of the file, None without transfer. processes: that shared the
    batches when the run began.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    configuration: Configuration
    data_digest: str
    statistics_digest: str
    pretrained_digest: str | None
    commit: str
    torch: str
    machine: str
    processes: int
    samples: int


class Loss:
    """The loss of a batch, and the scores of a validation.

    Args:
        configuration: the settings.
        embedding: draws the masks; None where the network has none.
    """

    def __init__(self, configuration: Configuration, embedding: MaskedEmbedding | None) -> None:
        self._configuration = configuration
        self._embedding = embedding
        self._head = HEADS[configuration.head]()

    def training(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Sequence[Part]:
        """Parts of the loss, with this process's masks among those of the whole batch."""
        configuration = self._configuration
        batch = cropped(batch, configuration.crop, generator)
        arguments: list[Tensor] = [batch.fields]
        if self._embedding is not None and configuration.mask_ratio:
            whole = configuration.optimisation.batch
            masked = self._embedding.draw(whole, configuration.mask_ratio, generator)
            arguments.append(masked[distribution.share(whole)].to(batch.fields.device))
        return self.parts(network(*arguments).float(), batch.rain_mm)

    def parts(self, outputs: Tensor, rain_mm: Tensor) -> list[Part]:
        """Parts of the loss of the network's outputs; cells without observation do not count."""
        configuration, weights = self._configuration, self._configuration.loss
        observed = ~rain_mm.isnan()
        logarithms = self._head(outputs)
        parts = []
        if weights.classes:
            labels = LABELS[configuration.labels](rain_mm)
            part = losses.weighted_soft_cross_entropy(
                logarithms, labels, configuration.class_weights, observed
            )
            parts.append(Part(weights.classes * part.total, part.count))
        if weights.amount:
            part = losses.amount_error(outputs[:, self._head.logits], rain_mm, observed)
            parts.append(Part(weights.amount * part.total, part.count))
        if weights.csi:
            part = losses.soft_csi_loss(logarithms, rain_mm, observed)
            parts.append(Part(weights.csi * part.total, part.count))
        return parts

    def validation(self, network: nn.Module, split: Split, device: torch.device) -> dict[str, float]:
        """Mean loss, and CSI of the most probable class at each threshold, counts summed first."""
        totals: dict[int, list[float]] = {}
        counts = np.zeros((len(THRESHOLDS_MM), 3))
        for indices in np.array_split(np.arange(len(split)), max(len(split) // VALIDATION_BATCH, 1)):
            batch = read(split, indices, device)
            outputs = network(batch.fields).float()
            for number, part in enumerate(self.parts(outputs, batch.rain_mm)):
                total = totals.setdefault(number, [0.0, 0.0])
                total[0] += part.total.item()
                total[1] += float(part.count)
            counts += _counts(self._head(outputs).argmax(dim=1), batch.rain_mm)
        csi = counts[:, 0] / np.maximum(counts.sum(axis=1), 1)
        scores = {
            f"csi_{threshold:g}mm": float(value) for threshold, value in zip(THRESHOLDS_MM, csi, strict=True)
        }
        return {"loss": sum(total / count for total, count in totals.values()), **scores}


def _counts(predicted: Tensor, rain_mm: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Hits, misses, false alarms (threshold, 3) of classes (sample, y, x)."""
    observed = ~rain_mm.isnan()
    rows = []
    for index, threshold in enumerate(THRESHOLDS_MM):
        event, warning = rain_mm >= threshold, (predicted > index) & observed
        rows.append([(event & warning).sum(), (event & ~warning).sum(), (~event & warning).sum()])
    return np.array([[float(number) for number in row] for row in rows])


def finetune(configuration: Configuration, out: Path, last_update: int | None = None) -> Run[Batch]:
    """Fits, or goes on fitting, and returns the run; the weights of the best validation are in its folder.

    Raises:
        InputError: no archive, an empty split, a network that does not fit it, or a pre-trained run of
            another architecture or other data.
        SettingsError: the folder holds another run.
        Diverged: a loss that is not finite.
    """
    training = Split(configuration.data, "train", wet_only=configuration.only_wet_samples)
    validation = Split(configuration.data, "validation")
    prepare(configuration.seed, configuration.threads, configuration.device)
    network = network_of(configuration, training, configuration.outputs)
    if configuration.crop:
        _check_crop(configuration.crop, training.field_shape)
    pretrained_digest, rate_factors = None, dict[str, float]()
    if configuration.transfer is not None:
        pretrained_digest, rate_factors = _carry_over(configuration.transfer, network, training)
    provenance = Provenance(
        configuration=configuration,
        data_digest=training.description.digest,
        statistics_digest=training.description.statistics_digest,
        pretrained_digest=pretrained_digest,
        commit=code_commit(),
        torch=torch.__version__,
        machine=machine(configuration),
        processes=distribution.world(),
        samples=len(training),
    )
    claim(out, provenance, ("configuration", "data_digest", "statistics_digest", "pretrained_digest"))
    device = torch.device(configuration.device)
    embedding = getattr(network, "embedding", None)
    run: Run[Batch] = Run(
        out, network.to(device), configuration.optimisation, configuration.seed, rate_factors
    )
    loss = Loss(configuration, embedding)
    run.fit(
        Objective(
            samples=len(training),
            read=lambda indices: read(training, indices, device),
            loss=loss.training,
            validate=lambda validated: loss.validation(validated, validation, device),
        ),
        last_update,
    )
    return run


def _check_crop(crop: tuple[int, int], field_shape: tuple[int, int]) -> None:
    if any(part > whole for part, whole in zip(crop, field_shape, strict=True)):
        raise InputError(
            "The crop is larger than the fields", expected=f"at most {field_shape}", got=str(crop)
        )


def _carry_over(settings: TransferSettings, network: nn.Module, split: Split) -> tuple[str, dict[str, float]]:
    """Takes the pre-trained parameters over; returns their digest and their factors on the learning rate."""
    state, digest = load_pretrained(settings.pretrained, split)
    transfer(network, state)
    carried = [name for name, _ in network.named_children() if f"{name}." not in FRESH]
    return digest, dict.fromkeys(carried, settings.rate_factor)


def load_run(folder: Path) -> tuple[Provenance, nn.Module]:
    """The provenance of a run and its best network, on the CPU and in evaluation mode.

    Raises:
        InputError: no run, one of another kind, no weights yet, or weights of another architecture.
    """
    if not (folder / WEIGHTS).exists():
        raise InputError(
            "No fitted weights", where=str(folder), advice="run python -m training.finetune first"
        )
    provenance = read_provenance(Provenance, folder)
    configuration = provenance.configuration
    network = network_of(configuration, Split(configuration.data, "validation"), configuration.outputs)
    try:
        network.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True, map_location="cpu"))
    except RuntimeError as error:
        raise InputError(
            "The weights are of another architecture", where=str(folder / WEIGHTS), got=str(error)[:500]
        ) from error
    return provenance, network.eval()


def main() -> None:
    """Command line."""
    arguments = parse_arguments("python -m training.finetune", __doc__)
    configuration = read_settings(Configuration, arguments.config, dict(arguments.set))
    with distribution.processes(configuration.device):
        run = finetune(configuration, arguments.out)
    if run.rows and distribution.rank() == 0:
        print(json.dumps(run.rows[-1], indent=2))


if __name__ == "__main__":
    main()
