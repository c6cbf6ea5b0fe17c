"""Looks for what no job tells of itself: cycles that are late, and jobs that were given up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from service.announcer import Announcer
from service.cycle_states import CycleStates
from service.jobs import Jobs
from service.outbox import Outbox
from service.schedule import Schedule, now_utc
from service.times import iso_time

_logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 30.0
_FORGET_SECONDS: Final = 30 * 86400.0
"""How long events are known again; a late cycle must be for as long as it is looked for."""


class CycleWatch:
    """A thread. leads: asked before every look whether it is this process that has to."""

    def __init__(
        self,
        cycles: CycleStates,
        jobs: Jobs,
        schedule: Schedule,
        announcer: Announcer,
        outbox: Outbox,
        leads: Callable[[], bool],
    ) -> None:
        self._cycles = cycles
        self._jobs = jobs
        self._announcer = announcer
        self._outbox = outbox
        self._catch_up = schedule.catch_up
        self._forget_seconds = max(_FORGET_SECONDS, 2 * float(self._catch_up / np.timedelta64(1, "s")))
        self._leads = leads
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cycle-watch", daemon=True)

    def start(self) -> None:
        """Begin, once; where nobody is to be told anything there is nothing to begin."""
        if not self._announcer.is_silent and self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """End after the look at hand; does not wait."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the end."""
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Tell what there is to tell."""
        for cycle in self._cycles.late():
            if cycle.deadline is not None:
                self._announcer.late(iso_time(cycle.reference_time), iso_time(cycle.deadline))
        for job in self._jobs.given_up(iso_time(now_utc() - self._catch_up)):
            if job.cycle is not None and job.problem is not None:
                self._announcer.failed(job.cycle, job.id, job.run, job.task, job.problem)
        self._outbox.forget(time.time() - self._forget_seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._leads():
                    self.look()
            except Exception:
                # Above all a database that does not answer for a while.
                _logger.exception("cycles could not be looked at; the next look tries again")
            self._stopping.wait(_LOOK_SECONDS)
