"""A small cycle with probabilities, and the product made of them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from service.artefact import Golden, Manifest, Network, Normalisation, Training
from service.cycle import CycleInput
from service.product import Provenance, build_product
from service.specification import (
    CycleSpecification,
    GridDefinition,
    LambertDefinition,
    LatitudeLongitudeDefinition,
    Source,
    Window,
)
from tests.service.test_grids import QPE

CHANNELS = ("temperature_2m", "precipitation_1h")
WINDOW = Window(y_start=60, x_start=30, ny=30, nx=20)
REFERENCE_TIME = np.datetime64("2026-07-14T18", "s")
PROVENANCE = Provenance(
    model_sha256="a1" * 32,
    manifest_sha256="b2" * 32,
    inputs=(("rdaps h025.gb2", "c3" * 32), ("rdaps_h026.gb2", "d4" * 32)),
    code_version="0.1.0",
    provider="CPUExecutionProvider",
    revision=3,
    created=datetime(2026, 7, 15, 3, 4, 5, tzinfo=UTC),
)
SOUTH = LambertDefinition(
    nx=149,
    ny=253,
    spacing_m=2500.0,
    standard_parallels_degrees=(-30.0, -60.0),
    origin_latitude_degrees=-38.0,
    origin_longitude_degrees=-71.0,
    origin_x=42.0,
    origin_y=135.0,
    earth_radius_m=6371229.0,
)
"""With the other pole, and a westward longitude."""

DEGREES = LatitudeLongitudeDefinition(
    nx=149,
    ny=253,
    first_latitude_degrees=43.0,
    first_longitude_degrees=176.0,
    latitude_step_degrees=-0.05,
    longitude_step_degrees=0.05,
)


def sample_manifest(
    target: GridDefinition = QPE, *, simulated: bool = True, precipitation_hours: int = 1
) -> Manifest:
    """A manifest for leads 25 to 27."""
    digest = "0" * 64
    return Manifest(
        name="sample",
        version="1.2.3",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        cycle=CycleSpecification(
            source=Source(name="RDAPS-KIM"),
            channels=CHANNELS,
            leads_hours=(25, 26, 27),
            precipitation_hours=precipitation_hours,
            target=target,
            window=WINDOW,
        ),
        normalisation={name: Normalisation(mean=0.0, standard_deviation=1.0) for name in CHANNELS},
        decision_thresholds={"0.1": 0.375, "10.0": 0.125},
        network=Network(architecture="InternImage + UPerNet"),
        golden=Golden(tolerance=1e-4),
        training=Training(
            data="cycles for tests",
            simulated=simulated,
            statement="Trained on nothing at all.",
            samples=1,
            commit="0" * 40,
            seed=1,
            command="none",
        ),
        scores=(),
        files={"model.onnx": digest, "golden.npz": digest, "MODEL_CARD.md": digest},
    )


def sample_cycle(leads_hours: tuple[int, ...] = (25, 26, 27)) -> CycleInput:
    """Rain from 0 to far above the highest threshold, another field at every lead."""
    generator = np.random.default_rng(11)
    shape = (len(leads_hours), WINDOW.ny, WINDOW.nx)
    rain_mm = np.maximum(generator.gamma(0.4, 8.0, shape) - 1.0, 0.0)
    values = np.stack([generator.normal(290.0, 5.0, shape), rain_mm], axis=1)
    return CycleInput(REFERENCE_TIME, leads_hours, CHANNELS, values.astype(np.float32))


def sample_probabilities(leads: int = 3) -> NDArray[np.float32]:
    """(lead, class, y, x), from a softmax in float32, certain and undecided cells among them."""
    logits = np.random.default_rng(12).normal(0.0, 4.0, (leads, 3, WINDOW.ny, WINDOW.nx)).astype(np.float32)
    logits[:, 1, 0, 0] = 200.0
    logits[:, :, 0, 1] = 0.0
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def sample_product(target: GridDefinition = QPE) -> xr.Dataset:
    """A product with all its leads."""
    return build_product(sample_cycle(), sample_probabilities(), sample_manifest(target), PROVENANCE)
