"""A small fabricated dataset and configuration: no simulation, no meaning, the real format."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.artefact import Normalisation
from service.specification import Window
from training.domain import specification
from training.engine import Optimisation
from training.finetune import Configuration
from training.networks.segmentation import Architecture
from training.samples import SPLITS, Description, Plan

SIZE = 32
SMALL = Architecture(
    8, (1, 1, 1, 1), (1, 2, 2, 4), decoder_width=8, perceptron_ratio=2.0, drop_path=0.1, dropout=0.1
)


@pytest.fixture
def configuration() -> Configuration:
    """Two epochs of a very small network."""
    return Configuration(
        seed=3,
        threads=1,
        architecture=SMALL,
        labels="continuous",
        class_weights=(1.0, 5.0, 10.0),
        optimisation=Optimisation(
            epochs=2, batch=4, learning_rate=3e-3, schedule="cosine", warmup_steps=2, average_decay=0.9
        ),
    )


def write_fabricated(folder: Path, cycles: int = 5, seed: int = 0) -> Path:
    """Rain where the smoothed last channel is high, two samples a cycle; the first training cycle is dry."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    spec = specification().model_copy(update={"window": Window(y_start=8, x_start=10, ny=SIZE, nx=SIZE)})
    plan = Plan(training_cycles=cycles, evaluation_cycles=cycles, leads_per_cycle=2, seed=seed)
    for split in SPLITS:
        inputs = generator.normal(size=(2 * cycles, 16, SIZE, SIZE)).astype(np.float32)
        blobs = generator.normal(size=(2 * cycles, SIZE // 8, SIZE // 8)).repeat(8, 1).repeat(8, 2)
        inputs[:, -1] = np.maximum(8 * blobs + inputs[:, -1], 0)
        rain_mm = np.maximum(8 * blobs - 1, 0).astype(np.float32)
        rain_mm[:, 0, :3] = np.nan
        if split == "train":
            rain_mm[:2] = 0
        np.save(folder / f"{split}_inputs.npy", inputs)
        np.save(folder / f"{split}_rain_mm.npy", rain_mm)
        bounds = [(-1.0, 0.1), (0.1, 10.0), (10.0, 1e9)]
        lines = [
            {
                "slot": slot,
                "seed": slot,
                "reference_time": f"2022-08-{slot + 1:02d}T00:00:00",
                "leads_hours": [25, 28],
                "cells": [
                    [int(((row >= low) & (row < high)).sum()) for low, high in bounds]
                    for row in rain_mm[2 * slot : 2 * slot + 2]
                ],
                "digests": ["", ""],
            }
            for slot in range(cycles)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    description = Description(
        plan=plan,
        simulated=True,
        specification=spec,
        normalisation={name: Normalisation(mean=0.5, standard_deviation=2.0) for name in spec.channels},
        samples=dict.fromkeys(SPLITS, 2 * cycles),
        wet_samples=dict.fromkeys(SPLITS, 2 * cycles),
        class_shares=dict.fromkeys(SPLITS, (0.6, 0.3, 0.1)),
        digest=f"fabricated {seed}",
    )
    (folder / "dataset.json").write_text(description.model_dump_json())
    return folder


@pytest.fixture
def write_dataset() -> Callable[..., Path]:
    return write_fabricated


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fabricated dataset, not to be changed."""
    return write_fabricated(tmp_path_factory.mktemp("data") / "fabricated")
