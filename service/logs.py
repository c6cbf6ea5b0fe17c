"""Log lines that name the job and the cycle they belong to."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_TALKATIVE: Final = ("httpx", "httpcore")
"""They log the addresses of requests in full, and what is in them may be secret."""

_subject: ContextVar[dict[str, str] | None] = ContextVar("subject", default=None)


@contextmanager
def log_subject(**subject: str) -> Iterator[None]:
    """Within the block every line of this thread or task carries these names, such as job and cycle."""
    token = _subject.set((_subject.get() or {}) | subject)
    try:
        yield
    finally:
        _subject.reset(token)


class SubjectFilter(logging.Filter):
    """Adds ``subject`` to a record: ``[job=1f0c2d cycle=2026-11-22T00:00:00Z] ``, or nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always lets the record pass."""
        subject = _subject.get() or {}
        names = " ".join(f"{name}={value}" for name, value in subject.items())
        record.subject = f"[{names}] " if names else ""
        return True


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # What a client sent, such as a file name in an error, must not start a line of its own.
        message, *traceback = super().format(record).split("\nTraceback", 1)
        message = message.replace("\n", "\\n").replace("\r", "\\r")
        return "\nTraceback".join([message, *traceback])


def configure_logs(level: str) -> None:
    """Send everything from ``level`` on to standard error, in UTC."""
    handler = logging.StreamHandler()
    formatter = _OneLine("%(asctime)sZ %(levelname)-7s %(name)s %(subject)s%(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(SubjectFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
