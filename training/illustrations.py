"""Figures of the experiment that need the runs and the archive: 2 to 4 and 6 of the paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.channels import THRESHOLDS_MM
from service.errors import InputError
from training import figure_maps, figures
from training.explain import DEPTHS, heat_map
from training.figure_maps import Case, Ground, Reconstruction, ground, heaviest
from training.figures import LabelShares
from training.finetune import load_run
from training.labels import LABELS
from training.pretrain import load_pretrained_network
from training.samples import Split
from training.scoring import HEAVY_CASE

HEAVY: Final = len(THRESHOLDS_MM)
"""Number of the class heavy rain."""

SHARES_SAMPLED: Final = 1000
"""Training samples, evenly spread, of which Figure 2 counts the cells."""


def class_shares(split: Split) -> LabelShares:
    """Shares of the observed cells of a split by class, and with a probability above zero in the labels A."""
    chosen = np.unique(np.linspace(0, len(split) - 1, min(SHARES_SAMPLED, len(split))).astype(int))
    one_hot, non_zero = np.zeros(HEAVY + 1), np.zeros(HEAVY + 1)
    for index in chosen:
        rain_mm = torch.from_numpy(split.rain_mm([int(index)]))
        one_hot += _cells(LABELS["one_hot"](rain_mm))
        non_zero += _cells(LABELS["A"](rain_mm))
    cells = one_hot.sum()
    return LabelShares(tuple(one_hot / cells), tuple(non_zero / cells))


def _cells(labels: torch.Tensor) -> NDArray[np.int64]:
    """How many cells give each class a probability above zero; NaN, not observed, is none."""
    result: NDArray[np.int64] = (labels > 0).sum(dim=(0, 2, 3)).numpy()
    return result


def reconstruction(run: Path, split: Split) -> Reconstruction:
    """The heaviest sample of a split under a mask, as a pre-trained network restores it."""
    provenance, network = load_pretrained_network(run)
    embedding = network.get_submodule("embedding")
    fields = torch.from_numpy(split.fields([_heaviest(split)]))
    generator = torch.Generator().manual_seed(0)
    masked = embedding.draw(1, provenance.configuration.mask_ratio, generator)  # type: ignore[operator]
    with torch.no_grad():
        restored = network(fields, masked)
    hidden = embedding.expand(masked)  # type: ignore[operator]
    return Reconstruction(
        split.description.channels, fields[0].numpy(), hidden[0].numpy(), restored[0].numpy()
    )


def heavy_case(runs: Mapping[str, Path], split: Split) -> Case:
    """The heaviest sample of a split by every system, with tuned thresholds.

    Args:
        runs: folders by the name of the system; those without a scored case are left out.
        split: the test split.
    """
    index = _heaviest(split)
    raw_mm = split.raw_rain_mm([index])[0]
    classes = {name: _classes(run) for name, run in runs.items() if (run / HEAVY_CASE).exists()}
    return Case(_title(split, index), split.rain_mm([index])[0], raw_mm, classes)


def grad_cam(
    run: Path, split: Split
) -> tuple[str, NDArray[np.float32], NDArray[np.intp], dict[str, NDArray[np.float32]]]:
    """Title, observed rain, classes, and heat maps of heavy rain by depth, of the heaviest sample."""
    _, network = load_run(run)
    index = _heaviest(split)
    fields = split.fields([index])[0]
    heat = {str(depth): heat_map(network, fields, HEAVY, depth) for depth in DEPTHS}
    return _title(split, index), split.rain_mm([index])[0], _classes(run), heat


def _classes(run: Path) -> NDArray[np.intp]:
    with np.load(run / HEAVY_CASE) as case:
        result: NDArray[np.intp] = case["tuned"].astype(np.intp).sum(axis=0)
    return result


def _heaviest(split: Split) -> int:
    return heaviest(split.rain_mm(np.arange(len(split))))


def _title(split: Split, index: int) -> str:
    time = split.reference_times[index].astype("datetime64[h]")
    return f"forecast of {time}Z, {split.leads_hours[index]} h ahead" + (
        ", simulated" if split.description.simulated else ""
    )


def place_of(split: Split) -> Ground:
    """What the maps of a split are drawn on."""
    specification = split.description.specification
    return Ground(split.field_shape) if specification is None else ground(specification)


def draw(
    folder: Path,
    split: Split,
    training: Split,
    pretrained: Path,
    explained: Path,
    systems: Mapping[str, Path],
) -> list[Path]:
    """Draws all of them and returns their paths; a figure whose run is not there is left out.

    Args:
        folder: where the pictures go.
        split, training: the test and the training split.
        pretrained: a run of ``training.pretrain``.
        explained: the run whose attention is shown.
        systems: scored runs by name.
    """
    place = place_of(split)
    drawings: dict[str, Callable[[], Figure]] = {
        "class_shares.png": lambda: figures.class_shares(class_shares(training)),
        "heavy_case.png": lambda: figure_maps.heavy_case(heavy_case(systems, split), place),
        "reconstruction.png": lambda: figure_maps.reconstruction(reconstruction(pretrained, split), place),
        "grad_cam.png": lambda: figure_maps.grad_cam(*grad_cam(explained, split), place),
    }
    made = []
    for name, drawing in drawings.items():
        try:
            figures.save(drawing(), folder / name)
        except InputError as error:
            print(f"{name} is left out: {error}")
        else:
            made.append(folder / name)
    return made
