"""One cycle through the shadow model: what is done in a process of its own, behind everything else.

A model that nobody has tried yet may crash, leak or take its time. Here it takes nothing from the cycles
that are published but what the operating system has left.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from service.artefact import Artefact
from service.decoding import decode_to_file, load_cycle
from service.errors import ArtefactError
from service.inference import Inference
from service.settings import Provider
from service.stages import CYCLE_FILE, INPUTS, Task, origin_of, write_cycle_product
from service.store import ModelIdentity, Record, Store
from service.summaries import summarise

_NICENESS: Final = 10
_THREADS: Final = 1


@dataclass(frozen=True)
class ShadowRun:
    """What is to be run and where.

    folder: the decoded cycle, or the files of a cycle that the shadow reads in another way than the active
    model. task: of the job that published the cycle. store: folder of the shadow's products.
    """

    folder: Path
    task: Task
    shadow: ModelIdentity
    models_folder: Path
    provider: Provider
    weights_folder: Path
    store: Path


def run_shadow(run: ShadowRun) -> Record:
    """The product of the shadow, stored once however often it is called.

    Raises the errors of ``service.cycle.read_cycle``, ``DigestMismatch``, ``ArtefactError`` and
    ``InferenceError``.
    """
    name = f"{run.shadow.name}-{run.shadow.version}"
    inference = load_shadow(run.models_folder / name, run.provider, run.shadow.manifest_sha256)
    manifest = inference.artefact.manifest
    path = run.folder / CYCLE_FILE
    if not path.exists():
        decode_to_file(
            [one.locate(run.folder / INPUTS) for one in run.task.submission.inputs],
            manifest.cycle.model_dump_json(),
            run.weights_folder,
            run.task.submission.reference_time,
            run.task.minimum_leads,
            path,
        )
    cycle = load_cycle(path)
    probabilities = inference.infer(cycle.values)
    origin = origin_of(cycle, run.task.model_copy(update={"model": run.shadow}))
    return Store(run.store).publish(
        cycle.reference_time,
        origin,
        lambda target, revision: write_cycle_product(
            target, revision, cycle, probabilities, inference, origin
        ),
        summarise(cycle, probabilities, manifest),
    )


@lru_cache(maxsize=1)
def load_shadow(folder: Path, provider: Provider, manifest_sha256: str) -> Inference:
    """The model, proven; one stays loaded. Raises ``ArtefactError`` and ``InferenceError``."""
    _step_back()
    artefact = Artefact.load(folder)
    if artefact.sha256 != manifest_sha256:
        raise ArtefactError(
            "the installed model is not the one that was chosen, though it has its name",
            where=str(folder),
            expected=f"a manifest of sha256 {manifest_sha256}",
            got=f"sha256 {artefact.sha256}",
            advice="a published version is never changed: install the old one again",
        )
    return Inference(artefact, provider, _THREADS)


def prove_shadow(folder: Path, provider: Provider) -> Artefact:
    """Load a model with its files and its golden case checked. Raises ``ArtefactError`` and
    ``InferenceError``.
    """
    # Checked now, whatever was loaded earlier.
    artefact = Artefact.load(folder)
    return load_shadow(folder, provider, artefact.sha256).artefact


@lru_cache(maxsize=1)
def _step_back() -> None:
    """Let everything else on the machine go first; once for this process."""
    os.nice(_NICENESS)
