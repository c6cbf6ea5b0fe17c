"""Durable jobs: what was accepted is done once, whatever happens to the process in between.

A job is a DBOS workflow whose identity is the job's key, so that the same submission is the same workflow.
Its stages are checkpointed steps: after a crash the workflow goes on behind the last one that ended. Small
results are kept in the job database, arrays in the job's folder.

Faults of the input are results (a problem document): they would come again. Faults of the service end the
workflow with an error; submitting the files again then runs the job again.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import shutil
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from dbos import DBOS, DBOSPortableJSONSerializer, SetWorkflowID

from service.durability import sync
from service.errors import NotFound, RainpostError, SettingsError, WorkerDied
from service.logs import log_subject
from service.metrics import Metrics
from service.problems import Problem, internal_problem, problem_of
from service.settings import Settings
from service.stages import INPUTS, Stages, Task
from service.store import Store
from service.times import parse_time
from service.worker import Workers

_logger = logging.getLogger(__name__)

State = Literal["queued", "running", "succeeded", "failed"]

_WORKFLOW_VERSION: Final = "2"
"""Raised when the steps change: a workflow is only resumed by the version that began it."""
_QUEUE: Final = "cycles"
_QUEUE_POLL_SECONDS: Final = 0.1
_WAIT_POLL_SECONDS: Final = 0.05
_ATTEMPTS: Final = 5
"""How often a job may take the service down before it is given up."""
_JOB_STAGES: Final = ("decode", "infer", "publish", "verify")
_STATES: Final[dict[str, State]] = {"ENQUEUED": "queued", "DELAYED": "queued", "PENDING": "running"}


@dataclass(frozen=True)
class Job:
    """A job as it stands.

    stage: decode, infer, publish or verify while it is running. reference_time and revision: of the product,
    once it succeeded. problem: once it failed.
    """

    id: str
    state: State
    stage: str | None
    task: Task
    created: datetime
    updated: datetime
    reference_time: str | None = None
    revision: int | None = None
    problem: Problem | None = None

    @property
    def finished(self) -> bool:
        """Whether the state is the last one."""
        return self.state in {"succeeded", "failed"}


class Jobs:
    """The queue of one process. DBOS is one per process, so at most one of these may be started."""

    _started: Jobs | None = None

    def __init__(
        self, settings: Settings, stages: Stages, store: Store, metrics: Metrics, workers: Workers
    ) -> None:
        self._settings = settings
        self._stages = stages
        self._store = store
        self._metrics = metrics
        self._workers = workers
        self._submitting = threading.Lock()
        self._lock_file: BinaryIO | None = None
        self._running: set[str] = set()
        self._stopping = False
        self._workflow: Callable[[str, dict[str, Any]], dict[str, Any]]

    def start(self) -> None:
        """Open the database, resume what was interrupted and begin to work. Raises ``SettingsError``."""
        if Jobs._started is self:
            return
        if Jobs._started is not None:
            raise RuntimeError("a process runs one service at a time")
        self._lock_folder()
        Jobs._started = self
        try:
            self._launch()
        except Exception as error:
            self.stop()
            raise SettingsError(
                "the job database cannot be opened",
                where="RAINPOST_DATABASE_URL",
                got=type(error).__name__,
                advice="the log says more; check that the database is there and can be written",
            ) from error
        self.sweep()

    def stop(self) -> None:
        """Wait for running jobs within the grace time; what is not done goes on at the next start."""
        if Jobs._started is not self:
            return
        self._stopping = True
        try:
            grace = self._settings.shutdown_grace_seconds if self._running else 0
            DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=grace)
        finally:
            self._workers.close()
            Jobs._started = None
            if self._lock_file is not None:
                self._lock_file.close()

    def check(self) -> str:
        """Why jobs cannot be taken, or nothing."""
        if Jobs._started is not self:
            return "the queue is not started"
        DBOS.list_workflows(limit=1, load_input=False, load_output=False)
        return ""

    def submit(self, task: Task, uploads: Path | None = None) -> Job:
        """Queue a task, or find the job that it is already. Takes over or removes the folder ``uploads``.

        A job that failed for a fault of the service, or whose product is gone, runs again.
        """
        job_id = task.submission.key(task.model.manifest_sha256)
        with self._submitting:
            known = self._find(job_id)
            if known is not None and not self._runs_again(known):
                if uploads is not None:
                    shutil.rmtree(uploads, ignore_errors=True)
                self._metrics.count_submission(new=False)
                return known
            if uploads is not None:
                self._take_uploads(job_id, uploads)
            if known is not None:
                DBOS.delete_workflow(job_id)
            with SetWorkflowID(job_id):
                DBOS.enqueue_workflow(_QUEUE, self._workflow, job_id, task.model_dump(mode="json"))
            self._metrics.count_submission(new=True)
        return self.get(job_id)

    def get(self, job_id: str) -> Job:
        """A job by its id. Raises ``NotFound``."""
        job = self._find(job_id)
        if job is None:
            raise NotFound("no such job", where=job_id[:80])
        return job

    def unfinished(self) -> list[tuple[State, datetime]]:
        """State and time of acceptance of every job that is queued or running, of all processes."""
        found = DBOS.list_workflows(status=list(_STATES), load_input=False, load_output=False)
        return [(_STATES[one.status], _moment(one.created_at)) for one in found]

    async def wait(
        self, job_id: str, seconds: float, abandoned: Callable[[], Awaitable[bool]] | None = None
    ) -> Job:
        """The job when it is finished, or as it stands after so many seconds or when nobody waits."""
        deadline = time.monotonic() + seconds
        while True:
            job = await asyncio.to_thread(self.get, job_id)
            left = deadline - time.monotonic()
            if job.finished or left <= 0 or (abandoned is not None and await abandoned()):
                return job
            await asyncio.sleep(min(_WAIT_POLL_SECONDS, left))

    def sweep(self) -> None:
        """Remove the files of failed jobs that are older than the retention."""
        oldest = time.time() - 3600 * self._settings.failed_retention_hours
        # A submission has its files in place before its job is known.
        with self._submitting:
            for folder in self._stages.folders():
                try:
                    old = folder.stat().st_mtime <= oldest
                except FileNotFoundError:
                    continue
                job = self._find(folder.name) if old else None
                if old and (job is None or job.finished):
                    _logger.info("removing the files of job %s, older than the retention", folder.name[:12])
                    shutil.rmtree(folder, ignore_errors=True)

    def _launch(self) -> None:
        # With a handler of its own DBOS lets the service's handlers do the rest.
        dbos_logger = logging.getLogger("dbos")
        if not dbos_logger.handlers:
            dbos_logger.addHandler(logging.NullHandler())
        DBOS(
            config={
                "name": "rainpost",
                "system_database_url": self._settings.job_database_url,
                "application_version": _WORKFLOW_VERSION,
                "log_level": "WARNING",
                "serializer": DBOSPortableJSONSerializer(),
            }
        )

        @DBOS.workflow(name="correct", max_recovery_attempts=_ATTEMPTS)
        def correct(job_id: str, document: dict[str, Any]) -> dict[str, Any]:
            return self._correct(job_id, document)

        self._workflow = correct
        DBOS.launch()
        DBOS.register_queue(
            _QUEUE,
            worker_concurrency=self._settings.jobs_at_once,
            polling_interval_sec=_QUEUE_POLL_SECONDS,
            on_conflict="always_update",
        )

    def _correct(self, job_id: str, document: dict[str, Any]) -> dict[str, Any]:
        """The workflow. Its result is ``{"reference_time", "revision"}`` or ``{"problem"}``."""
        task = Task.model_validate(document)
        self._running.add(job_id)
        with log_subject(job=job_id[:12]):
            _logger.info("correcting %d files", len(task.submission.inputs))
            try:
                result = self._run_stages(job_id, task)
            except Exception:
                # DBOS keeps the error; here it is counted, and logged where the service reads its logs. After
                # a stop it is only the end of this process's part: the job goes on at the next start.
                if not self._stopping:
                    _logger.exception("the job failed for a fault of the service")
                    self._metrics.count_job("failed", "internal-error")
                raise
            finally:
                self._running.discard(job_id)
            self._finish(job_id, result)
            return result

    def _finish(self, job_id: str, result: dict[str, Any]) -> None:
        if "problem" in result:
            _logger.warning("the job failed: %s", result["problem"]["detail"])
            self._metrics.count_job("failed", result["problem"]["reason"])
            self._stages.remove_results(job_id)
        else:
            _logger.info("published %s revision %d", result["reference_time"], result["revision"])
            self._metrics.count_job("succeeded")
            self._stages.remove(job_id)
        self.sweep()

    def _run_stages(self, job_id: str, task: Task) -> dict[str, Any]:
        decoded = _step("decode", lambda: self._stages.decode(job_id, task))
        if "problem" in decoded:
            return decoded
        with log_subject(cycle=decoded["value"]):
            inferred = _step("infer", lambda: self._stages.infer(job_id))
            if "problem" in inferred:
                return inferred
            published = _step("publish", lambda: self._publish(job_id, task))
            if "problem" in published:
                return published
            _step("verify", lambda: self._verify(**published["value"]))
            return dict(published["value"])

    def _publish(self, job_id: str, task: Task) -> dict[str, Any]:
        record = self._stages.publish(job_id, task)
        return {"reference_time": record.reference_time, "revision": record.revision}

    def _verify(self, reference_time: str, revision: int) -> None:
        try:
            self._stages.verify(reference_time, revision)
        except Exception:
            # A product stays published whatever becomes of its verification, which the next start takes up.
            _logger.exception("the product could not be compared with observations")

    def _find(self, job_id: str) -> Job | None:
        status = DBOS.get_workflow_status(job_id)
        if status is None or status.input is None:
            return None
        state: State = _STATES.get(status.status, "failed")
        result: dict[str, Any] = {}
        if status.status == "SUCCESS":
            result = dict(status.output or {})
            state = "failed" if "problem" in result else "succeeded"
        elif state == "failed":
            result = {"problem": _internal_fault(status.status).model_dump()}
        problem = Problem.model_validate(result["problem"]) if "problem" in result else None
        return Job(
            id=job_id,
            state=state,
            stage=_stage_of(job_id) if state == "running" else None,
            task=Task.model_validate(status.input["args"][1]),
            created=_moment(status.created_at),
            updated=_moment(status.updated_at),
            reference_time=result.get("reference_time"),
            revision=result.get("revision"),
            problem=problem and problem.model_copy(update={"instance": f"/jobs/{job_id}"}),
        )

    def _runs_again(self, job: Job) -> bool:
        if job.state == "failed" and job.problem is not None:
            return job.problem.status >= 500 or job.problem.reason == WorkerDied.reason
        if job.state == "succeeded" and job.reference_time is not None:
            revisions = self._store.revisions(parse_time(job.reference_time))
            return job.revision not in {record.revision for record in revisions}
        return False

    def _take_uploads(self, job_id: str, uploads: Path) -> None:
        """Move the files into the job's folder. Those that are there have the same content: they stay."""
        inputs = self._stages.folder(job_id) / INPUTS
        if inputs.exists():
            shutil.rmtree(uploads, ignore_errors=True)
            return
        inputs.parent.mkdir(parents=True, exist_ok=True)
        uploads.rename(inputs)
        sync(inputs.parent)

    def _lock_folder(self) -> None:
        folder = self._settings.data_folder
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise SettingsError(
                "another service process uses this data folder",
                where="RAINPOST_DATA_FOLDER",
                got=str(folder),
                advice="stop the other process or give this one a folder of its own",
            ) from error
        self._lock_file = file


def _step(name: str, function: Callable[[], Any]) -> dict[str, Any]:
    """A checkpointed step; an error of the tree is its result, as a problem document."""

    def guarded() -> dict[str, Any]:
        try:
            return {"value": function()}
        except RainpostError as error:
            return {"problem": problem_of(error).model_dump()}

    return DBOS.run_step({"name": name}, guarded)


def _stage_of(job_id: str) -> str | None:
    done = {step["function_name"] for step in DBOS.list_workflow_steps(job_id)}
    return next((stage for stage in _JOB_STAGES if stage not in done), None)


def _internal_fault(status: str) -> Problem:
    if status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return internal_problem("the service went down each time it worked on this job; check the files")
    return internal_problem("submit the files again to try once more")


def _moment(milliseconds: int | None) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
