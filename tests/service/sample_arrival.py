"""A service process whose cycle arrives file by file, and which dies in the middle of reading it early.

As in ``tests.service.sample_process``: forked, without HTTP, and reading files itself.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Literal, Self

import numpy as np

from service import early_work as early_work_module
from service import jobs as jobs_module
from service import stages as stages_module
from service.early_results import EarlyResults
from service.jobs import Jobs
from service.references import hash_file
from service.runtime import Runtime
from service.settings import Settings
from service.worker import Workers
from tests.service.sample_cycle import REFERENCE_TIME
from tests.service.sample_process import (
    CONTEXT,
    RECORD,
    call,
    call_told,
    die_before_the_record,
    last,
    put_in_place,
)

End = Literal["read", "published"]

_STEP_SECONDS = 10.0

HASHED = "hashed"
"""After the first file is hashed."""

CLEARED = "cleared"
"""All is read and inferred; what is no longer of use is not removed yet."""

SUBMITTED = "submitted"
"""The job is queued; the inbox does not know it yet."""


@dataclass(frozen=True)
class Arrival:
    """What a process waits for, and how it ends.

    folder: with ``models``, ``data`` and ``inbox``, which has a folder for each cycle. files: how many are in
    the inbox. ends: when, if not killed. killed_in: one of the places above, or ``RECORD``. killed_at_write:
    of the early results that it keeps, counted from 1, the one of which only half is written by then.
    """

    folder: Path
    files: int
    ends: End
    killed_in: str | None = None
    killed_at_write: int | None = None

    @property
    def diary(self) -> Path:
        """Names of the early results that were kept, one a line."""
        return self.folder / "diary"


def begin(arrival: Arrival) -> ForkServerProcess:
    """Start a process."""
    process = CONTEXT.Process(target=_live, args=(arrival,))
    process.start()
    return process


def _live(arrival: Arrival) -> None:
    put_in_place(jobs_module, _ATTEMPTS=100, _CARE_SECONDS=0.2)
    put_in_place(Workers, warm=lambda *_: [], run=call, run_told=call_told)
    # Two products of the same input then have the same bytes.
    put_in_place(stages_module, datetime=_StoppedClock)
    _watch_writes(arrival)
    _arrange_the_end(arrival.killed_in)
    runtime = Runtime(
        Settings.model_validate(
            {
                "models_folder": arrival.folder / "models",
                "data_folder": arrival.folder / "data",
                "inbox": str(arrival.folder / "inbox"),
                "inbox_pattern": "%Y%m%d%H/*",
                "inbox_poll_seconds": 0.02,
                "inbox_settle_seconds": 0,
                "threads": 1,
                "minimum_free_bytes": 0,
            }
        )
    )
    ingest = runtime.ingest
    assert ingest is not None
    ingest._now = lambda: REFERENCE_TIME + np.timedelta64(3, "h")
    runtime.start()

    def is_over() -> bool:
        if arrival.ends == "read":
            return ingest.early.is_done(arrival.files)
        known = ingest.take(REFERENCE_TIME).outcome == "known"
        return known and not runtime.jobs.unfinished() and not _has_early_results(arrival.folder)

    while not is_over():
        time.sleep(0.02)
    if arrival.killed_in or arrival.killed_at_write:
        # The thread that is to be killed may be a step behind.
        time.sleep(_STEP_SECONDS)
    # All that it leaves is on the disk.
    os._exit(0)


def _has_early_results(folder: Path) -> bool:
    return any((folder / "data" / "work" / "early").glob("*"))


class _StoppedClock(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls(2026, 11, 22, 6, tzinfo=tz or UTC)


def _watch_writes(arrival: Arrival) -> None:
    """Every early result that is kept goes through a rename; nothing else in these folders does."""
    replace = Path.replace
    writes = 0

    def noted(path: Path, target: Path) -> Path:
        nonlocal writes
        if "early" not in path.parts:
            return replace(path, target)
        writes += 1
        if writes == arrival.killed_at_write:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        result = replace(path, target)
        with arrival.diary.open("a") as diary:
            diary.write(f"{target.name}\n")
        return result

    put_in_place(Path, replace=noted)


def _arrange_the_end(place: str | None) -> None:
    if place == HASHED:
        put_in_place(early_work_module, hash_file=last(hash_file))
    if place == CLEARED:
        put_in_place(EarlyResults, keep_only=last(lambda *_: None))
    if place == SUBMITTED:
        put_in_place(Jobs, submit=last(Jobs.submit))
    if place == RECORD:
        die_before_the_record()
