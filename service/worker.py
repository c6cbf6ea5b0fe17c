"""Functions run in processes of their own, so that a crash of a C library ends only one job."""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing import connection
from typing import Any, Final, ParamSpec, TypeVar

from service.errors import WorkerDied
from service.logs import LogSetup, configure_logs, current_setup, current_subject, log_subject
from service.memory import keep_freed_memory, limit_memory

_logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

Pipe = tuple["connection.Connection[Any, Any]", "connection.Connection[Any, Any]"]
"""The end that receives and the end that sends."""

_SPAWN: Final = multiprocessing.get_context("spawn")


class _Teller:
    """In a worker process: where it tells what it has to tell before its result."""

    def __init__(self) -> None:
        self.to: connection.Connection[Any, Any] | None = None
        self.lock = threading.Lock()


_TELLER: Final = _Teller()


def tell(report: object) -> None:
    """Tell the caller of the function at work something small; nobody listens outside a worker process."""
    with _TELLER.lock:
        if _TELLER.to is not None:
            _TELLER.to.send(report)


class Workers:
    """A number of processes, each busy with one call at a time and replaced when it dies.

    One executor per process: an executor that loses a process fails the calls of all its processes.

    memory_bytes: how much each process may allocate; None: as much as there is.
    """

    def __init__(self, count: int, timeout_seconds: float, memory_bytes: int | None = None) -> None:
        self._timeout_seconds = timeout_seconds
        self._memory_bytes = memory_bytes
        self._closed = False
        self._first_call: Callable[[], object] | None = None
        self._lock = threading.Lock()
        self._executors: dict[ProcessPoolExecutor, Pipe] = {}
        self._idle: queue.LifoQueue[ProcessPoolExecutor] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(self._new_executor())

    def warm(self, function: Callable[[], object]) -> list[Future[object]]:
        """Start the processes and let each call ``function``, for the imports that it brings.

        So does each process that replaces one of them, before anybody calls it.
        """
        with self._lock:
            self._first_call = function
            return [executor.submit(function) for executor in self._executors]

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function of a module in a worker process and wait for its result or exception.

        Raises ``WorkerDied`` when the process ends without an answer or exceeds the limit of time or memory.
        """
        return self.run_told(None, function, *args, **kwargs)

    def run_told(
        self, told: Callable[[Any], None] | None, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """As ``run``; told gets what the function tells (``tell``) while it is at work, and must be quick."""
        executor = self._idle.get()
        subject, call = current_subject(), partial(function, *args, **kwargs)
        try:
            try:
                future = executor.submit(_call, subject, call)
            except BrokenProcessPool:
                # It died while it was idle, which says nothing about these arguments.
                executor = self._replace(executor)
                future = executor.submit(_call, subject, call)
            left = self._listen(self._reports(executor), future, told)
            return future.result(timeout=left)
        except MemoryError as error:
            # What it still holds on to is not known: the next call gets a new one.
            executor = self._replace(executor)
            _logger.warning("a worker process ran out of memory and was ended")
            raise WorkerDied(
                "reading the files took too much memory and was stopped",
                where=function.__name__,
                expected="as much as the machine has"
                if self._memory_bytes is None
                else f"at most {self._memory_bytes} bytes",
                got=str(error),
                advice="one of the files claims a grid that is not its own, or RAINPOST_DECODE_MEMORY_BYTES "
                "is too small for it; check the files with `rainpost inspect`",
            ) from error
        except (BrokenProcessPool, TimeoutError) as error:
            late = isinstance(error, TimeoutError)
            if late and future.done():
                raise
            executor = self._replace(executor)
            _logger.warning("a worker process %s", "ran out of time and was ended" if late else "died")
            raise WorkerDied(
                "reading the files took too long and was stopped"
                if late
                else "the process that read the files died",
                where=function.__name__,
                got=f"no answer within {self._timeout_seconds:g} s" if late else "no answer",
                advice="one of the files is probably damaged; check them with `rainpost inspect`",
            ) from error
        finally:
            self._idle.put(executor)

    def close(self) -> None:
        """End the processes, whatever they are doing. Calls that wait for them fail."""
        with self._lock:
            self._closed = True
            for executor in self._executors:
                _end(executor)
            self._executors.clear()

    def _reports(self, executor: ProcessPoolExecutor) -> connection.Connection[Any, Any]:
        with self._lock:
            if self._closed:
                raise RuntimeError("the workers are closed")
            return self._executors[executor][0]

    def _listen(
        self,
        reports: connection.Connection[Any, Any],
        future: Future[R],
        told: Callable[[Any], None] | None,
    ) -> float:
        """Pass on what is told until the function has ended or its time is over; seconds that are left."""
        deadline = time.monotonic() + self._timeout_seconds
        ended, end = multiprocessing.Pipe(duplex=False)
        with ended, end:

            def wake(_: object) -> None:
                # After the time is over nobody waits any more.
                with suppress(OSError):
                    end.send(None)

            future.add_done_callback(wake)
            while (left := deadline - time.monotonic()) > 0:
                ready = connection.wait([reports, ended], left)
                if reports in ready:
                    report = reports.recv()
                    if told is not None:
                        told(report)
                elif ready:
                    break
        while future.done() and reports.poll():
            report = reports.recv()
            if told is not None:
                told(report)
        return max(deadline - time.monotonic(), 0.0)

    def _new_executor(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._closed:
                raise RuntimeError("the workers are closed")
            pipe = _SPAWN.Pipe(duplex=False)
            executor = ProcessPoolExecutor(
                max_workers=1,
                mp_context=_SPAWN,
                initializer=_begin,
                initargs=(current_setup(), self._memory_bytes, pipe[1]),
            )
            self._executors[executor] = pipe
            if self._first_call is not None:
                executor.submit(self._first_call)
            return executor

    def _replace(self, executor: ProcessPoolExecutor) -> ProcessPoolExecutor:
        with self._lock:
            self._executors.pop(executor, None)
            _end(executor)
        return self._new_executor()


def _end(executor: ProcessPoolExecutor) -> None:
    # The executor has no public way to end a process that is busy.
    for process in list((executor._processes or {}).values()):
        process.kill()
    executor.shutdown(wait=True, cancel_futures=True)


def _call(subject: dict[str, str], function: Callable[[], R]) -> R:
    """In the worker process: its log lines are about what the caller's are about."""
    with log_subject(**subject):
        return function()


def _begin(
    setup: LogSetup | None, memory_bytes: int | None, reports: connection.Connection[Any, Any]
) -> None:
    """What a new process does first. setup: how it logs; None: as Python does. reports: for ``tell``."""
    _TELLER.to = reports
    if memory_bytes is not None:
        limit_memory(memory_bytes)
    if setup is not None:
        configure_logs(setup.level, setup.form)
    keep_freed_memory()
    _watch_parent()


def _watch_parent() -> None:
    """End this process with its parent, which may be killed and has then no chance to end it."""
    # Ctrl-C goes to the whole process group; the parent decides what ends when.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
