"""From the inbox into the queue: which files make a cycle, and when they are submitted.

What is there of a cycle is read before the rest comes (``service.early_work``).

A cycle is submitted when its files have settled and make every lead whole; after its deadline also with the
leads that are there, if they are enough, and again when more come. What was submitted is known by its
content: whoever looks as well, another process or a cron job, does no harm.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import numpy as np

from service.early_work import EarlyWork
from service.errors import InputError, QueueFull, Unavailable, WorkerDied
from service.inbox import Inbox, InboxFile, Look, Settling
from service.job import Job
from service.jobs import Jobs
from service.schedule import Schedule, now_utc
from service.specification import CycleSpecification
from service.stages import Task
from service.store import Store
from service.submission import InputFile, Submission
from service.survey import Survey, survey
from service.times import compact_time, iso_time, parse_time
from service.uploads import safe_name
from service.worker import Workers

_logger = logging.getLogger(__name__)

Outcome = Literal["absent", "unsettled", "incomplete", "busy", "known", "submitted"]
"""No file is there; files are still being written; leads are missing; a job of the cycle is at work; nothing
new since the last job or product; a job was queued."""

Source = Literal["inbox", "backfill"]

_RETRY: Final = timedelta(minutes=5)
"""How long after a fault of the service a cycle is submitted again."""

_FORGOTTEN_SECONDS: Final = 86_400.0
_LONGEST_GOODBYE_SECONDS: Final = 10.0
_FIRST_PRIORITY: Final = 10
_BACKFILL_PRIORITY: Final = 1_000_000
_HIGHEST_PRIORITY: Final = 2**31 - 1


@dataclass(frozen=True)
class Taken:
    """What a look at the inbox did for a cycle.

    files: how many have settled and hold the cycle. leads_hours: those that they make whole. job: the one
    that does, or did, these files.
    """

    reference_time: np.datetime64
    outcome: Outcome
    files: int = 0
    leads_hours: tuple[int, ...] = ()
    job: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be expected from the files that are there."""
        return self.outcome in {"known", "submitted", "busy"}


class Ingest:
    """Looks at an inbox for one cycle at a time; safe to use from several threads.

    specification: of the model that is active when a cycle is looked at.
    folder: where files of an inbox on another machine are kept until their cycle is whole.
    """

    def __init__(
        self,
        inbox: Inbox,
        settling: Settling,
        jobs: Jobs,
        store: Store,
        workers: Workers,
        specification: Callable[[], CycleSpecification],
        task: Callable[[Submission], Task],
        minimum_leads: int | None,
        schedule: Schedule,
        folder: Path,
        early: EarlyWork,
        now: Callable[[], np.datetime64] = now_utc,
    ) -> None:
        self.early = early
        self._inbox = inbox
        self._settling = settling
        self._jobs = jobs
        self._store = store
        self._workers = workers
        self._specification = specification
        self._task = task
        self._minimum_leads = minimum_leads
        self._schedule = schedule
        self._folder = folder
        self._now = now
        self._lock = threading.Lock()
        self._done: dict[np.datetime64, tuple[object, Taken]] = {}
        self._met: dict[np.datetime64, tuple[float, tuple[str, ...]]] = {}

    def clean(self) -> None:
        """Remove what was kept for cycles that are done, or are not looked for any more."""
        open_cycles = self.open_cycles()
        self.early.clean(open_cycles, self._is_busy)
        with self._lock:
            self._forget(frozenset(open_cycles))
        # A backfill keeps its copies in the same place.
        oldest = time.time() - _FORGOTTEN_SECONDS
        for folder in self._folder.glob("*"):
            if parse_time(folder.name) not in open_cycles and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)

    def _forget(self, open_cycles: frozenset[np.datetime64]) -> None:
        """Cycles that are not looked for any more, unless somebody asked for one not long ago."""
        oldest = time.monotonic() - _FORGOTTEN_SECONDS
        for reference_time in [one for one in self._met if one not in open_cycles]:
            asked, paths = self._met[reference_time]
            if asked < oldest:
                self._settling.forget(paths)
                del self._met[reference_time]
                self._done.pop(reference_time, None)

    def open_cycles(self) -> list[np.datetime64]:
        """The cycles that are looked for at present, newest first."""
        return list(self._schedule.open_cycles(self._now()))

    def look(self) -> Look:
        """A look at the inbox, for several cycles."""
        return self._inbox.look()

    def take(
        self, reference_time: np.datetime64, source: Source = "inbox", look: Look | None = None
    ) -> Taken:
        """Submit a cycle if its files allow it. look: a new one where none is given.

        A backfill takes the files as they are, with the leads that are there; it also runs what was published
        by another model. Raises ``QueueFull``, ``Unavailable`` and ``DigestMismatch``.
        """
        with self._lock:
            files = (look or self._inbox.look()).files(reference_time)
            if source == "inbox" and files:
                # An archive is gone through once: nothing of it needs to be remembered.
                self._met[reference_time] = (time.monotonic(), tuple(file.path for file in files))
            settled = [file for file in files if self._has_settled(file, source)]
            impatient = source == "backfill" or self._schedule.is_late(reference_time, self._now())
            if not files:
                # They may have been there: who clears an inbox removes a cycle file by file.
                self.early.forget(reference_time)
                return Taken(reference_time, "absent")
            if not settled or (len(settled) < len(files) and not impatient):
                if settled:
                    self._await_rest(reference_time, settled)
                return Taken(reference_time, "unsettled", files=len(settled))
            view = (impatient, frozenset(file.signature for file in settled))
            if source == "inbox" and (done := self._done_before(reference_time, view)) is not None:
                return done
            if source == "inbox" and self._is_busy(reference_time):
                return Taken(reference_time, "busy", files=len(settled))
            taken = self._submit(reference_time, settled, source, impatient=impatient)
            if source == "inbox":
                self._done[reference_time] = (view, taken)
            return taken

    def _has_settled(self, file: InboxFile, source: Source) -> bool:
        return self._settling.is_old(file) if source == "backfill" else self._settling.has_settled(file)

    def _done_before(self, reference_time: np.datetime64, view: object) -> Taken | None:
        """What the same files came to, unless that was a fault of the service some time ago."""
        known = self._done.get(reference_time)
        if known is None or known[0] != view:
            return None
        taken = known[1]
        job = None if taken.job is None else self._jobs.find(taken.job)
        if job is not None and _failed_by_fault(job) and datetime.now(UTC) - job.updated > _RETRY:
            return None
        return Taken(
            taken.reference_time,
            "known" if taken.outcome == "submitted" else taken.outcome,
            taken.files,
            taken.leads_hours,
            taken.job,
        )

    def _is_busy(self, reference_time: np.datetime64) -> bool:
        return any(not job.finished for job in self._jobs.of_cycle(iso_time(reference_time)))

    def _submit(
        self, reference_time: np.datetime64, settled: list[InboxFile], source: Source, *, impatient: bool
    ) -> Taken:
        folder = self._folder / compact_time(reference_time)
        paths = [self._at_hand(file, folder) for file in settled]
        specification = self._specification()
        found = self._survey(paths, reference_time, specification)
        usable = [path for path, is_usable in zip(paths, found.usable, strict=True) if is_usable]
        leads = found.leads_hours
        every = len(specification.leads_hours)
        if len(leads) < (min(self._minimum_leads or every, every) if impatient else every):
            if source == "inbox":
                self.early.await_rest(reference_time, usable)
            return Taken(reference_time, "incomplete", len(usable), leads)
        inputs = [self._input(path) for path in usable]
        task = self._task(Submission.of(inputs, iso_time(reference_time)))
        if self._is_published(reference_time, task, leads, source):
            shutil.rmtree(folder, ignore_errors=True)
            self.early.forget(reference_time)
            self.early.release(usable)
            return Taken(reference_time, "known", len(usable), leads)
        known = self._jobs.find(self._jobs.key(task))
        job = self._jobs.submit(
            task,
            None if self._inbox.is_local else _as_uploads(folder, task.submission, usable, inputs),
            source=source,
            priority=self._priority(reference_time, source),
        )
        if len(leads) == every:
            shutil.rmtree(folder, ignore_errors=True)
        if source == "inbox":
            self.early.forget(reference_time)
        self.early.release(usable)
        again = known is not None and known.created == job.created
        return Taken(reference_time, "known" if again else "submitted", len(usable), leads, job.id)

    def _at_hand(self, file: InboxFile, folder: Path) -> Path:
        """Where the file lies on this machine, after a copy if need be."""
        if self._inbox.is_local:
            return Path(file.path)
        # Another version of the same file gets another place.
        version = hashlib.sha256(repr(file.signature).encode()).hexdigest()[:16]
        path = folder / version / safe_name(file.name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            copy = path.with_name(f"{path.name}.partial")
            self._inbox.fetch(file, copy)
            copy.replace(path)
        return path

    def _await_rest(self, reference_time: np.datetime64, settled: list[InboxFile]) -> None:
        folder = self._folder / compact_time(reference_time)
        self.early.await_rest(reference_time, [self._at_hand(file, folder) for file in settled])

    def _survey(
        self, paths: list[Path], reference_time: np.datetime64, specification: CycleSpecification
    ) -> Survey:
        try:
            found = self._workers.run(
                survey, paths, specification.model_dump_json(), iso_time(reference_time)
            )
        except WorkerDied as error:
            found = Survey((False,) * len(paths), (), (str(error),))
        for fault in found.faults:
            _logger.warning("a file of the inbox cannot be used: %s", fault)
        return found

    def _input(self, path: Path) -> InputFile:
        file = self.early.hashed(path)
        # A copy goes with the job, as an upload does.
        return file if self._inbox.is_local else file.model_copy(update={"path": None, "modified_ns": None})

    def _is_published(
        self, reference_time: np.datetime64, task: Task, leads: tuple[int, ...], source: Source
    ) -> bool:
        """Whether a product holds these files already, or more leads than they make.

        An inbox makes no difference between models: another one is loaded for the cycles to come.
        """
        digests = {one.sha256 for one in task.submission.inputs}
        for record in self._store.revisions(reference_time):
            if source == "backfill" and record.origin.model != task.model:
                continue
            if digests <= {one.sha256 for one in record.origin.inputs}:
                return True
            if not set(record.origin.leads_hours) <= set(leads):
                return True
        return False

    def _priority(self, reference_time: np.datetime64, source: Source) -> int:
        """Newest first, and a backfill after everything else."""
        hours = max(int((self._now() - reference_time) / np.timedelta64(1, "h")), 0)
        first = _FIRST_PRIORITY if source == "inbox" else _BACKFILL_PRIORITY
        return min(first + hours, _HIGHEST_PRIORITY)


class IngestWatch:
    """A thread that looks at the inbox for all open cycles, newest first.

    leads: asked before every look whether it is this process that has to look.
    """

    def __init__(self, ingest: Ingest | None, poll_seconds: float, leads: Callable[[], bool]) -> None:
        self._ingest = ingest
        self._poll_seconds = poll_seconds
        self._leads = leads
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingest-watch", daemon=True)

    def start(self) -> None:
        """Begin, once; without an inbox there is nothing to begin."""
        if self._ingest is not None and self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """End after the cycle at hand; does not wait."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the end, but not for an object store that does not answer."""
        if self._thread.is_alive():
            self._thread.join(_LONGEST_GOODBYE_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            looked = time.monotonic()
            if self._leads():
                self._look()
                self._work_ahead(looked + self._poll_seconds)
            self._stopping.wait(max(looked + self._poll_seconds - time.monotonic(), 0.0))

    def _work_ahead(self, until: float) -> None:
        """Do what can be done early, step by step, until the next look is due."""
        try:
            # One step at least, even where a look takes longer than the time between looks.
            while self._ingest is not None and self._ingest.early.step():
                if self._stopping.is_set() or time.monotonic() >= until:
                    return
        except Exception:
            if not self._stopping.is_set():
                _logger.exception("a cycle cannot be read early; its job will read it")

    def _look(self) -> None:
        if self._ingest is None:
            return
        look = self._ingest.look()
        for reference_time in self._ingest.open_cycles():
            if self._stopping.is_set():
                return
            try:
                taken = self._ingest.take(reference_time, look=look)
            except QueueFull as error:
                _logger.warning("the inbox waits for the queue: %s", error)
                return
            except Unavailable as error:
                _logger.warning("the next look tries again: %s", error)
                return
            except InputError as error:
                # A file that changed under the look; the next one finds it settled.
                _logger.info("%s of the inbox: %s", iso_time(reference_time), error)
                continue
            except Exception:
                if not self._stopping.is_set():
                    _logger.exception("the inbox cannot be taken from; the next look tries again")
                return
            if taken.outcome == "submitted":
                _logger.info(
                    "%s of the inbox: %d files, leads %s h, job %s",
                    *(iso_time(reference_time), taken.files, taken.leads_hours, str(taken.job)[:12]),
                )
        self._ingest.clean()


def _failed_by_fault(job: Job) -> bool:
    return job.state == "failed" and job.problem is not None and job.problem.status >= 500


def _as_uploads(folder: Path, submission: Submission, paths: list[Path], files: list[InputFile]) -> Path:
    """The copies once more, as links in the layout of uploads, to be moved into the folder of a job."""
    uploads = folder / "uploads"
    shutil.rmtree(uploads, ignore_errors=True)
    for path, file in zip(paths, files, strict=True):
        one = next(one for one in submission.inputs if one.sha256 == file.sha256)
        place = uploads / one.sha256
        if not place.exists():
            place.mkdir(parents=True)
            os.link(path, place / one.name)
    return uploads
