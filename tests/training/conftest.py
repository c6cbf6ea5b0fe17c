"""A small fabricated archive and configuration: no simulation, no meaning, the real format."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.specification import Window
from training.archive_store import ArchiveWriter, CycleSamples, Header
from training.domain import specification
from training.engine import Optimisation
from training.finetune import Configuration
from training.networks.catalogue import EmbeddingSettings, InternImageSettings
from training.networks.segmentation import Architecture
from training.pretrain import Pretraining, pretrain
from training.samples import DataSettings

SIZE = 32
FIRST_CYCLE = {"train": "2021-08-01", "validation": "2022-09-03", "test": "2022-08-01"}
SMALL = Architecture(
    8, (1, 1, 1, 1), (1, 2, 2, 4), decoder_width=8, perceptron_ratio=2.0, drop_path=0.1, dropout=0.1
)


@pytest.fixture(scope="session")
def configuration(dataset: DataSettings) -> Configuration:
    """Four updates of a very small network."""
    return Configuration(
        seed=3,
        threads=1,
        data=dataset,
        network=InternImageSettings(name="internimage", size=SMALL),
        labels="A",
        class_weights=(1.0, 5.0, 10.0),
        optimisation=Optimisation(
            updates=4,
            batch=4,
            learning_rate=3e-3,
            schedule="cosine",
            warmup_updates=2,
            average_decay=0.9,
            validate_every=2,
        ),
    )


@pytest.fixture(scope="session")
def pretraining(dataset: DataSettings) -> Pretraining:
    """Four updates of the same network, 12 of 16 tokens masked."""
    return Pretraining(
        seed=3,
        threads=1,
        data=dataset,
        network=InternImageSettings(
            name="internimage", size=SMALL, embedding=EmbeddingSettings(token_width=16)
        ),
        mask_ratio=0.75,
        optimisation=Optimisation(
            updates=4, batch=4, learning_rate=3e-3, schedule="cosine", validate_every=2
        ),
    )


@pytest.fixture(scope="session")
def pretrained(pretraining: Pretraining, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of it, not to be changed."""
    folder = tmp_path_factory.mktemp("pretrained")
    pretrain(pretraining, folder)
    return folder


def write_fabricated(path: Path, cycles: int = 5, seed: int = 0) -> DataSettings:
    """Rain where the smoothed last channel is high, two samples a cycle; the first training cycle is dry."""
    generator = np.random.default_rng(seed)
    spec = specification().model_copy(update={"window": Window(y_start=8, x_start=10, ny=SIZE, nx=SIZE)})
    header = Header(
        channels=spec.channels,
        simulated=True,
        specification=spec,
        provenance={"made_by": "a test", "seed": seed},
    )
    archive = ArchiveWriter(path, header, (SIZE, SIZE))
    for split, first in FIRST_CYCLE.items():
        for cycle in range(cycles):
            inputs = generator.normal(size=(2, 16, SIZE, SIZE)).astype(np.float32)
            blobs = generator.normal(size=(2, SIZE // 8, SIZE // 8)).repeat(8, 1).repeat(8, 2)
            inputs[:, -1] = np.maximum(8 * blobs + inputs[:, -1], 0)
            rain_mm = np.maximum(8 * blobs - 1, 0).astype(np.float32)
            rain_mm[:, 0, :3] = np.nan
            if (split, cycle) == ("train", 0):
                rain_mm[:] = 0
            archive.append(
                CycleSamples(
                    np.datetime64(first, "s") + np.timedelta64(cycle, "D"), (25, 28), inputs, rain_mm
                )
            )
    archive.finish()
    return DataSettings(archive=path)


@pytest.fixture
def write_dataset() -> Callable[..., DataSettings]:
    return write_fabricated


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DataSettings:
    """A fabricated archive, not to be changed; five cycles of two samples in every split."""
    return write_fabricated(tmp_path_factory.mktemp("data") / "fabricated.zarr")
