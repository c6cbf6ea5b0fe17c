"""The model folder: manifest, checksums, golden case."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.channels import CLASSES, THRESHOLDS_MM
from service.specification import CycleSpecification

Sha256 = str


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Normalisation(_Strict):
    """z = (value - mean) / standard_deviation, in the channel's unit."""

    mean: float
    standard_deviation: float = Field(gt=0)


class Network(_Strict):
    """The graph's signature: input (batch, channel, y, x) of z-scores, output (batch, class, y, x)."""

    architecture: str
    opset: int = 22
    input_name: str = "fields"
    output_name: str = "probabilities"


class Golden(_Strict):
    """An input in physical units and its probabilities, replayed at every start."""

    tolerance: float = Field(gt=0, le=1e-2)


class Training(_Strict):
    """What the model was trained on. ``simulated`` is shown to every user of the product."""

    data: str
    simulated: bool
    statement: str
    samples: int = Field(gt=0)
    commit: str
    seed: int
    command: str


class Score(_Strict):
    """Scores of one system at one threshold over the test split, from counts summed first."""

    system: str
    decision: str
    threshold_mm: float
    csi: float
    f1: float
    precision: float
    recall: float
    frequency_bias: float


class Manifest(_Strict):
    """``manifest.json`` of ``models/<name>-<version>/``."""

    manifest_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    created: datetime
    cycle: CycleSpecification
    normalisation: dict[str, Normalisation]
    classes: tuple[str, ...] = CLASSES
    thresholds_mm: tuple[float, ...] = THRESHOLDS_MM
    decision_thresholds: dict[str, float] = Field(default_factory=dict)
    """Probability of exceeding each threshold (key in mm, as text) from which the event is called, tuned on
    the validation split."""
    network: Network
    golden: Golden
    training: Training
    scores: tuple[Score, ...]
    files: dict[str, Sha256]
    """sha256 of every other file of the folder, by name."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if set(self.normalisation) != set(self.cycle.channels):
            raise ValueError("normalisation must name exactly the channels of the cycle")
        missing = {"model.onnx", "golden.npz", "MODEL_CARD.md"} - set(self.files)
        if missing:
            raise ValueError(f"files lacks {sorted(missing)}")
        return self
