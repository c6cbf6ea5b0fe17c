"""The JSON documents that the service answers with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from service.cycle_states import CycleState
from service.cycle_states import State as CycleStateName
from service.ingest import Outcome, Taken
from service.job import STAGES, Job
from service.job import Source as JobSource
from service.job import State as JobState
from service.problems import Problem
from service.store import InputIdentity, ModelIdentity, Record
from service.times import iso_time


class StageDocument(BaseModel):
    """A stage that ended, well or not."""

    name: str
    started: datetime
    ended: datetime


class JobDocument(BaseModel):
    """A job. It is finished in the states ``succeeded``, ``failed`` and ``cancelled``."""

    id: str
    state: JobState
    source: JobSource = Field(description="Who asked for it.")
    stage: str | None = Field(description=f"{', '.join(STAGES)}; which of them, while the job is running.")
    stages: tuple[StageDocument, ...] = Field(description="Those that ended.")
    cycle: str | None = Field(description="The cycle of the files, once it was declared or read.")
    declared_reference_time: str | None = Field(description="The reference time that the sender gave.")
    model: ModelIdentity
    inputs: tuple[InputIdentity, ...]
    created: datetime
    started: datetime | None = Field(description="When it left the queue.")
    updated: datetime
    reference_time: str | None = Field(description="The cycle of the product, once there is one.")
    revision: int | None
    product: str | None = Field(description="Where the product is, once there is one.")
    problem: Problem | None = Field(description="Why the job failed, if it did.")


class RevisionDocument(BaseModel):
    """A published product. sha256 and size_bytes are those of its NetCDF file."""

    revision: int
    created: datetime
    delay_seconds: float = Field(description="From the reference time to the publication.")
    product: str
    file: str = Field(description="Its NetCDF file alone, under a name that never means another one.")
    sha256: str
    size_bytes: int
    leads_hours: tuple[int, ...]
    model: ModelIdentity
    inputs: tuple[InputIdentity, ...]


class LeadsDocument(BaseModel):
    """Leads, in hours: those of the model, and which of them the newest product has and lacks."""

    expected: tuple[int, ...]
    present: tuple[int, ...]
    missing: tuple[int, ...]


class CycleJobDocument(BaseModel):
    """A job of a cycle, in short."""

    job: str = Field(description="Where the job's document is.")
    state: JobState
    source: JobSource
    created: datetime
    started: datetime | None
    updated: datetime
    stages: tuple[StageDocument, ...]
    revision: int | None
    problem: Problem | None


class CycleDocument(BaseModel):
    """A cycle with its revisions, the newest last; ``product`` and ``leads`` are those of the newest.

    ``published`` and ``partial`` tell of the product, whatever other jobs do. A cycle without one is
    ``running`` while a job is not finished, ``failed`` when its last job failed, ``late`` after its deadline
    and ``expected`` before.
    """

    reference_time: str
    state: CycleStateName
    leads: LeadsDocument
    revision: int | None
    product: str | None
    deadline: str | None = Field(description="When the cycle is late, if the inbox is to get it.")
    revisions: tuple[RevisionDocument, ...]
    jobs: tuple[CycleJobDocument, ...] = Field(description="The last ones, newest first.")


class CycleSummary(BaseModel):
    """One cycle of the list."""

    reference_time: str
    cycle: str = Field(description="Where the cycle's document is.")
    state: CycleStateName
    revision: int | None
    leads: LeadsDocument
    delay_seconds: float | None = Field(description="From the reference time to the first publication.")
    model: str | None = Field(description="Name and version of the model of the newest product.")


class CyclesDocument(BaseModel):
    """Cycles that are published, at work or expected, newest first."""

    cycles: tuple[CycleSummary, ...]


class TakenDocument(BaseModel):
    """What a look at the inbox did for a cycle."""

    reference_time: str
    outcome: Outcome = Field(
        description="absent: no file; unsettled: files are still being written; incomplete: leads are "
        "missing; busy: a job of the cycle is at work; known: nothing new; submitted: a job was queued."
    )
    files: int = Field(description="Settled files that hold the cycle.")
    leads_hours: tuple[int, ...] = Field(description="Leads that they make whole.")
    job: str | None = Field(description="Where the job of these files is, if there is one.")
    cycle: str


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
        source=job.source,
        stage=job.stage,
        stages=_stages(job),
        cycle=job.cycle,
        declared_reference_time=job.task.submission.reference_time,
        model=job.task.model,
        inputs=tuple(one.identity for one in job.task.submission.inputs),
        created=job.created,
        started=job.started,
        updated=job.updated,
        reference_time=job.reference_time,
        revision=job.revision,
        product=product,
        problem=job.problem,
    )


def cycle_document(cycle: CycleState) -> CycleDocument:
    """A cycle as it is shown."""
    reference_time = iso_time(cycle.reference_time)
    return CycleDocument(
        reference_time=reference_time,
        state=cycle.state,
        leads=_leads(cycle),
        revision=cycle.revision,
        product=f"/cycles/{reference_time}/product" if cycle.records else None,
        deadline=None if cycle.deadline is None else iso_time(cycle.deadline),
        revisions=tuple(_revision(record) for record in cycle.records),
        jobs=tuple(_job_of_cycle(job) for job in cycle.jobs),
    )


def cycles_document(cycles: Sequence[CycleState]) -> CyclesDocument:
    """The list of cycles as it is shown."""
    return CyclesDocument(
        cycles=tuple(
            CycleSummary(
                reference_time=iso_time(cycle.reference_time),
                cycle=f"/cycles/{iso_time(cycle.reference_time)}",
                state=cycle.state,
                revision=cycle.revision,
                leads=_leads(cycle),
                delay_seconds=cycle.records[0].delay_seconds if cycle.records else None,
                model=cycle.records[-1].origin.model.identity if cycle.records else None,
            )
            for cycle in cycles
        )
    )


def taken_document(taken: Taken) -> TakenDocument:
    """A look at the inbox as it is shown."""
    reference_time = iso_time(taken.reference_time)
    return TakenDocument(
        reference_time=reference_time,
        outcome=taken.outcome,
        files=taken.files,
        leads_hours=taken.leads_hours,
        job=None if taken.job is None else f"/jobs/{taken.job}",
        cycle=f"/cycles/{reference_time}",
    )


def _leads(cycle: CycleState) -> LeadsDocument:
    return LeadsDocument(
        expected=cycle.expected_leads, present=cycle.present_leads, missing=cycle.missing_leads
    )


def _revision(record: Record) -> RevisionDocument:
    return RevisionDocument(
        revision=record.revision,
        created=record.created,
        delay_seconds=record.delay_seconds,
        product=product_path(record.reference_time, record.revision),
        file=f"/cycles/{record.reference_time}/revisions/{record.revision}.nc",
        sha256=record.sha256,
        size_bytes=record.size_bytes,
        leads_hours=record.origin.leads_hours,
        model=record.origin.model,
        inputs=record.origin.inputs,
    )


def _job_of_cycle(job: Job) -> CycleJobDocument:
    return CycleJobDocument(
        job=f"/jobs/{job.id}",
        state=job.state,
        source=job.source,
        created=job.created,
        started=job.started,
        updated=job.updated,
        stages=_stages(job),
        revision=job.revision,
        problem=job.problem,
    )


def _stages(job: Job) -> tuple[StageDocument, ...]:
    return tuple(StageDocument(name=one.name, started=one.started, ended=one.ended) for one in job.stages)


def product_path(reference_time: str, revision: int) -> str:
    """Where a revision's product is: a path that will never mean anything else."""
    return f"/cycles/{reference_time}/product?revision={revision}"
