"""The workflow of a job: checkpointed steps, each done once whatever happens to the process in between.

Faults of the input are results (a problem document): they would come again. Faults of the service end the
workflow with an error; submitting the files again then runs the job again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dbos import DBOS
from dbos import error as dbos_error

from service.announcer import Announcer
from service.cycle_index import CycleIndex
from service.durability import exclusive
from service.errors import GateRefused, InferenceError, RainpostError
from service.job import CYCLE, Call
from service.logs import log_subject
from service.metrics import Metrics
from service.problems import Problem, internal_problem, problem_of
from service.shadow_jobs import ShadowJobs
from service.stages import Stages, Task
from service.times import parse_time
from service.tracing import Span, Tracing

_logger = logging.getLogger(__name__)


@dataclass
class _Run:
    """A job at work. cycle: the reference time of its files in ISO 8601, once it is declared or read."""

    job_id: str
    task: Task
    call: Call
    cycle: str | None

    @property
    def subject(self) -> dict[str, str]:
        """What its log lines are about."""
        cycle = {} if self.cycle is None else {"cycle": self.cycle}
        return {"job": self.job_id[:12]} | cycle


class Workflow:
    """Runs jobs; several at the same time, and each by one process and one thread at a time.

    locks_folder: where the lock of every job at work is held. Who takes over a job from a process that lost
    it, or runs a cancelled one anew, waits there until the other has let go of the job's folder.
    """

    def __init__(
        self,
        stages: Stages,
        shadows: ShadowJobs,
        metrics: Metrics,
        announcer: Announcer,
        tracing: Tracing,
        index: CycleIndex,
        locks_folder: Path,
    ) -> None:
        self._stages = stages
        self._shadows = shadows
        self._metrics = metrics
        self._announcer = announcer
        self._tracing = tracing
        self._index = index
        self._locks_folder = locks_folder
        self._running: set[str] = set()
        self._stopping = False

    @property
    def busy(self) -> bool:
        """Whether a job is at work in this process."""
        return bool(self._running)

    def stop(self) -> None:
        """From now on an exception is only the end of this process's part."""
        self._stopping = True

    def run(self, job_id: str, task: Task, call: Call) -> dict[str, Any]:
        """Do a task. The result is ``{"reference_time", "revision"}`` or ``{"problem"}``."""
        run = _Run(job_id, task, call, task.submission.reference_time)
        self._locks_folder.mkdir(parents=True, exist_ok=True)
        with (
            exclusive(self._locks_folder / job_id, remove=True),
            log_subject(**run.subject),
            self._tracing.span("cycle", "consumer", parent=call.traceparent) as span,
        ):
            span.add({"rainpost.job": job_id})
            self._running.add(job_id)
            try:
                result = self._work(run)
            finally:
                self._running.discard(job_id)
                self._stages.let_go(job_id)
            self._describe(span, run, result)
            with log_subject(**run.subject):
                self._finish(run, result)
            return result

    def _work(self, run: _Run) -> dict[str, Any]:
        _logger.info("correcting %d files", len(run.task.submission.inputs))
        try:
            return self._run_steps(run)
        except dbos_error.DBOSWorkflowCancelledError:
            _logger.info("the job was cancelled")
            self._metrics.count_job("cancelled")
            raise
        except Exception:
            # DBOS keeps the error; here it is counted, and logged where the service reads its logs. After a
            # stop the job goes on at the next start.
            if not self._stopping:
                with log_subject(**run.subject):
                    _logger.exception("the job failed for a fault of the service")
                self._metrics.count_job("failed", "internal-error")
                self._announce_failure(run, internal_problem("submit the files again to try once more"))
            raise

    @staticmethod
    def _describe(span: Span, run: _Run, result: dict[str, Any]) -> None:
        if run.cycle is not None:
            span.add({"rainpost.cycle": run.cycle})
        if "problem" in result:
            span.fail(result["problem"]["reason"])

    def _finish(self, run: _Run, result: dict[str, Any]) -> None:
        if "problem" in result:
            _logger.warning("the job failed: %s", result["problem"]["detail"])
            self._metrics.count_job("failed", result["problem"]["reason"])
            self._announce_failure(run, Problem.model_validate(result["problem"]))
            self._stages.remove_results(run.job_id)
        else:
            _logger.info("published %s revision %d", result["reference_time"], result["revision"])
            self._metrics.count_job("succeeded")
            self._shadows.take_over(run.job_id, run.task)
            self._stages.remove(run.job_id)

    def _announce_failure(self, run: _Run, problem: Problem) -> None:
        if run.cycle is not None:
            self._announcer.failed(run.cycle, run.job_id, run.call.run, run.task, problem)

    def _run_steps(self, run: _Run) -> dict[str, Any]:
        job_id, task = run.job_id, run.task
        declared = task.submission.reference_time
        # With an archive of many cycles not all of them are gone through for every job.
        cycles = self._index.cycles(job_id) if declared is None else [parse_time(declared)]
        if (record := self._stages.find_done(job_id, task, cycles)) is not None:
            self._announcer.published(record.reference_time, record.revision)
            return {"reference_time": record.reference_time, "revision": record.revision}
        collected = self._step("collect", lambda: self._stages.collect(job_id, task))
        if "problem" in collected:
            return collected
        decoded = self._step("decode", lambda: self._stages.decode(job_id, task))
        if "problem" in decoded:
            return decoded
        run.cycle = decoded["value"]
        self._index.note(decoded["value"], job_id)
        DBOS.update_workflow_attributes(job_id, {CYCLE: decoded["value"]}, merge=True)
        with log_subject(**run.subject):
            for name, function in (("infer", self._stages.infer), ("check", self._stages.check)):
                done = self._step(name, partial(function, job_id, task))
                if "problem" in done:
                    return self._kept_aside(job_id, task, decoded["value"], done)
            published = self._step("publish", lambda: self._publish(job_id, task))
            if "problem" in published:
                return published
            # No step: told again after a crash, it is known again.
            self._announcer.published(**published["value"])
            self._step("verify", lambda: self._verify(**published["value"]))
            return dict(published["value"])

    def _kept_aside(
        self, job_id: str, task: Task, reference_time: str, result: dict[str, Any]
    ) -> dict[str, Any]:
        problem = Problem.model_validate(result["problem"])
        if problem.reason in {GateRefused.reason, InferenceError.reason}:
            folder = self._stages.keep_aside(job_id, task, reference_time, problem)
            _logger.warning("kept aside in %s", folder)
        return result

    def _publish(self, job_id: str, task: Task) -> dict[str, Any]:
        record = self._stages.publish(job_id, task)
        return {"reference_time": record.reference_time, "revision": record.revision}

    def _verify(self, reference_time: str, revision: int) -> None:
        try:
            self._stages.verify(reference_time, revision)
        except Exception:
            # A product stays published whatever becomes of its verification, which the next start takes up.
            _logger.exception("the product could not be compared with observations")

    def _step(self, name: str, function: Callable[[], Any]) -> dict[str, Any]:
        """A checkpointed step; an error of the tree is its result, as a problem document."""

        def guarded() -> dict[str, Any]:
            with self._tracing.span(name) as span:
                try:
                    return {"value": function()}
                except RainpostError as error:
                    span.fail(error.reason)
                    return {"problem": problem_of(error).model_dump()}

        return DBOS.run_step({"name": name}, guarded)
