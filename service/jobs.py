"""Durable jobs: what was accepted is done once, whatever happens to the process in between.

A job is a DBOS workflow (``service.workflow``) whose identity is the job's key, so that the same submission
is the same workflow. After a crash the workflow goes on behind the last step that ended: in this process at
its next start, or in another one that shares the database and finds this one gone. Small results are kept in
the job database, arrays in the job's folder.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from dbos import (
    DBOS,
    DBOSPortableJSONSerializer,
    SetEnqueueOptions,
    SetWorkflowAttributes,
    SetWorkflowID,
)

from service.adoption import Adoption
from service.announcer import Announcer
from service.cycle_index import CycleIndex
from service.durability import exclusive
from service.errors import Conflict, NotFound, QueueFull, SettingsError
from service.job import (
    CYCLE,
    SOURCE,
    UNFINISHED,
    WORKFLOW,
    Call,
    Job,
    Source,
    State,
    job_of,
    runs_again,
)
from service.job_reader import JobReader
from service.metrics import Metrics
from service.presence import Presence
from service.renewal import Renewal, Renewals
from service.settings import Settings
from service.shadow_jobs import ShadowJobs
from service.stages import Stages, Task
from service.store import Store
from service.tracing import Tracing
from service.worker import Workers
from service.workflow import Workflow

_logger = logging.getLogger(__name__)

_WORKFLOW_VERSION: Final = "4"
"""Raised when the steps change: a workflow is only resumed by the version that began it."""
_QUEUE: Final = "cycles"
_QUEUE_POLL_SECONDS: Final = 0.1
_NOTICE_POLL_SECONDS: Final = 0.1
"""Of notices between workflows, which are not used; but a stop waits for the end of such a pause."""
_WAIT_POLL_SECONDS: Final = 0.05
_CARE_SECONDS: Final = 5.0
"""How often a process looks for jobs that others left undone and for files that are too old."""
_ATTEMPTS: Final = 5
"""How often a job may take the service down before it is given up."""
_GIVEN_UP: Final = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"
_FIRST: Final = 1
"""Priority of what somebody waits for; larger numbers come later."""
_TOO_LATE_TO_CANCEL: Final = ("publish", "verify")


class Jobs:
    """The queue of one process. DBOS is one per process, so at most one of these may be started."""

    _started: Jobs | None = None

    def __init__(
        self,
        settings: Settings,
        presence: Presence,
        stages: Stages,
        shadows: ShadowJobs,
        store: Store,
        metrics: Metrics,
        workers: Workers,
        announcer: Announcer,
        tracing: Tracing,
    ) -> None:
        self._settings = settings
        self._presence = presence
        self._stages = stages
        self._shadows = shadows
        self._store = store
        self._metrics = metrics
        self._workers = workers
        self._tracing = tracing
        work = settings.data_folder / "work"
        self._submission_lock = work / ".submission"
        self._index = CycleIndex(work / "cycles")
        self._renewals = Renewals(work / "renewals")
        self._workflow = Workflow(stages, shadows, metrics, announcer, tracing, self._index, work / "locks")
        self._adoption: Adoption
        self._opened: JobReader | None = None
        self._registered: Callable[[str, dict[str, Any], dict[str, Any]], dict[str, Any]]
        self._stopping = threading.Event()
        self._carer = threading.Thread(target=self._care, name="job-care", daemon=True)

    def start(self) -> None:
        """Open the database, resume what was interrupted and begin to work. Raises ``SettingsError``."""
        if Jobs._started is self:
            return
        if Jobs._started is not None:
            raise RuntimeError("a process runs one service at a time")
        self._presence.enter()
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
        self._carer.start()

    def stop(self) -> None:
        """Wait for running jobs within the grace time; what is not done goes on at the next start."""
        if Jobs._started is not self:
            return
        self._stopping.set()
        self._workflow.stop()
        self._shadows.stop()
        try:
            grace = self._settings.shutdown_grace_seconds if self._workflow.busy else 0
            if self._carer.is_alive():
                self._carer.join()
            DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=grace)
        finally:
            if self._opened is not None:
                self._opened.close()
            # What is at work yet ends here with an exception that DBOS can no longer keep: it goes on at the
            # next start, which sets this level anew.
            logging.getLogger("dbos").setLevel(logging.CRITICAL)
            self._workers.close()
            Jobs._started = None
            self._presence.leave()

    def check(self) -> str:
        """Why jobs cannot be taken, or nothing."""
        if Jobs._started is not self:
            return "the queue is not started"
        self._reader.workflows(limit=1, load_input=False, load_output=False)
        return ""

    def check_room(self) -> None:
        """Raises ``QueueFull`` when as many jobs wait as may."""
        waiting = len(self._reader.workflows(status="ENQUEUED", queue_name=_QUEUE, load_input=False))
        if waiting >= self._settings.max_queued_jobs:
            raise QueueFull(
                "too many jobs wait already",
                expected=f"fewer than {self._settings.max_queued_jobs}",
                got=str(waiting),
                advice="try again later; the operator may raise RAINPOST_MAX_QUEUED_JOBS or "
                "RAINPOST_JOBS_AT_ONCE",
            )

    def submit(
        self,
        task: Task,
        uploads: Path | None = None,
        *,
        source: Source = "request",
        priority: int = _FIRST,
    ) -> Job:
        """Queue a task, or find the job that it is already. Takes over or removes the folder ``uploads``.

        Some that have ended run again (``service.job.runs_again``). Raises ``QueueFull``.
        """
        job_id = self.key(task)
        with self._submitting():
            known = self.find(job_id)
            if known is not None and not runs_again(known, task, self._store):
                if uploads is not None:
                    shutil.rmtree(uploads, ignore_errors=True)
                self._metrics.count_submission(new=False)
                return known
            self.check_room()
            if uploads is not None:
                self._stages.take_uploads(job_id, uploads)
            if known is not None:
                DBOS.delete_workflow(job_id)
            if (declared := task.submission.reference_time) is not None:
                self._index.note(declared, job_id)
            attributes = {CYCLE: declared, SOURCE: source}
            self._enqueue(job_id, task, attributes, priority)
            self._metrics.count_submission(new=True)
            _logger.info("job %s is queued", job_id[:12])
        return self.get(job_id)

    def key(self, task: Task) -> str:
        """The id of the job of a task."""
        return task.submission.key(task.model.manifest_sha256)

    def cancel(self, job_id: str) -> Job:
        """End a job before it publishes; a step that is at work goes to its end. Twice is as once.

        Raises ``NotFound``, and ``Conflict`` for a job that is finished or publishes already.
        """
        with self._submitting():
            job = self.get(job_id)
            if job.state == "cancelled":
                return job
            if job.finished or job.stage in _TOO_LATE_TO_CANCEL:
                raise Conflict(
                    "it is too late to cancel the job",
                    where=f"/jobs/{job_id}",
                    expected="a job that has not begun to publish",
                    got=job.state if job.finished else f"stage {job.stage}",
                )
            DBOS.cancel_workflow(job_id)
            if job.state == "queued":
                self._metrics.count_job("cancelled")
                self._stages.remove(job_id)
        return self.get(job_id)

    def get(self, job_id: str) -> Job:
        """A job by its id, with the times of its stages. Raises ``NotFound``."""
        job = self.find(job_id, with_stages=True)
        if job is None:
            raise NotFound("no such job", where=job_id[:80])
        return job

    def find(self, job_id: str, *, with_stages: bool = False) -> Job | None:
        """A job by its id, if there is one."""
        if not job_id.isprintable():
            # PostgreSQL takes no text with a null character.
            return None
        return self._reader.find(job_id, with_stages=with_stages)

    def of_cycle(self, reference_time: str) -> list[Job]:
        """The last jobs whose files are, or are said to be, of a cycle (in ISO 8601), newest first."""
        return self._reader.of_cycle(reference_time, with_stages=True)

    def since(self, moment: str) -> list[Job]:
        """Jobs that came in after a moment (in ISO 8601), and all that are not finished, newest first."""
        return self._reader.since(moment)

    def given_up(self, moment: str) -> list[Job]:
        """Jobs that came in after a moment (in ISO 8601) and took the service down once too often."""
        return [job_of(status) for status in self._reader.workflows(status=_GIVEN_UP, start_time=moment)]

    def unfinished(self) -> list[tuple[State, datetime]]:
        """State and time of acceptance of every job that is queued or running, of all processes."""
        found = [job_of(status) for status in self._reader.workflows(status=UNFINISHED, load_output=False)]
        return [(job.state, job.created) for job in found]

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
        """Remove the files of cancelled jobs, and those of failed ones and what was kept aside when they are
        older than the retention."""
        oldest = time.time() - 3600 * self._settings.failed_retention_hours
        # A submission has its files in place before its job is known.
        with self._submitting():
            folders = {folder.name: folder for folder in self._stages.folders()}
            known = (
                self._reader.workflows(workflow_ids=list(folders), load_input=False, load_output=False)
                if folders
                else []
            )
            states = {status.workflow_id: status.status for status in known}
            for job_id, folder in folders.items():
                state = states.get(job_id)
                if state == "CANCELLED" or (state not in UNFINISHED and _is_older(folder, oldest)):
                    _logger.info("removing the files of job %s", job_id[:12])
                    shutil.rmtree(folder, ignore_errors=True)
        for folder in self._stages.kept_aside():
            if _is_older(folder, oldest):
                _logger.info("removing %s, kept aside for longer than the retention", folder)
                shutil.rmtree(folder, ignore_errors=True)

    def adopt(self) -> None:
        """Put back into the queue what is said to be at work and is not."""
        with self._submitting():
            self._adoption.look()
        self._renew_old()

    def _renew_old(self) -> None:
        """Queue anew what another version of the workflow left: its steps are not ours."""
        with self._submitting():
            for status in self._reader.workflows(status=UNFINISHED):
                queued = status.status != "PENDING"
                # Of this process's name, but not of its version: it was the one before.
                owner = status.executor_id
                gone = owner in (None, self._presence.id) or not self._presence.is_alive(str(owner))
                if status.app_version not in {None, _WORKFLOW_VERSION} and (queued or gone) and status.input:
                    _logger.warning("beginning job %s of an older version anew", status.workflow_id[:12])
                    renewal = Renewal(
                        task=Task.model_validate(status.input["args"][1]),
                        attributes=status.attributes or {},
                        priority=status.priority or _FIRST,
                    )
                    self._renewals.note(status.workflow_id, renewal)
                    DBOS.delete_workflow(status.workflow_id)
            for job_id, renewal in self._renewals.left():
                self._enqueue(job_id, renewal.task, renewal.attributes, renewal.priority)
                self._renewals.done(job_id)

    def _enqueue(self, job_id: str, task: Task, attributes: dict[str, Any], priority: int) -> None:
        about = {"rainpost.job": job_id, "rainpost.source": str(attributes.get(SOURCE, ""))}
        with (
            self._tracing.span("enqueue", "producer", attributes=about),
            SetWorkflowID(job_id),
            SetWorkflowAttributes(attributes),
            SetEnqueueOptions(priority=priority),
        ):
            call = Call(run=uuid.uuid4().hex, traceparent=self._tracing.traceparent())
            documents = (task.model_dump(mode="json"), call.model_dump(mode="json"))
            DBOS.enqueue_workflow(_QUEUE, self._registered, job_id, *documents)

    def _launch(self) -> None:
        # With a handler of its own DBOS lets the service's handlers do the rest.
        dbos_logger = logging.getLogger("dbos")
        if not dbos_logger.handlers:
            dbos_logger.addHandler(logging.NullHandler())
        dbos = DBOS(
            config={
                "name": "rainpost",
                "system_database_url": self._settings.job_database_url,
                "application_version": _WORKFLOW_VERSION,
                "executor_id": self._presence.id,
                "log_level": "WARNING",
                "notification_listener_polling_interval_sec": _NOTICE_POLL_SECONDS,
                "serializer": DBOSPortableJSONSerializer(),
            }
        )

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=_ATTEMPTS)
        def correct(job_id: str, document: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
            return self._workflow.run(job_id, Task.model_validate(document), Call.model_validate(call))

        self._registered = correct
        self._shadows.register(_WORKFLOW_VERSION)
        # Not public, and the only one who knows what its threads have in hand.
        at_work = dbos._active_workflows_set.activeList
        DBOS.launch()
        self._opened = reader = JobReader(self._settings.job_database_url, self._index)
        self._adoption = Adoption(self._presence, _WORKFLOW_VERSION, at_work, reader.all_workflows)
        DBOS.register_queue(
            _QUEUE,
            worker_concurrency=self._settings.jobs_at_once,
            polling_interval_sec=_QUEUE_POLL_SECONDS,
            on_conflict="always_update",
        )
        self._shadows.open()

    def _care(self) -> None:
        """What no job does for itself, until the stop."""
        while not self._stopping.wait(_CARE_SECONDS):
            try:
                self.adopt()
                self.sweep()
            except Exception:
                # Above all a database that does not answer for a while.
                _logger.exception("jobs could not be looked after; the next round tries again")

    @property
    def _reader(self) -> JobReader:
        if self._opened is None:
            raise RuntimeError("the queue is not started")
        return self._opened

    @contextmanager
    def _submitting(self) -> Iterator[None]:
        """One process and one thread at a time decides what becomes of jobs."""
        with exclusive(self._submission_lock):
            yield


def _is_older(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime <= moment
    except FileNotFoundError:
        return False
