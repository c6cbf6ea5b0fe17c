"""Runs commands, each once: skips what is finished, goes on where it was stopped, ends on time.

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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from service.errors import InputError

GRACE_S: Final = 60.0
"""What a command has to end by itself after SIGTERM."""

POLL_S: Final = 0.05
"""Between two looks at whether a command has ended."""


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
        marks: folder of the marks of finished steps, and of what commands print when several run at once.
        minutes: after which the running commands are stopped and no other begins; None for no end.
        jobs: how many commands run at once.
    """

    def __init__(self, marks: Path, minutes: float | None = None, jobs: int = 1) -> None:
        self.marks = marks
        self._end = None if minutes is None else time.monotonic() + 60 * minutes
        self._jobs = jobs

    def finished(self, steps: Sequence[Step]) -> set[str]:
        """Names of the steps whose mark is that of the step as it is now.

        Raises:
            InputError: a step comes before one that it needs, or a file that it reads is absent.
        """
        digests = _digests(steps)
        return {name for name, digest in digests.items() if self._mark_of(name) == digest}

    def run(self, steps: Sequence[Step]) -> Outcome:
        """Runs what is not finished, as nearly in the order given as what each needs allows.

        A failure holds up only what needs it. SIGTERM and SIGINT stop the running commands and then the run.

        Raises:
            InputError: as ``finished``.
        """
        digests = _digests(steps)
        finished = self.finished(steps)
        waiting = [step for step in steps if step.name not in finished]
        failed: list[str] = []
        running: dict[str, subprocess.Popen[bytes]] = {}
        previous = signal.signal(signal.SIGTERM, _stop)
        try:
            while waiting or running:
                ready = [step for step in waiting if finished.issuperset(step.after)]
                for step in ready[: self._jobs - len(running)]:
                    waiting.remove(step)
                    running[step.name] = self._start(step, f"{len(steps) - len(waiting)}/{len(steps)}")
                if not running:
                    break
                for name in self._ended(running):
                    if running.pop(name).returncode == 0:
                        self._write_mark(name, digests[name])
                        finished.add(name)
                    else:
                        print(f"{name} failed{self._where(name)}", flush=True)
                        failed.append(name)
        except (_Stopped, KeyboardInterrupt):
            pass
        finally:
            _end(running.values())
            signal.signal(signal.SIGTERM, previous)
        names = [step.name for step in steps]
        return Outcome(
            finished=tuple(name for name in names if name in finished),
            failed=tuple(failed),
            waiting=tuple(name for name in names if name not in finished and name not in failed),
        )

    def _start(self, step: Step, place: str) -> subprocess.Popen[bytes]:
        if self._end is not None and time.monotonic() >= self._end:
            raise _Stopped
        print(f"\n[{place}] {step.name}\npython -m {shlex.join(step.command)}", flush=True)
        # In a group of its own: Ctrl-C at a terminal would reach the command twice.
        command = [sys.executable, "-m", *step.command]
        if self._jobs == 1:
            return subprocess.Popen(command, start_new_session=True)  # noqa: S603
        self.marks.mkdir(parents=True, exist_ok=True)
        with self._log(step.name).open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                command, start_new_session=True, stdout=log, stderr=subprocess.STDOUT
            )

    def _ended(self, running: Mapping[str, subprocess.Popen[bytes]]) -> list[str]:
        """Waits until a command has ended; the names of all that have."""
        while True:
            ended = [name for name, process in running.items() if process.poll() is not None]
            if ended:
                return ended
            if self._end is not None and time.monotonic() >= self._end:
                raise _Stopped
            time.sleep(POLL_S)

    def _path(self, name: str) -> Path:
        return self.marks / f"{name.replace('/', '.')}.json"

    def _log(self, name: str) -> Path:
        return self._path(name).with_suffix(".log")

    def _where(self, name: str) -> str:
        return f", see {self._log(name)}" if self._jobs > 1 else ""

    def _mark_of(self, name: str) -> str | None:
        path = self._path(name)
        return json.loads(path.read_text())["digest"] if path.exists() else None

    def _write_mark(self, name: str, digest: str) -> None:
        self.marks.mkdir(parents=True, exist_ok=True)
        path = self._path(name)
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps({"digest": digest}) + "\n")
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


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """SIGTERM to the commands and all that they started, and SIGKILL to what does not end."""
    left = [process for process in processes if process.poll() is None]
    for process in left:
        os.killpg(process.pid, signal.SIGTERM)
    end = time.monotonic() + GRACE_S
    for process in left:
        try:
            process.wait(max(end - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
