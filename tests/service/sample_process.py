"""A service process without its HTTP part, which dies where a test wants it to.

The process is forked from one that has made all imports, and reads files itself instead of starting another
process for it: it lives and dies in a fraction of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from dbos import DBOS

from service import deliveries as deliveries_module
from service import jobs as jobs_module
from service import shadow_jobs as shadow_jobs_module
from service import store as store_module
from service.durability import write_durably
from service.job import STAGES
from service.outbox import Outbox
from service.references import hash_file
from service.runtime import Runtime
from service.settings import Settings
from service.shadow_jobs import ShadowJobs
from service.stages import Stages
from service.submission import Submission
from service.times import iso_time, parse_time
from service.worker import Workers

RECORD = "record"
"""The middle of publishing: the product is written, its record is not."""

RENEWAL = "renewal"
"""The middle of beginning anew: the job of the older version is deleted, and not queued again."""

TAKE_OVER = "take_over"
"""The files of a published cycle are the shadow's, and nothing is queued yet."""

SHADOW = "shadow"
"""The end of a run of the shadow: its product is stored and scored."""

ANNOUNCED = "announced"
"""After an event is recorded, before anything of it is delivered."""

DELIVERED = "delivered"
"""After a receiver has taken an event, before that is noted."""

QUIET_LOOKS = 25

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Life:
    """What a process is to do, and how it ends.

    submissions: files of every cycle to submit, with its reference time. killed_in: the stage at whose end,
    before its checkpoint, the process is killed by SIGKILL; None lets it live until all jobs are finished.
    settings: of the service, besides its folders, which lie in ``folder``. version: of its workflow, if not
    the present one.
    """

    folder: Path
    submissions: tuple[tuple[str, tuple[Path, ...]], ...] = ()
    killed_in: str | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    version: str | None = None


def begin(life: Life) -> ForkServerProcess:
    """Start a process."""
    process = CONTEXT.Process(target=_live, args=(life,))
    process.start()
    return process


def end(process: ForkServerProcess) -> int:
    """Wait for the end; the exit status, negative for a signal."""
    process.join(600)
    assert process.exitcode is not None, "it did not end"
    return process.exitcode


def stages_done(folder: Path) -> list[tuple[str, str, int]]:
    """Stage, job and process of all work that was done, in its order."""
    lines = (folder / "stages.log").read_text().splitlines()
    return [(stage, job, int(process)) for stage, job, process in (line.split() for line in lines)]


def _live(life: Life) -> None:
    _watch_stages(life)
    paths = {"models_folder": life.folder / "models", "data_folder": life.folder / "data"}
    values = paths | {"threads": 1, "minimum_free_bytes": 0} | dict(life.settings)
    runtime = Runtime(Settings.model_validate(values))
    runtime.start(watch=False)
    jobs = [
        runtime.jobs.submit(runtime.task(Submission.of([hash_file(path) for path in paths], reference_time)))
        for reference_time, paths in life.submissions
    ]
    # A job that begins anew is for a moment in no queue: twice in a row there must be none.
    quiet_looks = 0
    while quiet_looks < QUIET_LOOKS:
        unfinished = [job for job in jobs if not runtime.jobs.get(job.id).finished]
        busy = unfinished or runtime.jobs.unfinished() or runtime.shadows.waiting()
        quiet_looks = 0 if busy else quiet_looks + 1
        time.sleep(0.02)
    runtime.stop()


def _watch_stages(life: Life) -> None:
    put_in_place(jobs_module, _ATTEMPTS=100, _CARE_SECONDS=0.2)
    if life.version is not None:
        put_in_place(jobs_module, _WORKFLOW_VERSION=life.version)
    put_in_place(Workers, warm=lambda *_: [], run=call, run_told=call_told)
    put_in_place(Stages, **{stage: _watched(stage, getattr(Stages, stage), life) for stage in STAGES})
    if "shadow_model" in dict(life.settings):
        put_in_place(shadow_jobs_module, _CARE_SECONDS=0.2)
        for stage, method in ((TAKE_OVER, "take_over"), (SHADOW, "run_once")):
            put_in_place(ShadowJobs, **{method: _watched(stage, getattr(ShadowJobs, method), life)})
    _arrange_the_end(life.killed_in)


def _arrange_the_end(place: str | None) -> None:
    """A kill that is not at the end of a stage."""
    if place == RENEWAL:
        put_in_place(DBOS, delete_workflow=last(DBOS.delete_workflow))
    if place == ANNOUNCED:
        put_in_place(deliveries_module, _POLL_SECONDS=3600.0)
        put_in_place(Outbox, record=last(Outbox.record))
    if place == DELIVERED:
        put_in_place(Outbox, end=last(lambda *_: None))
    if place == RECORD:
        die_before_the_record()


def die_before_the_record() -> None:
    """When the product of the next cycle is written."""

    def write_or_die(path: Path, content: Callable[[Path], object]) -> None:
        if path.suffix == ".json":
            os.kill(os.getpid(), signal.SIGKILL)
        write_durably(path, content)

    put_in_place(store_module, write_durably=write_or_die)


def put_in_place(place: object, **members: object) -> None:
    """The process is the test's own: nothing has to be put back."""
    for name, member in members.items():
        setattr(place, name, member)


def last(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the process does last."""

    def do_and_die(*arguments: Any, **named: Any) -> None:
        function(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return do_and_die


def call(_: Workers, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """``Workers.run`` without a process."""
    return function(*arguments, **named)


def call_told(
    _: Workers, told: Callable[..., Any], function: Callable[..., Any], *arguments: Any, **named: Any
) -> Any:
    """``Workers.run_told`` without a process, which tells nothing."""
    return function(*arguments, **named)


def _watched(stage: str, function: Callable[..., Any], life: Life) -> Callable[..., Any]:
    def watched(self: object, job: str, *rest: Any) -> Any:
        result = function(self, job, *rest)
        with (life.folder / "stages.log").open("a") as log:
            log.write(f"{stage} {job} {os.getpid()}\n")
        if stage == life.killed_in:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return watched


def submission(paths: Sequence[Path], reference_time: object) -> tuple[str, tuple[Path, ...]]:
    """An entry of ``Life.submissions``."""
    return iso_time(parse_time(str(reference_time))), tuple(paths)
