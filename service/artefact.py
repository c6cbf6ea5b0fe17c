"""The model folder: manifest, checksums, golden case."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.channels import CLASSES, THRESHOLDS_MM
from service.errors import ArtefactError
from service.specification import CycleSpecification

MANIFEST: Final = "manifest.json"
GRAPH: Final = "model.onnx"
GOLDEN: Final = "golden.npz"
CARD: Final = "MODEL_CARD.md"

GOLDEN_INPUT: Final = "values"
"""Name in ``golden.npz``: float32 (lead, channel, y, x) in physical units."""
GOLDEN_OUTPUT: Final = "probabilities"
"""Name in ``golden.npz``: float32 (lead, class, y, x)."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


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
        missing = {GRAPH, GOLDEN, CARD} - set(self.files)
        if missing:
            raise ValueError(f"files lacks {sorted(missing)}")
        return self


@dataclass(frozen=True)
class Artefact:
    """A model folder whose files are those that its manifest lists.

    sha256: digest of the manifest, and so, through its digests, of the whole folder.
    """

    folder: Path
    manifest: Manifest
    sha256: str

    @classmethod
    def load(cls, folder: Path) -> Artefact:
        """Parse the manifest and check every file. Raises ``ArtefactError``."""
        manifest, digest = read_manifest(folder)
        identity = f"{manifest.name}-{manifest.version}"
        if folder.resolve().name != identity:
            raise ArtefactError(
                "the folder is not named after its model",
                where=str(folder),
                expected=identity,
                got=folder.resolve().name,
                advice="rename the folder, or install the model again",
            )
        _check_files(folder, manifest)
        return cls(folder, manifest, digest)

    @property
    def identity(self) -> str:
        """Name and version, which is also the folder's name."""
        return f"{self.manifest.name}-{self.manifest.version}"

    @property
    def model_sha256(self) -> str:
        """Digest of ``model.onnx``."""
        return self.manifest.files[GRAPH]

    @property
    def graph(self) -> Path:
        """``model.onnx``."""
        return self.folder / GRAPH

    def golden(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Input (lead, channel, y, x) in physical units and output (lead, class, y, x) of the golden case.

        Raises ``ArtefactError`` where the case does not have the shapes of the manifest.
        """
        try:
            with np.load(self.folder / GOLDEN, allow_pickle=False) as case:
                values, probabilities = case[GOLDEN_INPUT], case[GOLDEN_OUTPUT]
        except (KeyError, ValueError, zipfile.BadZipFile) as error:
            names = f"arrays {GOLDEN_INPUT} and {GOLDEN_OUTPUT}"
            raise self._bad_golden("it cannot be read", names, str(error)) from error
        window, cycle = self.manifest.cycle.window, self.manifest.cycle
        field = (window.ny, window.nx)
        leads = len(values)
        expected_shapes = ((leads, len(cycle.channels), *field), (leads, len(self.manifest.classes), *field))
        if (values.shape, probabilities.shape) != expected_shapes or leads == 0:
            raise self._bad_golden(
                "shapes are not the manifest's",
                str(expected_shapes),
                str((values.shape, probabilities.shape)),
            )
        return values.astype(np.float32), probabilities.astype(np.float32)

    def replay(self, infer: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> float:
        """Run the golden case; the largest difference found. Raises ``ArtefactError`` above the tolerance."""
        values, expected = self.golden()
        difference = np.abs(infer(values).astype(np.float64) - expected)
        worst = np.unravel_index(int(np.argmax(difference)), difference.shape)
        largest = float(difference[worst])
        tolerance = self.manifest.golden.tolerance
        if not largest <= tolerance:
            raise self._bad_golden(
                "the model does not reproduce its golden case",
                f"probabilities within {tolerance:g}",
                f"a difference of {largest:.3g} at (lead, class, y, x) = {tuple(int(i) for i in worst)}",
            )
        return largest

    def _bad_golden(self, what: str, expected: str, got: str) -> ArtefactError:
        return ArtefactError(
            f"golden case: {what}",
            where=str(self.folder / GOLDEN),
            expected=expected,
            got=got,
            advice="do not use this model with this runtime; export it again or change the runtime",
        )


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """The manifest and its sha256, without a look at the other files. Raises ``ArtefactError``."""
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
        return Manifest.model_validate_json(text), hashlib.sha256(text).hexdigest()
    except OSError as error:
        raise ArtefactError(
            "the manifest cannot be read", where=str(path), got=error.strerror or str(error)
        ) from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'manifest'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ArtefactError("the manifest is not valid", where=str(path), got=faults) from error


def find_models(folder: Path) -> list[Path]:
    """Folders directly below that hold a manifest, by name; what is in them is not checked."""
    return sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))


def digest_file(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(folder: Path) -> dict[str, str]:
    """sha256 of every file of a model folder but the manifest, by name: what the manifest lists."""
    return {path.name: digest_file(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def normalise(values: NDArray[np.float32], manifest: Manifest) -> NDArray[np.float32]:
    """z-scores of (..., channel, y, x) in float32, channel by channel in the manifest's order."""
    constants = [manifest.normalisation[channel] for channel in manifest.cycle.channels]
    mean = np.array([constant.mean for constant in constants], np.float32)[:, None, None]
    deviation = np.array([constant.standard_deviation for constant in constants], np.float32)[:, None, None]
    return (values - mean) / deviation


def _check_files(folder: Path, manifest: Manifest) -> None:
    found = {path.name for path in folder.iterdir()} - {MANIFEST}
    listed = set(manifest.files)
    if found != listed:
        raise ArtefactError(
            "the folder's files are not those of its manifest",
            where=str(folder),
            expected=", ".join(sorted(listed)),
            got=", ".join(sorted(found)),
            advice="install the model again",
        )
    for name, expected in manifest.files.items():
        digest = digest_file(folder / name)
        if digest != expected:
            raise ArtefactError(
                "a file is not the one that the manifest describes",
                where=str(folder / name),
                expected=f"sha256 {expected}",
                got=f"sha256 {digest}",
                advice="install the model again; a published version is never changed",
            )
