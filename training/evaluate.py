"""Scores of a fitted network on the test split.

``python -m training.evaluate --run runs/nano`` writes ``scores.json`` and ``heavy_case.npz`` into the run;
systems that need no network have ``training.baseline``. Calibration and the levels from which events are
called come from the validation split.

What may be averaged at inference, each into a file of its own (``scores-flip.json``,
``scores-masks-8.json``):

``--flip``: the forecast and that of its mirror image, west for east. No atmosphere is its own mirror image:
the signs of the winds stay as they are, and so do coasts and the turn of the wind with height. It is tried
because it helps with photographs.

``--masks N``: N random masks at the mask ratio of the training, or at ``--mask-ratio``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor, nn

from service.errors import InputError, SettingsError
from training.batch import VALIDATION_BATCH
from training.evaluation import Evaluation
from training.finetune import Provenance, load_run
from training.forecasts import Forecast, of_classes
from training.networks.heads import HEADS
from training.networks.masking import MaskedEmbedding
from training.networks.segmentation import Probabilities, Segmentation
from training.progress import Progress
from training.result_tables import one_run
from training.samples import Floats, Split
from training.scoring import Subject, evaluate_system


@dataclass(frozen=True)
class Averaging:
    """What is averaged at inference.

    flip: the forecast and that of the mirrored fields.
    masks: number of random masks; 0 masks nothing. mask_ratio: None for that of the training.
    """

    flip: bool = False
    masks: int = 0
    mask_ratio: float | None = None

    @property
    def suffix(self) -> str:
        """Of the files."""
        ratio = "" if self.mask_ratio is None else f"-{self.mask_ratio:g}"
        return f"{'-flip' * self.flip}{f'-masks-{self.masks}{ratio}' if self.masks else ''}"


class Masked(nn.Module):
    """A network under random masks, drawn anew for every batch from a seed; none with a ratio of None."""

    def __init__(self, network: Segmentation, embedding: MaskedEmbedding, ratio: float, seed: int) -> None:
        super().__init__()
        self.network = network
        self._draw = embedding.draw
        self._ratio = ratio
        self._generator = torch.Generator().manual_seed(seed)

    def forward(self, fields: Tensor) -> Tensor:
        """As the network."""
        masked = self._draw(len(fields), self._ratio, self._generator)
        outputs: Tensor = self.network(fields, masked.to(fields.device))
        return outputs


def class_probabilities(
    module: nn.Module, split: Split, averaging: Averaging, device: str = "cpu", label: str = "forecasts"
) -> Floats:
    """(sample, class, y, x) of a network with its head."""
    module = module.eval().to(device)
    parts = np.array_split(np.arange(len(split)), max(len(split) // VALIDATION_BATCH, 1))
    progress = Progress(label, len(split), "samples")
    classes = []
    for part in parts:
        fields = torch.from_numpy(split.fields(part)).to(device, memory_format=torch.channels_last)
        with torch.no_grad():
            classes.append(_averaged(module, fields, averaging).float().cpu().numpy())
        progress.advance(len(part))
    return np.concatenate(classes)


def _averaged(module: nn.Module, fields: Tensor, averaging: Averaging) -> Tensor:
    runs = range(max(averaging.masks, 1))
    members = [module(fields) for _ in runs]
    if averaging.flip:
        mirrored = fields.flip(-1)
        members += [module(mirrored).flip(-1) for _ in runs]
    return torch.stack(members).mean(dim=0)


def with_head(provenance: Provenance, network: nn.Module, averaging: Averaging) -> Probabilities:
    """The network as it forecasts.

    Raises:
        SettingsError: masks for a network that has no masked embedding, or masks of nothing.
    """
    configuration = provenance.configuration
    head = HEADS[configuration.head]()
    if not averaging.masks:
        return Probabilities(network, head)
    embedding = getattr(network, "embedding", None)
    ratio = configuration.mask_ratio if averaging.mask_ratio is None else averaging.mask_ratio
    if not isinstance(network, Segmentation) or embedding is None:
        raise SettingsError("The network has no embedding to mask", got="--masks")
    if not 0 < ratio < 1:
        raise SettingsError(
            "The masks would mask nothing", got=f"a ratio of {ratio:g}", advice="give --mask-ratio"
        )
    return Probabilities(Masked(network, embedding, ratio, configuration.seed), head)


def evaluate(run: Path, averaging: Averaging = Averaging(), device: str = "cpu") -> Evaluation:
    """Tunes on the validation split, scores on the test split, and writes both files into the run.

    Raises:
        InputError: no fitted run, no archive, or other data than the run's.
        SettingsError: an averaging that the network cannot have.
    """
    provenance, network = load_run(run)
    data = provenance.configuration.data
    description = Split(data, "test").description
    expected = (provenance.data_digest, provenance.statistics_digest)
    if (description.digest, description.statistics_digest) != expected:
        raise InputError(
            "The run was fitted to other data",
            where=f"{run}, {data.archive}",
            expected=provenance.data_digest,
            got=description.digest,
            advice="its statistics and splits do not hold for this one; fit again",
        )
    module = with_head(provenance, network, averaging)
    settings: dict[str, JsonValue] = {"flip": averaging.flip, "masks": averaging.masks}
    if averaging.mask_ratio is not None:
        settings["mask_ratio"] = averaging.mask_ratio

    def system(split: Split) -> Forecast:
        return of_classes(class_probabilities(module, split, averaging, device))

    subject = Subject(
        system=provenance.configuration.network.name,
        seed=provenance.configuration.seed,
        settings=settings,
        fitted_commit=provenance.commit,
        fitted_machine=provenance.machine,
    )
    evaluation, heavy_case = evaluate_system(subject, system, data)
    evaluation.write(run, f"scores{averaging.suffix}.json")
    heavy_case.write(run, f"heavy_case{averaging.suffix}.npz")
    return evaluation


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--flip", action="store_true", help="average with the mirror image")
    parser.add_argument("--masks", type=int, default=0, help="random masks to average over")
    parser.add_argument("--mask-ratio", type=float, help="of these masks; that of the training unless given")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args()
    averaging = Averaging(arguments.flip, arguments.masks, arguments.mask_ratio)
    print(one_run(evaluate(arguments.run, averaging, arguments.device)))


if __name__ == "__main__":
    main()
