"""Log lines that name what they are about: the job and its cycle, or the request.

One line a record, as text for people or as JSON for machines; a traceback follows in lines that are indented,
or is a member of the JSON. What a client sent can begin no line of its own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

Form = Literal["text", "json"]

_TALKATIVE: Final = ("httpx", "httpcore")
"""They log the addresses of requests in full, and what is in them may be secret."""

_CONTROLS: Final = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(32), *range(127, 160), 0x2028, 0x2029)
} | {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
"""What a reader of lines, or a terminal, would take for more than a character."""

_subject: ContextVar[dict[str, str] | None] = ContextVar("subject", default=None)


@contextmanager
def log_subject(**subject: str) -> Iterator[None]:
    """Within the block every line of this thread or task carries these names, such as job and cycle."""
    token = _subject.set(current_subject() | subject)
    try:
        yield
    finally:
        _subject.reset(token)


def current_subject() -> dict[str, str]:
    """What lines of this thread or task are about."""
    return dict(_subject.get() or {})


class _SubjectFilter(logging.Filter):
    """Keeps in each record what it is about: other threads may write it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.subject = current_subject()
        return True


class _Text(logging.Formatter):
    """``2026-11-22T05:30:00Z INFO    service.jobs [job=1f0c2d cycle=2026-11-22T00:00:00Z] decoding``."""

    def format(self, record: logging.LogRecord) -> str:
        moment = f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%SZ}"
        names = " ".join(f"{name}={value}" for name, value in _subject_of(record).items())
        subject = f"[{names}] " if names else ""
        line = f"{moment} {record.levelname:<7} {record.name} {subject}{record.getMessage()}"
        parts = [line.translate(_CONTROLS)]
        for text in (_traceback(self, record), record.stack_info):
            parts += [f"  {part.translate(_CONTROLS)}" for part in (text or "").splitlines()]
        return "\n".join(parts)


class _Json(logging.Formatter):
    """``{"time": ..., "level": ..., "logger": ..., "message": ..., "job": ..., "cycle": ...}``, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        members = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        } | _subject_of(record)
        if traceback := _traceback(self, record):
            members["traceback"] = traceback
        if record.stack_info:
            members["stack"] = record.stack_info
        return json.dumps(members)


@dataclass(frozen=True)
class LogSetup:
    """How a process logs: everything from ``level`` on."""

    level: str
    form: Form = "text"


class _Handler(logging.StreamHandler[TextIO]):
    """To standard error; knows how it was set up."""

    def __init__(self, setup: LogSetup) -> None:
        super().__init__()
        self.setup = setup
        self.setFormatter(_Json() if setup.form == "json" else _Text())
        self.addFilter(_SubjectFilter())


def configure_logs(level: str, form: Form = "text") -> None:
    """Send everything from ``level`` on to standard error, in UTC."""
    root = logging.getLogger()
    root.handlers[:] = [_Handler(LogSetup(level, form))]
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def current_setup() -> LogSetup | None:
    """How this process logs, None where that is not for the service to say; for its worker processes."""
    return next((one.setup for one in logging.getLogger().handlers if isinstance(one, _Handler)), None)


def _subject_of(record: logging.LogRecord) -> dict[str, str]:
    subject: dict[str, str] = getattr(record, "subject", {})
    return subject


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else record.exc_text or ""
