"""Looks for what no job tells of itself: cycles that are late, and jobs that were given up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from service.announcer import Announcer
from service.cycle_states import CycleStates
from service.jobs import Jobs
from service.outbox import Outbox
from service.rounds import Rounds
from service.schedule import Schedule, now_utc
from service.times import iso_time

_logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 30.0
_FORGET_SECONDS: Final = 30 * 86400.0
"""How long events are known again; a late cycle must be for as long as it is looked for."""


class CycleWatch(Rounds):
    """leads: asked before every look whether it is this process that has to."""

    def __init__(
        self,
        cycles: CycleStates,
        jobs: Jobs,
        schedule: Schedule,
        announcer: Announcer,
        outbox: Outbox,
        leads: Callable[[], bool],
    ) -> None:
        super().__init__(
            "cycle-watch", _LOOK_SECONDS, leads, "cycles could not be looked at; the next look tries again"
        )
        self._cycles = cycles
        self._jobs = jobs
        self._announcer = announcer
        self._outbox = outbox
        self._catch_up = schedule.catch_up
        self._forget_seconds = max(_FORGET_SECONDS, 2 * float(self._catch_up / np.timedelta64(1, "s")))

    @property
    def is_needed(self) -> bool:
        """Where nobody is to be told anything there is nothing to begin."""
        return not self._announcer.is_silent

    def round(self) -> None:
        """Tell what there is to tell."""
        for cycle in self._cycles.late():
            if cycle.deadline is not None:
                self._announcer.late(iso_time(cycle.reference_time), iso_time(cycle.deadline))
        for job in self._jobs.given_up(iso_time(now_utc() - self._catch_up)):
            if job.cycle is not None and job.problem is not None:
                self._announcer.failed(job.cycle, job.id, job.run, job.task, job.problem)
        self._outbox.forget(time.time() - self._forget_seconds)
