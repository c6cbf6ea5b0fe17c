"""Records what is to be told of cycles when it becomes true, and never fails what it tells of."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from service.cycle_events import CycleEvent, CycleEvents
from service.outbox import Outbox
from service.problems import Problem
from service.stages import Task
from service.store import Store
from service.times import parse_time

_logger = logging.getLogger(__name__)


class Announcer:
    """Puts events into the outbox, each once however often it is asked to.

    receivers: keys of those that the events are for; with none nothing is recorded.
    """

    def __init__(self, events: CycleEvents, store: Store, outbox: Outbox, receivers: Sequence[str]) -> None:
        self._events = events
        self._store = store
        self._outbox = outbox
        self._receivers = tuple(receivers)

    @property
    def is_silent(self) -> bool:
        """Whether nobody is to be told anything."""
        return not self._receivers

    def published(self, reference_time: str, revision: int) -> None:
        """A revision was published."""
        self._record(lambda: self._events.published(self._store.record(parse_time(reference_time), revision)))

    def failed(self, reference_time: str, job_id: str, run: str, task: Task, problem: Problem) -> None:
        """A job of a cycle failed. With a product the cycle stays published, and nobody is told."""

        def event() -> CycleEvent | None:
            if self._store.revisions(parse_time(reference_time)):
                return None
            return self._events.failed(reference_time, job_id, run, task, problem)

        self._record(event)

    def late(self, reference_time: str, deadline: str) -> None:
        """A cycle is neither published nor at work after its deadline."""
        self._record(lambda: self._events.late(reference_time, deadline))

    def _record(self, make: Callable[[], CycleEvent | None]) -> None:
        if self.is_silent:
            return
        try:
            event = make()
            if event is None:
                return
            if self._outbox.record(event.id, event.body(), self._receivers, time.time()):
                _logger.info("event %s is to be delivered: %s of %s", event.id, event.type, event.subject)
        except Exception:
            # A cycle is worth more than the news of it.
            _logger.exception("an event could not be recorded and will not be delivered")
