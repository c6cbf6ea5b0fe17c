"""The shadow model on every published cycle: durable, behind the cycles, and of no consequence to them.

::

    work/shadows/<job>-<model>/task.json   what the job that published the cycle had to do, and the shadow
                               cycle.npz   the decoded cycle, if the shadow asks the same of the files
                               inputs/     otherwise the uploaded files

A job that has published hands its folder over, in one rename; the folder is there until the shadow is
through with it. From it follows a workflow in a queue of its own, whose identity is the folder's name: a
kill at any moment leads to one product of the shadow, and one score.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from dbos import DBOS, SetWorkflowID, WorkflowStatus

from service.durability import exclusive, write_durably
from service.errors import QueueFull, RainpostError
from service.logs import log_subject
from service.metrics import Metrics
from service.model_folder import identity_of
from service.models import Models
from service.presence import Presence
from service.settings import Settings
from service.shadow_run import ShadowRun, run_shadow
from service.stages import CYCLE_FILE, INPUTS, Stages, Task
from service.store import ModelIdentity, Store
from service.verification import Verification
from service.worker import Workers

_logger = logging.getLogger(__name__)

_QUEUE: Final = "shadows"
_QUEUE_POLL_SECONDS: Final = 0.5
_CARE_SECONDS: Final = 5.0
_ATTEMPTS: Final = 3
"""How often a run may take the service down before it is given up."""
_TASK: Final = "task.json"
_UNFINISHED: Final = {"ENQUEUED", "DELAYED", "PENDING"}


class ShadowJobs:
    """Takes cycles over from the jobs that published them, and runs the shadow on each once."""

    def __init__(
        self,
        settings: Settings,
        presence: Presence,
        models: Models,
        stages: Stages,
        store: Store,
        verification: Verification,
        metrics: Metrics,
        workers: Workers,
    ) -> None:
        self._settings = settings
        self._presence = presence
        self._models = models
        self._stages = stages
        self._store = store
        self._verification = verification
        self._metrics = metrics
        self._workers = workers
        work = settings.data_folder / "work"
        self._folder = work / "shadows"
        self._locks_folder = work / "locks"
        self._version = ""
        self._registered: Callable[[str], str]
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._carer = threading.Thread(target=self._care, name="shadow-care", daemon=True)

    def register(self, version: str) -> None:
        """Make the workflow known, before DBOS is launched. version: of the workflows of the service."""
        self._version = version

        @DBOS.workflow(name="shadow", max_recovery_attempts=_ATTEMPTS)
        def shadow(shadow_id: str) -> str:
            return self._run(shadow_id)

        self._registered = shadow

    def open(self) -> None:
        """Begin to run, after DBOS was launched."""
        self._folder.mkdir(parents=True, exist_ok=True)
        DBOS.register_queue(
            _QUEUE,
            worker_concurrency=1,
            polling_interval_sec=_QUEUE_POLL_SECONDS,
            on_conflict="always_update",
        )
        self._wake.set()
        self._carer.start()

    def stop(self) -> None:
        """End; what is not done goes on at the next start."""
        self._stopping.set()
        self._wake.set()
        if self._carer.is_alive():
            self._carer.join()

    def waiting(self) -> list[Path]:
        """The folders of all cycles that the shadow is not through with."""
        return sorted(path for path in self._folder.glob("*-*") if path.is_dir())

    def take_over(self, job: str, task: Task) -> None:
        """Move the folder of a job that has published, if a shadow is to run; never raises."""
        source, shadow = self._stages.folder(job), task.shadow
        if shadow is None or not source.exists():
            return
        try:
            self._models.refresh()
            if not self._is_wanted(shadow):
                self._metrics.count_shadow("dropped")
            elif len(self.waiting()) >= self._settings.max_queued_jobs:
                _logger.warning("too many cycles wait for the shadow %s: it misses this one", shadow.name)
                self._metrics.count_shadow("failed", QueueFull.reason)
            else:
                self._take_over(source, task, shadow)
                self._wake.set()
        except Exception:
            # The cycle is published; what becomes of its shadow must not touch it.
            _logger.exception("the cycle could not be handed to the shadow")
            self._metrics.count_shadow("failed", RainpostError.reason)

    def _take_over(self, source: Path, task: Task, shadow: ModelIdentity) -> None:
        target = self._folder / f"{source.name}-{shadow.manifest_sha256[:12]}"
        if target.exists():
            return
        for name in [CYCLE_FILE] if self._reads_differently(task) else [INPUTS]:
            path = source / name
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        write_durably(source / _TASK, lambda path: path.write_text(task.model_dump_json()))
        source.rename(target)

    def _reads_differently(self, task: Task) -> bool:
        """Whether the shadow asks other things of the files than the model that published."""
        shadow = self._models.shadow
        published = self._models.inference(task.model).artefact.manifest
        return shadow is None or shadow.manifest.cycle != published.cycle

    def _is_wanted(self, shadow: ModelIdentity) -> bool:
        artefact = self._models.shadow
        return artefact is not None and identity_of(artefact) == shadow

    def _care(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(_CARE_SECONDS)
            self._wake.clear()
            if self._stopping.is_set():
                return
            try:
                self.tend()
            except Exception:
                # Above all a database that does not answer for a while.
                _logger.exception("the shadow could not be looked after; the next round tries again")

    def tend(self) -> None:
        """Queue what waits, and drop what is done or was given up."""
        with exclusive(self._folder / ".lock"):
            folders = {folder.name: folder for folder in self.waiting()}
            found = (
                DBOS.list_workflows(workflow_ids=list(folders), load_input=False, load_output=False)
                if folders
                else []
            )
            known = {status.workflow_id: status for status in found}
            for shadow_id, folder in folders.items():
                status = known.get(shadow_id)
                if status is not None and status.status not in _UNFINISHED:
                    self._drop(folder, status)
                    continue
                if status is not None and self._is_left_behind(status):
                    # The steps of another version are not ours: the folder is all that counts.
                    DBOS.delete_workflow(shadow_id)
                    status = None
                if status is None:
                    with SetWorkflowID(shadow_id):
                        DBOS.enqueue_workflow(_QUEUE, self._registered, shadow_id)

    def _drop(self, folder: Path, status: WorkflowStatus) -> None:
        if status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
            _logger.error("the service went down each time the shadow ran on %s: given up", folder.name)
            self._metrics.count_shadow("failed", RainpostError.reason)
        shutil.rmtree(folder, ignore_errors=True)

    def _is_left_behind(self, status: WorkflowStatus) -> bool:
        if status.app_version in {None, self._version}:
            return False
        owner = status.executor_id
        gone = owner in {None, self._presence.id} or not self._presence.is_alive(str(owner))
        return status.status != "PENDING" or gone

    def _run(self, shadow_id: str) -> str:
        """Run the shadow on one cycle; how that ended."""
        self._locks_folder.mkdir(parents=True, exist_ok=True)
        with (
            exclusive(self._locks_folder / shadow_id, remove=True),
            log_subject(job=shadow_id[:12], shadow=shadow_id.rpartition("-")[2]),
        ):
            try:
                result = DBOS.run_step({"name": "shadow"}, lambda: self.run_once(shadow_id))
            except Exception:
                # After a stop it goes on at the next start.
                if not self._stopping.is_set():
                    _logger.exception("the shadow failed for a fault of the service")
                    self._metrics.count_shadow("failed", RainpostError.reason)
                    shutil.rmtree(self._folder / shadow_id, ignore_errors=True)
                raise
            outcome, reason, message = result["outcome"], result["reason"], result["message"]
            _logger.log(logging.WARNING if outcome == "failed" else logging.INFO, "%s", message)
            self._metrics.count_shadow(outcome, reason)
            shutil.rmtree(self._folder / shadow_id, ignore_errors=True)
            return str(outcome)

    def run_once(self, shadow_id: str) -> dict[str, Any]:
        """Run the shadow and score it; outcome, reason and message. May be called again after a kill."""
        folder = self._folder / shadow_id
        task = Task.model_validate_json((folder / _TASK).read_text())
        self._models.refresh()
        if task.shadow is None or not self._is_wanted(task.shadow):
            return _result("dropped", "", "the shadow has ended: it does not run on this cycle")
        run = ShadowRun(
            folder,
            task,
            task.shadow,
            self._settings.models_folder,
            self._settings.provider,
            self._settings.data_folder / "weights",
            self._store.folder,
        )
        try:
            with self._metrics.time_stage("shadow"):
                record = self._workers.run(run_shadow, run)
        except RainpostError as error:
            return _result("failed", error.reason, f"the shadow failed: {error}")
        try:
            self._verification.match_product(record, "shadow")
        except Exception:
            # As for what is published: the next start takes it up.
            _logger.exception("the product of the shadow could not be compared with observations")
        return _result("succeeded", "", f"the shadow has corrected {record.reference_time}")


def _result(outcome: str, reason: str, message: str) -> dict[str, Any]:
    return {"outcome": outcome, "reason": reason, "message": message}
