"""``rainpost status``: the last cycles, as a table or as JSON, the disk, and whether somebody has to look."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.cycle_sources import CycleSource, open_source
from service.cycle_states import State
from service.disk_use import DiskDocument
from service.documents import CycleSummary
from service.settings import Settings
from service.verification_counts import Source

NEEDS_A_LOOK: Final = 3
"""Exit status where the latest cycle that is due is late or failed."""

_LOOKED_AT: Final = 100
"""Cycles among which the latest that is due is looked for, however few are shown."""

_UNDECIDED: Final[tuple[State, ...]] = ("expected", "running")
_BAD: Final[tuple[State, ...]] = ("late", "failed")
_STYLES: Final[dict[State, str]] = {
    "running": "cyan",
    "partial": "yellow",
    "published": "green",
    "late": "bold red",
    "failed": "bold red",
}
_NONE: Final = "-"


class CycleScore(BaseModel):
    """The critical success index of the published model, or of the raw forecast, at one threshold."""

    source: Source
    threshold_mm: float
    critical_success_index: float | None


class CycleStatus(BaseModel):
    """One cycle. leads: how many. delay_seconds: from the reference time to the first publication.

    problem: why the last job failed, for a cycle that failed.
    """

    reference_time: str
    state: State
    present_leads: int
    expected_leads: int
    revision: int | None
    delay_seconds: float | None
    model: str | None
    scores: tuple[CycleScore, ...]
    problem: str | None = None


class Status(BaseModel):
    """The last cycles, newest first. latest_due: the newest that is neither expected nor at work."""

    source: str
    latest_due: str | None
    needs_a_look: bool
    cycles: tuple[CycleStatus, ...]
    disk: DiskDocument


def status(options: argparse.Namespace) -> int:
    """Show the last cycles; the exit status."""
    with open_source(Settings.load(), options.url) as source:
        found = read_status(source, options.cycles)
    if options.json:
        sys.stdout.write(f"{found.model_dump_json(indent=1)}\n")
    else:
        render(found, Console(file=sys.stdout, highlight=False, emoji=False))
    return NEEDS_A_LOOK if found.needs_a_look else 0


def read_status(source: CycleSource, cycles: int) -> Status:
    """So many of the last cycles. Raises what the source raises."""
    summaries = source.cycles(max(cycles, _LOOKED_AT)).cycles
    due = latest_due(summaries)
    return Status(
        source=source.name,
        latest_due=None if due is None else due.reference_time,
        needs_a_look=due is not None and due.state in _BAD,
        cycles=tuple(_status(source, summary) for summary in summaries[:cycles]),
        disk=source.disk(),
    )


def latest_due(summaries: Sequence[CycleSummary]) -> CycleSummary | None:
    """Of cycles, newest first, the first of which more than that it will come is known."""
    return next((summary for summary in summaries if summary.state not in _UNDECIDED), None)


def _status(source: CycleSource, summary: CycleSummary) -> CycleStatus:
    return CycleStatus(
        reference_time=summary.reference_time,
        state=summary.state,
        present_leads=len(summary.leads.present),
        expected_leads=len(summary.leads.expected),
        revision=summary.revision,
        delay_seconds=summary.delay_seconds,
        model=summary.model,
        scores=() if summary.model is None else _scores(source, summary.reference_time, summary.model),
        problem=_problem(source, summary.reference_time) if summary.state == "failed" else None,
    )


def _scores(source: CycleSource, reference_time: str, model: str) -> tuple[CycleScore, ...]:
    """Of all leads together."""
    return tuple(
        CycleScore(
            source=row.source,
            threshold_mm=row.threshold_mm,
            critical_success_index=row.critical_success_index,
        )
        for row in source.scores(reference_time).scores
        if row.lead_hours is None and (row.source == "raw" or row.model == model)
    )


def _problem(source: CycleSource, reference_time: str) -> str | None:
    cycle = source.cycle(reference_time)
    problems = [job.problem for job in cycle.jobs if job.problem is not None] if cycle else []
    if not problems:
        return None
    last = problems[0]
    return f"{last.reason}: {last.detail}" + (f" ({last.where})" if last.where else "")


def render(found: Status, console: Console) -> None:
    """A table that fits 80 columns, and below it what went wrong."""
    thresholds = sorted({score.threshold_mm for cycle in found.cycles for score in cycle.scores})
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("cycle", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("leads", "revision", "delay"):
        table.add_column(name, justify="right", no_wrap=True)
    for threshold in thresholds:
        table.add_column(f"CSI {threshold:g} mm", justify="right", no_wrap=True)
        table.add_column("raw", justify="right", no_wrap=True)
    for cycle in found.cycles:
        scores = {(one.threshold_mm, one.source): one.critical_success_index for one in cycle.scores}
        table.add_row(
            cycle.reference_time.replace(":00:00Z", "Z"),
            Text(cycle.state, _STYLES.get(cycle.state, "")),
            f"{cycle.present_leads}/{cycle.expected_leads}",
            _NONE if cycle.revision is None else str(cycle.revision),
            _duration(cycle.delay_seconds),
            *(
                _score(scores.get((threshold, source)))
                for threshold in thresholds
                for source in ("model", "raw")
            ),
        )
    console.print(table if found.cycles else "No cycle is known.")
    for cycle in found.cycles:
        if cycle.problem is not None:
            console.print(f"{cycle.reference_time} {cycle.problem}", markup=False, soft_wrap=True)
    if found.cycles and not thresholds:
        console.print("None of them was compared with observations yet.")
    for line in _describe(found.disk):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"From {found.source}.", markup=False, soft_wrap=True)


def _describe(disk: DiskDocument) -> tuple[str, str]:
    used = dict(disk.used_bytes)
    products, work = used.pop("products", 0), used.pop("work", 0)
    room = "" if disk.cycles_left is None else f", room for {disk.cycles_left} more cycles"
    kept = "everything" if disk.keep_days is None else f"{disk.keep_days:g} days"
    return (
        f"Disk: {_gigabytes(disk.free_bytes)} of {_gigabytes(disk.size_bytes)} GB free{room}.",
        f"Used: {_gigabytes(products)} GB by products, {_gigabytes(work)} by work, "
        f"{_gigabytes(sum(used.values()))} by the rest. Kept: {kept}.",
    )


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return _NONE
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d} h" if minutes < 100 * 60 else f"{minutes // 1440} d"


def _score(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"
