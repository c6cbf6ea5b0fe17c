"""A service process that takes cycles and observations, keeps a diary, and may be killed at any moment.

It is forked from a process that has made all imports, has no HTTP part and reads files itself, as in
``tests.service.sample_process``, so that a life takes a second.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import xarray as xr

from service import jobs as jobs_module
from service.job import STAGES
from service.references import hash_file
from service.runtime import Runtime
from service.settings import Settings
from service.stages import Stages
from service.submission import Submission
from service.worker import Workers

START, SUBMIT, OBSERVE, STOP = "start", "submit", "observe", "stop"
IDLE = "between steps"
STEPS = (START, SUBMIT, *STAGES, OBSERVE, STOP, IDLE)
"""What a process can be at when it is killed."""

_QUIET_LOOKS = 5


def _bring_imports() -> None:
    """What xarray imports when it first writes a file, a second in every life otherwise."""
    with tempfile.TemporaryDirectory() as name:
        xr.Dataset({"values": ("x", [1.0])}).to_netcdf(Path(name) / "values.nc", engine="netcdf4")


_bring_imports()
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Plan:
    """What a process is to take before it waits until all is done and ends.

    entries: ("cycle" or "observation", name, paths), the name of a cycle being its reference time.
    """

    folder: Path
    settings: tuple[tuple[str, Any], ...]
    entries: tuple[tuple[str, str, tuple[Path, ...]], ...]

    @property
    def diary(self) -> Path:
        """Lines ``process begin|end step``, and ``process accepted name``."""
        return self.folder / "diary"


def warm_up() -> None:
    """Have the process at hand that all others are forked from."""
    process = _CONTEXT.Process(target=os.getpid)
    process.start()
    process.join()


def begin(plan: Plan) -> ForkServerProcess:
    """Start a process."""
    process = _CONTEXT.Process(target=_live, args=(plan,))
    process.start()
    return process


def accepted(plan: Plan) -> set[str]:
    """Names of all entries that any process accepted."""
    return {words[2] for words in _entries(plan) if words[1] == "accepted"}


def at_work(plan: Plan, process: int) -> list[str]:
    """What a process had begun and not ended."""
    begun: list[str] = []
    for number, what, step in _entries(plan):
        if int(number) == process and what == "begin":
            begun.append(step)
        elif int(number) == process and what == "end":
            begun.remove(step)
    return begun or [IDLE]


def _entries(plan: Plan) -> list[list[str]]:
    return [line.split() for line in plan.diary.read_text().splitlines()] if plan.diary.exists() else []


def _live(plan: Plan) -> None:
    descriptor = os.open(plan.diary, os.O_APPEND | os.O_CREAT | os.O_WRONLY)

    def note(what: str, name: str) -> None:
        # One write of a few bytes at the end of a file is whole or not there, whoever else writes.
        os.write(descriptor, f"{os.getpid()} {what} {name}\n".encode())

    @contextmanager
    def during(step: str) -> Iterator[None]:
        note("begin", step)
        yield
        note("end", step)

    with during(START):
        _arrange(during)
        paths = {"models_folder": plan.folder / "models", "data_folder": plan.folder / "data"}
        # Kills may come faster than jobs are done; how many may wait is not what is tried here.
        limits = {"threads": 1, "minimum_free_bytes": 0, "max_queued_jobs": 10_000}
        values = paths | limits | {"log_level": "ERROR"} | dict(plan.settings)
        runtime = Runtime(Settings.model_validate(values))
        runtime.start()
    for kind, name, files in plan.entries:
        with during(SUBMIT if kind == "cycle" else OBSERVE):
            hashed = [hash_file(path) for path in files]
            if kind == "cycle":
                runtime.jobs.submit(runtime.task(Submission.of(hashed, name)))
            else:
                runtime.observing.take(list(zip(hashed, files, strict=True)))
        note("accepted", name)
    # A job that begins anew is for a moment in no queue.
    quiet_looks = 0
    while quiet_looks < _QUIET_LOOKS:
        quiet_looks = 0 if runtime.jobs.unfinished() else quiet_looks + 1
        time.sleep(0.02)
    with during(STOP):
        runtime.stop()


def _arrange(during: Callable[[str], Any]) -> None:
    """The process is the campaign's own: nothing has to be put back."""
    for name, value in {"_ATTEMPTS": 1000, "_CARE_SECONDS": 0.2, "_QUEUE_POLL_SECONDS": 0.02}.items():
        setattr(jobs_module, name, value)
    setattr(Workers, "warm", lambda *_: [])  # noqa: B010
    setattr(Workers, "run", lambda _, function, *rest, **named: function(*rest, **named))  # noqa: B010
    setattr(Workers, "run_told", lambda _, told, function, *rest: function(*rest))  # noqa: B010
    for stage in STAGES:
        setattr(Stages, stage, _noted(stage, getattr(Stages, stage), during))


def _noted(stage: str, function: Callable[..., Any], during: Callable[[str], Any]) -> Callable[..., Any]:
    def noted(*arguments: Any) -> Any:
        with during(stage):
            return function(*arguments)

    return noted
