"""What ``rainpost ingest`` and ``rainpost backfill`` do."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

import numpy as np

from service.desks import Desk, open_desk
from service.documents import CycleDocument, TakenDocument
from service.errors import GateRefused, InputError, MissingLead, QueueFull, RequestError, Unavailable
from service.ingest import Source
from service.logs import configure_logs
from service.schedule import Schedule
from service.settings import Settings
from service.times import iso_time, parse_time

_PAUSE_SECONDS: Final = 1.0
_SETTLED: Final = {"submitted", "known", "busy"}


def ingest(options: argparse.Namespace) -> None:
    """Take one cycle from the inbox and wait for its product."""
    settings = _settings()
    reference_time = parse_time(options.reference_time)
    deadline = time.monotonic() + options.wait
    with open_desk(settings) as desk:
        taken = _take(desk, reference_time, "inbox", deadline)
        while taken.outcome not in _SETTLED and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
            taken = _take(desk, reference_time, "inbox", deadline)
        _say(_line(taken))
        if taken.outcome not in _SETTLED:
            raise MissingLead(
                "the inbox does not hold the cycle",
                where=iso_time(reference_time),
                expected="settled files with every lead, or with RAINPOST_MINIMUM_LEADS after the deadline",
                got=f"{taken.outcome}; {taken.files} files, leads {list(taken.leads_hours)} h",
                advice="--wait SECONDS waits for them",
            )
        _report(_wait(desk, reference_time, deadline))


def backfill(options: argparse.Namespace) -> None:
    """Take every cycle of a span from the inbox, newest first, as fast as the queue allows."""
    settings = _settings()
    first, last = (
        parse_time(text, where=name) for name, text in (("--from", options.first), ("--to", options.last))
    )
    if first > last:
        raise RequestError("the span is empty", where="--from, --to", got=f"{options.first}, {options.last}")
    outcomes: Counter[str] = Counter()
    at_work: list[np.datetime64] = []
    with open_desk(settings) as desk:
        for reference_time in Schedule.of(settings).cycles(first, last):
            taken = _take(desk, reference_time, "backfill")
            outcomes[taken.outcome] += 1
            if taken.outcome != "absent":
                _say(_line(taken))
            if taken.outcome == "submitted":
                at_work.append(reference_time)
        counts = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
        _say(f"{outcomes.total()} cycles: {counts or 'none'}")
        failed = _wait_for_all(desk, at_work)
    if failed:
        raise InputError(
            f"{len(failed)} of {len(at_work)} cycles could not be corrected",
            where=", ".join(iso_time(one) for one in failed[:10]),
            advice="GET /cycles/<reference time> says why",
        )


def _settings() -> Settings:
    settings = Settings.load()
    configure_logs("WARNING")
    return settings


def _take(
    desk: Desk, reference_time: np.datetime64, source: Source, deadline: float = np.inf
) -> TakenDocument:
    """Hand in, and wait while the queue is full."""
    while True:
        try:
            return desk.take(reference_time, source)
        except (QueueFull, Unavailable):
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


def _wait(desk: Desk, reference_time: np.datetime64, deadline: float = np.inf) -> CycleDocument | None:
    """The cycle once none of its jobs is at work, or as it stands at the deadline."""
    while True:
        cycle = desk.cycle(reference_time)
        if cycle is None or not any(job.state in {"queued", "running"} for job in cycle.jobs):
            return cycle
        if time.monotonic() >= deadline:
            return cycle
        time.sleep(_PAUSE_SECONDS)


def _wait_for_all(desk: Desk, reference_times: Iterable[np.datetime64]) -> list[np.datetime64]:
    """Those of which the newest job failed."""
    failed = []
    for reference_time in reference_times:
        cycle = _wait(desk, reference_time)
        if cycle is not None and cycle.jobs and cycle.jobs[0].state == "failed":
            failed.append(reference_time)
    return failed


def _report(cycle: CycleDocument | None) -> None:
    if cycle is None:
        return
    _say(f"{cycle.reference_time} {cycle.state}" + (f", revision {cycle.revision}" if cycle.revision else ""))
    problem = cycle.jobs[0].problem if cycle.jobs else None
    if problem is not None:
        kind = GateRefused if problem.reason == GateRefused.reason else InputError
        raise kind(
            problem.detail,
            where=problem.where,
            expected=problem.expected,
            got=problem.got,
            advice=problem.advice,
        )


def _line(taken: TakenDocument) -> str:
    leads = ", ".join(str(lead) for lead in taken.leads_hours) or "none"
    return f"{taken.reference_time} {taken.outcome}: {taken.files} files, leads {leads} h"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
