"""Runs commands in order, each once: skips what is finished, goes on where it was stopped, ends on time.

A command that ends well leaves a mark with a digest of itself, of the files that it reads and of the steps
before it, so that a changed configuration runs again, with all that follows from it. The commands themselves
must be able to go on where they were stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from service.errors import InputError

GRACE_S: Final = 60.0
"""What a command has to end by itself after SIGTERM."""


@dataclass(frozen=True)
class Step:
    """One command.

    name: unlike any other; may hold slashes.
    command: a module and its arguments, as after ``python -m``.
    reads: files whose content decides the result.
    after: names of the steps that must be finished before.
    """

    name: str
    command: tuple[str, ...]
    reads: tuple[Path, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """Names of the steps by what became of them; ``waiting`` were not tried, for time or for a failure."""

    finished: tuple[str, ...]
    failed: tuple[str, ...]
    waiting: tuple[str, ...]


class _Stopped(Exception):
    """No time left, or asked to stop."""


class Runner:
    """Runs steps.

    Args:
        marks: folder of the marks of finished steps.
        minutes: after which the running command is stopped and no other begins; None for no end.
    """

    def __init__(self, marks: Path, minutes: float | None = None) -> None:
        self.marks = marks
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    def finished(self, steps: Sequence[Step]) -> set[str]:
        """Names of the steps whose mark is that of the step as it is now.

        Raises:
            InputError: a step comes before one that it needs, or a file that it reads is absent.
        """
        digests = _digests(steps)
        return {name for name, digest in digests.items() if self._mark_of(name) == digest}

    def run(self, steps: Sequence[Step]) -> Outcome:
        """Runs what is not finished, in the order given. A failure holds up only what needs it.

        SIGTERM and SIGINT stop the running command and then the run.

        Raises:
            InputError: as ``finished``.
        """
        digests = _digests(steps)
        finished = self.finished(steps)
        failed: list[str] = []
        previous = signal.signal(signal.SIGTERM, _stop)
        try:
            for number, step in enumerate(steps, start=1):
                if step.name in finished or not finished.issuperset(step.after):
                    continue
                print(
                    f"\n[{number}/{len(steps)}] {step.name}\npython -m {shlex.join(step.command)}", flush=True
                )
                if self._succeeds(step):
                    self._write_mark(step, digests[step.name])
                    finished.add(step.name)
                else:
                    failed.append(step.name)
        except (_Stopped, KeyboardInterrupt):
            pass
        finally:
            signal.signal(signal.SIGTERM, previous)
        names = [step.name for step in steps]
        return Outcome(
            finished=tuple(name for name in names if name in finished),
            failed=tuple(failed),
            waiting=tuple(name for name in names if name not in finished and name not in failed),
        )

    def _succeeds(self, step: Step) -> bool:
        left_s = None if self._end is None else self._end - time.monotonic()
        if left_s is not None and left_s <= 0:
            raise _Stopped
        # In a group of its own: Ctrl-C at a terminal would reach the command twice.
        process = subprocess.Popen([sys.executable, "-m", *step.command], start_new_session=True)  # noqa: S603
        try:
            return process.wait(left_s) == 0
        except subprocess.TimeoutExpired:
            raise _Stopped from None
        finally:
            _end(process)

    def _path(self, name: str) -> Path:
        return self.marks / f"{name.replace('/', '.')}.json"

    def _mark_of(self, name: str) -> str | None:
        path = self._path(name)
        return json.loads(path.read_text())["digest"] if path.exists() else None

    def _write_mark(self, step: Step, digest: str) -> None:
        self.marks.mkdir(parents=True, exist_ok=True)
        path = self._path(step.name)
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps({"command": shlex.join(step.command), "digest": digest}) + "\n")
        temporary.replace(path)


def _digests(steps: Sequence[Step]) -> dict[str, str]:
    digests: dict[str, str] = {}
    for step in steps:
        if not digests.keys() >= set(step.after):
            raise InputError(
                "A step comes before one that it needs", where=step.name, expected=", ".join(step.after)
            )
        parts = [*step.command, *(digests[name] for name in step.after), *map(_content, step.reads)]
        digests[step.name] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return digests


def _content(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError("A file that a step reads is absent", where=str(path), got=str(error)) from error


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _Stopped


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the command and all that it started, and SIGKILL if it does not end."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
