"""How every cycle stands, from what is published, what is at work and what is expected."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, islice
from typing import Final, Literal, Protocol, get_args

import numpy as np

from service.job import Job
from service.schedule import Schedule, now_utc
from service.store import Record, Store
from service.times import iso_time, parse_time

State = Literal["expected", "running", "partial", "published", "late", "failed"]
"""With a product a cycle is published, or partial while leads are missing, whatever other jobs do. Without
one it is running while a job is not finished, failed when the last one failed, late after its deadline and
expected before."""

STATES: Final[tuple[State, ...]] = get_args(State)


@dataclass(frozen=True)
class CycleState:
    """A cycle as it stands.

    expected_leads: those of the model, in hours. present_leads: those of the newest product; none without
    one.
    records: the revisions, oldest first. jobs: those that are known to be of the cycle, newest first.
    deadline: when it is late, for a cycle of the schedule.
    """

    reference_time: np.datetime64
    state: State
    expected_leads: tuple[int, ...]
    present_leads: tuple[int, ...]
    records: tuple[Record, ...]
    jobs: tuple[Job, ...]
    deadline: np.datetime64 | None

    @property
    def revision(self) -> int | None:
        """Of the newest product, None without one."""
        return self.records[-1].revision if self.records else None

    @property
    def missing_leads(self) -> tuple[int, ...]:
        """Expected leads that the newest product lacks, in hours."""
        return tuple(lead for lead in self.expected_leads if lead not in self.present_leads)


class JobBook(Protocol):
    """Knows jobs: ``Jobs`` of a running service, or ``JobReader``."""

    def of_cycle(self, reference_time: str) -> list[Job]:
        """Those of a cycle (in ISO 8601), newest first."""
        ...

    def since(self, moment: str) -> list[Job]:
        """Those that came in after a moment (in ISO 8601), and all that are not finished, newest first."""
        ...


class CycleStates:
    """Reads the states; keeps none. leads_hours: of the active model. now: UTC, in seconds."""

    def __init__(
        self,
        store: Store,
        jobs: JobBook,
        leads_hours: Callable[[], tuple[int, ...]],
        schedule: Schedule,
        now: Callable[[], np.datetime64] = now_utc,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._leads_hours = leads_hours
        self._schedule = schedule
        self._now = now

    def of(self, reference_time: np.datetime64) -> CycleState | None:
        """The state of a cycle, None where nothing is known of it and nobody expects it."""
        jobs = self._jobs.of_cycle(iso_time(reference_time))
        return self._state(reference_time, tuple(jobs))

    def recent(self, limit: int) -> list[CycleState]:
        """The newest cycles of which anything is known or that are expected already, newest first."""
        return list(islice(self._states(self._store.newest_first()), limit))

    def counts(self) -> dict[State, int]:
        """Cycles that are not too old to be caught up with, by state; every state is there."""
        horizon = self._now() - self._schedule.catch_up
        states = self._states(self._store.cycles_since(horizon), horizon)
        found = Counter(state.state for state in states)
        return {state: found[state] for state in STATES}

    def _states(
        self, published: Iterable[np.datetime64], oldest: np.datetime64 | None = None
    ) -> Iterator[CycleState]:
        """Newest first: these, and those that have jobs or are expected, back to the oldest.

        published: newest first; no more of them are looked at than are asked for.
        """
        now = self._now()
        horizon = now - self._schedule.catch_up
        by_cycle: dict[np.datetime64, list[Job]] = defaultdict(list)
        for job in self._jobs.since(iso_time(horizon)):
            if job.cycle is not None:
                by_cycle[parse_time(job.cycle)].append(job)
        expected = self._schedule.open_cycles(now) if self._schedule.expects else ()
        others = sorted({*by_cycle, *expected}, reverse=True)
        for time, _ in groupby(merge(published, others, reverse=True)):
            if oldest is not None and time < oldest:
                return
            if (state := self._state(time, tuple(by_cycle.get(time, ())))) is not None:
                yield state

    def late(self) -> list[CycleState]:
        """The cycles that are still looked for, and late, newest first."""
        now = self._now()
        expected = self._schedule.open_cycles(now) if self._schedule.expects else ()
        overdue = [time for time in expected if self._schedule.is_late(time, now)]
        found = [self.of(time) for time in overdue if not self._store.revisions(time)]
        return [state for state in found if state is not None and state.state == "late"]

    def _state(self, reference_time: np.datetime64, jobs: tuple[Job, ...]) -> CycleState | None:
        records = tuple(self._store.revisions(reference_time))
        expected = self._schedule.is_expected(reference_time, self._now())
        state = self._name(reference_time, records, jobs, expected=expected)
        if state is None:
            return None
        scheduled = self._schedule.expects and self._schedule.holds(reference_time)
        return CycleState(
            reference_time=reference_time,
            state=state,
            expected_leads=self._leads_hours(),
            present_leads=records[-1].origin.leads_hours if records else (),
            records=records,
            jobs=jobs,
            deadline=reference_time + self._schedule.deadline if scheduled else None,
        )

    def _name(
        self,
        reference_time: np.datetime64,
        records: tuple[Record, ...],
        jobs: tuple[Job, ...],
        *,
        expected: bool,
    ) -> State | None:
        if records:
            whole = set(self._leads_hours()) <= set(records[-1].origin.leads_hours)
            return "published" if whole else "partial"
        if any(not job.finished for job in jobs):
            return "running"
        ended = [job for job in jobs if job.state != "cancelled"]
        if ended and ended[0].state == "failed":
            return "failed"
        if not expected:
            return None
        return "late" if self._schedule.is_late(reference_time, self._now()) else "expected"
