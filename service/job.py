"""A job as it stands: what DBOS knows of its workflow, in the words of this service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from dbos import StepInfo, WorkflowStatus
from pydantic import BaseModel

from service.errors import DigestMismatch, GateRefused, MissingChannel, MissingLead, WorkerDied
from service.problems import Problem, internal_problem
from service.stages import Task
from service.store import Store
from service.times import parse_time

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]

Source = Literal["request", "inbox", "backfill"]
"""Who asked for a job."""

STAGES: Final = ("collect", "decode", "infer", "check", "publish", "verify")
"""Names of the checkpointed steps, in their order."""

WORKFLOW: Final = "correct"
"""Name of the workflow of a job."""

UNFINISHED: Final = ["ENQUEUED", "DELAYED", "PENDING"]
"""What DBOS calls the states before the last one."""

CYCLE: Final = "cycle"
SOURCE: Final = "source"
"""Attributes of a workflow: the reference time in ISO 8601, once it is known, and who asked for it."""

_STATES: Final[dict[str, State]] = {
    "ENQUEUED": "queued",
    "DELAYED": "queued",
    "PENDING": "running",
    "CANCELLED": "cancelled",
}


class Call(BaseModel):
    """What a run of a job is begun with, besides its task.

    run: a name that no other run of any job has. traceparent: of what led to it, where that is traced.
    """

    run: str = ""
    traceparent: str | None = None


@dataclass(frozen=True)
class StageTime:
    """A stage that ended, well or not."""

    name: str
    started: datetime
    ended: datetime


@dataclass(frozen=True)
class Job:
    """A job as it stands.

    stage: the one at work while it is running. cycle: reference time of its files, once it was declared or
    read.
    run: the last one of this job.
    reference_time and revision: of the product, once it succeeded. problem: once it failed.
    started: when it left the queue, for the last time if a crash put it back. stages: those that ended; empty
    where they were not asked for.
    """

    id: str
    state: State
    task: Task
    source: Source
    created: datetime
    updated: datetime
    cycle: str | None = None
    started: datetime | None = None
    stage: str | None = None
    stages: tuple[StageTime, ...] = ()
    reference_time: str | None = None
    revision: int | None = None
    problem: Problem | None = None
    run: str = ""

    @property
    def finished(self) -> bool:
        """Whether the state is the last one."""
        return self.state in {"succeeded", "failed", "cancelled"}


def job_of(status: WorkflowStatus, steps: list[StepInfo] | None = None) -> Job:
    """The job of a workflow. steps: those that ended, where they are known."""
    state: State = _STATES.get(status.status, "failed")
    result: dict[str, Any] = {}
    if status.status == "SUCCESS":
        result = dict(status.output or {})
        state = "failed" if "problem" in result else "succeeded"
    elif state == "failed":
        result = {"problem": _internal_fault(status.status).model_dump()}
    problem = Problem.model_validate(result["problem"]) if "problem" in result else None
    attributes = status.attributes or {}
    arguments = status.input["args"] if status.input else ()
    done = [step for step in steps or () if step["function_name"] in STAGES]
    return Job(
        id=status.workflow_id,
        state=state,
        task=Task.model_validate(arguments[1] if arguments else {}),
        source=attributes.get(SOURCE, "request"),
        created=_moment(status.created_at),
        updated=_moment(status.updated_at),
        cycle=result.get("reference_time") or attributes.get(CYCLE),
        started=None if status.dequeued_at is None else _moment(status.dequeued_at),
        stage=_stage_after(done) if state == "running" and steps is not None else None,
        stages=tuple(
            StageTime(
                step["function_name"],
                _moment(step["started_at_epoch_ms"]),
                _moment(step["completed_at_epoch_ms"]),
            )
            for step in done
        ),
        reference_time=result.get("reference_time"),
        revision=result.get("revision"),
        problem=problem and problem.model_copy(update={"instance": f"/jobs/{status.workflow_id}"}),
        run=call_of(arguments).run,
    )


def jobs_since(select: Callable[..., list[WorkflowStatus]], moment: str) -> list[Job]:
    """Jobs that came in after a moment (in ISO 8601), and all that are not finished, newest first.

    select: workflows by DBOS's names of what to look for.
    """
    found = select(start_time=moment) + select(status=UNFINISHED)
    jobs = {status.workflow_id: job_of(status) for status in found}
    return sorted(jobs.values(), key=lambda job: job.created, reverse=True)


def runs_again(known: Job, task: Task, store: Store) -> bool:
    """Whether a task runs again whose job has ended.

    It does where the job was cancelled, failed for a fault of the service, for a file that was touched
    meanwhile or for limits that were changed since, or where its product is gone.
    """
    if known.state == "cancelled":
        return True
    if known.state == "failed" and known.problem is not None:
        # Leads that are missing are no fault of a task that can do without them.
        incomplete = known.problem.reason in {MissingLead.reason, MissingChannel.reason}
        fewer = incomplete and known.task.minimum_leads != task.minimum_leads
        curable = known.problem.reason in {WorkerDied.reason, GateRefused.reason, DigestMismatch.reason}
        return known.problem.status >= 500 or curable or fewer
    if known.state == "succeeded" and known.reference_time is not None:
        revisions = store.revisions(parse_time(known.reference_time))
        return known.revision not in {record.revision for record in revisions}
    return False


def call_of(arguments: Sequence[Any]) -> Call:
    """The third argument of a workflow; those of before there was one have none."""
    return Call.model_validate(arguments[2]) if len(arguments) > 2 else Call()


def _stage_after(done: list[StepInfo]) -> str | None:
    names = {step["function_name"] for step in done}
    return next((stage for stage in STAGES if stage not in names), None)


def _internal_fault(status: str) -> Problem:
    if status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return internal_problem("the service went down each time it worked on this job; check the files")
    return internal_problem("submit the files again to try once more")


def _moment(milliseconds: int | None) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
