"""The stages of a job: collect, decode, infer, check, publish, verify. Each leaves its result in its folder.

::

    work/jobs/<job>/inputs/<sha256>/<name>     uploaded files
                    cycle.npz                  the decoded cycle
                    probabilities.npy          the network's output
                    early/                     decoded leads and their probabilities, while others are decoded
                    health.json                what the gate measured
    quarantine/<cycle>/<job>/                  the results of a job that was not published for their sake

The network runs on a lead as soon as it is decoded, while the others are; ``infer`` does what is left. Leads
that were read while the cycle was still arriving lie in ``work/early/<cycle>`` (``service.early_work``).

A stage may run again after a crash: it reads what the stage before it left and replaces its own result.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from service.cycle import CycleInput
from service.decoding import decode_to_file, load_cycle
from service.durability import sync, write_durably
from service.early_inference import EarlyInference
from service.early_results import EarlyResults
from service.errors import ArtefactError, InferenceError, MissingValues
from service.gate import GateLimits, judge, measure
from service.inference import Inference
from service.metrics import Metrics
from service.models import Models
from service.problems import Problem
from service.product import Provenance, build_product, write_product
from service.shelf import NETCDF_LOCK
from service.store import ModelIdentity, Origin, Record, Store
from service.submission import Submission, computation_key
from service.summaries import summarise
from service.times import compact_time, iso_time, parse_time
from service.verification import Verification
from service.versions import rainpost_version
from service.worker import Workers

INPUTS: Final = "inputs"
CYCLE_FILE: Final = "cycle.npz"
EARLY: Final = Path("work/early")
"""In the data folder: what is read of cycles that are still arriving."""

_EARLY: Final = "early"
_PROBABILITIES: Final = "probabilities.npy"
_HEALTH: Final = "health.json"
_PROBLEM: Final = "problem.json"
_PRODUCT: Final = "product.nc"
_SHORT_ID: Final = 12


class Task(BaseModel):
    """What a job is to do: the files, and the model that was active when they were accepted.

    minimum_leads: with how many leads the cycle may be published; None: with all of them and no less.
    shadow: the model that runs on the cycle once it is published, if one is to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    submission: Submission
    model: ModelIdentity
    minimum_leads: int | None = None
    shadow: ModelIdentity | None = None


class Stages:
    """The stages with all that they need; safe to use from several threads for different jobs."""

    def __init__(
        self,
        models: Models,
        store: Store,
        metrics: Metrics,
        workers: Workers,
        verification: Verification,
        *,
        data_folder: Path,
        limits: GateLimits,
    ) -> None:
        self._models = models
        self._store = store
        self._metrics = metrics
        self._workers = workers
        self._verification = verification
        self._limits = limits
        self._jobs_folder = data_folder / "work" / "jobs"
        self._early_folder = data_folder / EARLY
        self._weights_folder = data_folder / "weights"
        self._quarantine_folder = data_folder / "quarantine"
        self._ahead: dict[str, EarlyInference] = {}

    def folder(self, job: str) -> Path:
        """Where a job keeps its files."""
        return self._jobs_folder / job

    def folders(self) -> list[Path]:
        """The folders of all jobs that keep files."""
        return list(self._jobs_folder.glob("*"))

    def take_uploads(self, job: str, uploads: Path) -> None:
        """Move files into the job's folder. Those that are there have the same content: they stay."""
        inputs = self.folder(job) / INPUTS
        if inputs.exists():
            shutil.rmtree(uploads, ignore_errors=True)
            return
        inputs.parent.mkdir(parents=True, exist_ok=True)
        uploads.rename(inputs)
        sync(inputs.parent)

    def kept_aside(self) -> list[Path]:
        """The folders of what was kept aside, one a job."""
        return list(self._quarantine_folder.glob("*/*"))

    def find_done(self, job: str, task: Task, reference_times: Iterable[np.datetime64]) -> Record | None:
        """The product of a job that was done, though its workflow does not know, as after a restore.

        Its files are gone then. reference_times: of the cycles where the product may be.
        """
        if self.folder(job).exists():
            return None
        inputs = tuple(one.identity.sha256 for one in task.submission.inputs)
        for time in reference_times:
            for record in self._store.revisions(time):
                same = tuple(one.sha256 for one in record.origin.inputs) == inputs
                if same and record.origin.model == task.model:
                    return record
        return None

    def collect(self, job: str, task: Task) -> None:
        """See that model and files are those of the submission.

        Raises ``DigestMismatch`` for a file that changed since it was submitted and ``ArtefactError`` for
        a model that is not installed any more.
        """
        with self._metrics.time_stage("collect"):
            # Loaded now, so that a model which is gone is known of before anything else is done.
            self._models.inference(task.model)
            self._locate(job, task)

    def decode(self, job: str, task: Task) -> str:
        """Read the files in a worker process; the reference time that they have, in ISO 8601.

        Raises the errors of ``service.cycle.read_cycle``, ``WorkerDied`` and ``DigestMismatch``.
        """
        folder = self.folder(job)
        folder.mkdir(parents=True, exist_ok=True)
        early = self._early_folders(job, task)
        inference = self._models.inference(task.model)
        ahead = self._ahead[job] = EarlyInference(inference, EarlyResults(*early))
        with self._metrics.time_stage("decode"):
            reference_time = self._workers.run_told(
                lambda report: ahead.begin(report[1]),
                decode_to_file,
                self._locate(job, task),
                inference.artefact.manifest.cycle.model_dump_json(),
                self._weights_folder,
                task.submission.reference_time,
                task.minimum_leads,
                folder / CYCLE_FILE,
                task.submission.inputs,
                early,
            )
            # A file that was written to while it was read gave nobody knows what.
            self._locate(job, task)
        return reference_time

    def infer(self, job: str, task: Task) -> None:
        """Probabilities of the decoded cycle. Raises ``InferenceError``."""
        folder = self.folder(job)
        with self._metrics.time_stage("infer"):
            # After a crash nothing is under way.
            ahead = self._ahead.pop(job, None) or EarlyInference(
                self._models.inference(task.model), EarlyResults(*self._early_folders(job, task))
            )
            probabilities = ahead.infer(load_cycle(folder / CYCLE_FILE).values)
            write_durably(folder / _PROBABILITIES, lambda path: save_array(path, probabilities))

    def check(self, job: str, task: Task) -> None:
        """Measure the cycle and its probabilities. Raises ``GateRefused`` for what must not be published."""
        folder = self.folder(job)
        with self._metrics.time_stage("check"):
            cycle, probabilities = self._results(job)
            manifest = self._models.inference(task.model).artefact.manifest
            health = measure(cycle, probabilities, manifest)
            text = health.model_dump_json(indent=1)
            write_durably(folder / _HEALTH, lambda path: path.write_text(text))
            judge(health, self._limits)

    def publish(self, job: str, task: Task) -> Record:
        """Publish the product of the cycle, once however often it is called."""
        cycle, probabilities = self._results(job)
        origin = origin_of(cycle, task)
        inference = self._models.inference(task.model)
        with self._metrics.time_stage("publish"):
            return self._store.publish(
                cycle.reference_time,
                origin,
                lambda path, revision: write_cycle_product(
                    path, revision, cycle, probabilities, inference, origin
                ),
                summarise(cycle, probabilities, inference.artefact.manifest),
            )

    def verify(self, reference_time: str, revision: int) -> int:
        """Compare a published product with the observations that are there already; how many there are."""
        record = self._store.record(parse_time(reference_time), revision)
        with self._metrics.time_stage("verify"):
            return self._verification.match_product(record)

    def keep_aside(self, job: str, task: Task, reference_time: str, problem: Problem) -> Path:
        """Move what a job left to the quarantine, with the problem and, where it can be written, the product.

        Its folder. May be called again after a crash in between.
        """
        folder = self.folder(job)
        cycle_folder = self._quarantine_folder / compact_time(parse_time(reference_time))
        aside = cycle_folder / job[:_SHORT_ID]
        aside.mkdir(parents=True, exist_ok=True)
        if (folder / CYCLE_FILE).exists() and (folder / _PROBABILITIES).exists():
            with suppress(ArtefactError, InferenceError, MissingValues):
                self._write_product(job, task, aside / _PRODUCT)
        for name in (CYCLE_FILE, _PROBABILITIES, _HEALTH):
            with suppress(FileNotFoundError):
                (folder / name).replace(aside / name)
        text = problem.model_dump_json(indent=1, exclude_defaults=True)
        write_durably(aside / _PROBLEM, lambda path: path.write_text(text))
        return aside

    def remove_results(self, job: str) -> None:
        """Drop what the stages left and keep the inputs, for a look at why the job failed."""
        for name in (CYCLE_FILE, _PROBABILITIES, _HEALTH):
            (self.folder(job) / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder(job) / _EARLY, ignore_errors=True)

    def let_go(self, job: str) -> None:
        """Begin nothing more of what runs ahead of a job."""
        if (ahead := self._ahead.pop(job, None)) is not None:
            ahead.drop()

    def remove(self, job: str) -> None:
        """Drop all files of a job. The rename makes it one step for whoever looks."""
        folder = self.folder(job)
        doomed = folder.with_name(f"{job}.removed")
        shutil.rmtree(doomed, ignore_errors=True)
        if folder.exists():
            folder.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def _early_folders(self, job: str, task: Task) -> list[Path]:
        """Where leads are kept, and where they may have been kept before there was a job."""
        cycle = task.submission.reference_time
        arriving = [] if cycle is None else [self._early_folder / compact_time(parse_time(cycle))]
        return [self.folder(job) / _EARLY, *arriving]

    def _locate(self, job: str, task: Task) -> list[Path]:
        return [one.locate(self.folder(job) / INPUTS) for one in task.submission.inputs]

    def _results(self, job: str) -> tuple[CycleInput, NDArray[np.float32]]:
        folder = self.folder(job)
        return load_cycle(folder / CYCLE_FILE), np.load(folder / _PROBABILITIES, allow_pickle=False)

    def _write_product(self, job: str, task: Task, target: Path) -> None:
        """A product of revision 0, which no published one has."""
        cycle, probabilities = self._results(job)
        origin, inference = origin_of(cycle, task), self._models.inference(task.model)
        write_durably(
            target,
            lambda path: write_cycle_product(path, 0, cycle, probabilities, inference, origin),
        )


def save_array(path: Path, array: NDArray[np.float32]) -> None:
    """As ``numpy.save``, to a file of exactly this name."""
    with path.open("wb") as file:
        np.save(file, array)


def origin_of(cycle: CycleInput, task: Task) -> Origin:
    """Where the product of a decoded cycle comes from."""
    inputs = task.submission.inputs
    return Origin(
        key=computation_key(iso_time(cycle.reference_time), task.model.manifest_sha256, inputs),
        model=task.model,
        inputs=tuple(one.identity for one in inputs),
        leads_hours=cycle.leads_hours,
    )


def write_cycle_product(
    path: Path,
    revision: int,
    cycle: CycleInput,
    probabilities: NDArray[np.float32],
    inference: Inference,
    origin: Origin,
) -> None:
    """Build the product of a corrected cycle and write it."""
    provenance = Provenance(
        model_sha256=origin.model.sha256,
        manifest_sha256=origin.model.manifest_sha256,
        inputs=tuple((one.name, one.sha256) for one in origin.inputs),
        code_version=rainpost_version(),
        provider=inference.runtime_provider,
        revision=revision,
        created=datetime.now(UTC),
    )
    dataset = build_product(cycle, probabilities, inference.artefact.manifest, provenance)
    with NETCDF_LOCK:
        write_product(dataset, path)
