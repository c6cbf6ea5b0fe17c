"""The JSON documents that the service answers with."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from service.artefact import Artefact, Score
from service.jobs import Job
from service.problems import Problem
from service.store import InputIdentity, ModelIdentity, Record


class JobDocument(BaseModel):
    """A job. It is finished in the states ``succeeded`` and ``failed``."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed"]
    stage: str | None = Field(description="decode, infer or publish, while the job is running.")
    declared_reference_time: str | None = Field(description="The reference time that the sender gave.")
    model: ModelIdentity
    inputs: tuple[InputIdentity, ...]
    created: datetime
    updated: datetime
    reference_time: str | None = Field(description="The cycle of the product, once there is one.")
    revision: int | None
    product: str | None = Field(description="Where the product is, once there is one.")
    problem: Problem | None = Field(description="Why the job failed, if it did.")


class RevisionDocument(BaseModel):
    """A published product. sha256 and size_bytes are those of its NetCDF file."""

    revision: int
    created: datetime
    product: str
    sha256: str
    size_bytes: int
    leads_hours: tuple[int, ...]
    model: ModelIdentity
    inputs: tuple[InputIdentity, ...]


class CycleDocument(BaseModel):
    """A cycle with its revisions, the newest last; ``product`` is that of the newest."""

    reference_time: str
    product: str
    revisions: tuple[RevisionDocument, ...]


class CycleSummary(BaseModel):
    """One cycle of the list."""

    reference_time: str
    cycle: str = Field(description="Where the cycle's document is.")


class CyclesDocument(BaseModel):
    """Published cycles, newest first."""

    cycles: tuple[CycleSummary, ...]


class ModelDocument(BaseModel):
    """An installed model. ``problem`` says why its manifest cannot be used; the rest is then empty."""

    folder: str
    loaded: bool = Field(description="Whether this is the model that answers.")
    provider: str | None = Field(default=None, description="Where it runs, if it is loaded.")
    name: str | None = None
    version: str | None = None
    sha256: str | None = Field(default=None, description="Of model.onnx.")
    source: str | None = Field(default=None, description="The forecast model whose files it takes.")
    leads_hours: tuple[int, ...] = ()
    channels: tuple[str, ...] = ()
    thresholds_mm: tuple[float, ...] = ()
    trained_on: str | None = None
    simulated: bool | None = Field(default=None, description="Whether it was trained on simulated cycles.")
    statement: str | None = None
    scores: tuple[Score, ...] = ()
    problem: Problem | None = None


class ModelsDocument(BaseModel):
    """The models on the shelf."""

    models: tuple[ModelDocument, ...]


class CheckDocument(BaseModel):
    """One condition of readiness."""

    name: str
    passed: bool
    detail: str


class ReadinessDocument(BaseModel):
    """Whether the service can take a job, and why or why not."""

    ready: bool
    checks: tuple[CheckDocument, ...]


class LivenessDocument(BaseModel):
    """The process answers."""

    alive: Literal[True] = True


class VersionDocument(BaseModel):
    """Versions of the service and of what its results depend on."""

    rainpost: str
    model: str
    dependencies: dict[str, str]


def job_document(job: Job) -> JobDocument:
    """A job as it is shown."""
    product = None
    if job.reference_time is not None and job.revision is not None:
        product = product_path(job.reference_time, job.revision)
    return JobDocument(
        id=job.id,
        state=job.state,
        stage=job.stage,
        declared_reference_time=job.task.submission.reference_time,
        model=job.task.model,
        inputs=tuple(one.identity for one in job.task.submission.inputs),
        created=job.created,
        updated=job.updated,
        reference_time=job.reference_time,
        revision=job.revision,
        product=product,
        problem=job.problem,
    )


def cycle_document(reference_time: str, records: list[Record]) -> CycleDocument:
    """A cycle as it is shown. records: at least one, oldest revision first."""
    return CycleDocument(
        reference_time=reference_time,
        product=f"/cycles/{reference_time}/product",
        revisions=tuple(
            RevisionDocument(
                revision=record.revision,
                created=record.created,
                product=product_path(reference_time, record.revision),
                sha256=record.sha256,
                size_bytes=record.size_bytes,
                leads_hours=record.origin.leads_hours,
                model=record.origin.model,
                inputs=record.origin.inputs,
            )
            for record in records
        ),
    )


def model_document(artefact: Artefact, *, loaded: bool, provider: str | None) -> ModelDocument:
    """A model as it is shown."""
    manifest = artefact.manifest
    return ModelDocument(
        folder=artefact.folder.name,
        loaded=loaded,
        provider=provider,
        name=manifest.name,
        version=manifest.version,
        sha256=artefact.model_sha256,
        source=manifest.cycle.source.name,
        leads_hours=manifest.cycle.leads_hours,
        channels=manifest.cycle.channels,
        thresholds_mm=manifest.thresholds_mm,
        trained_on=manifest.training.data,
        simulated=manifest.training.simulated,
        statement=manifest.training.statement,
        scores=manifest.scores,
    )


def product_path(reference_time: str, revision: int) -> str:
    """Where a revision's product is: a path that will never mean anything else."""
    return f"/cycles/{reference_time}/product?revision={revision}"
