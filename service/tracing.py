"""Traces of requests and jobs, for those who ask for them; otherwise nothing is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

from service.errors import SettingsError

Kind = Literal["internal", "server", "producer", "consumer"]
"""What a span is of: a part of the work; a request; a job that is queued; a job that is done."""

Attributes = Mapping[str, str | int]


class Span(Protocol):
    """A part of a trace, while it lasts."""

    def rename(self, name: str) -> None:
        """Give it the name that it should have had from its start."""

    def add(self, attributes: Attributes) -> None:
        """Say more of it."""

    def fail(self, reason: str) -> None:
        """It ended in failure without an exception that left it."""


class Tracing(Protocol):
    """Where spans go."""

    def span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        attributes: Attributes | None = None,
    ) -> AbstractContextManager[Span]:
        """The block as a span; its log lines carry its ids.

        parent: a traceparent (W3C), from another process or time; None for the span around, if there is one.
        """

    def traceparent(self) -> str | None:
        """Of the span around, to be the parent of what follows from it."""

    def close(self) -> None:
        """Send what is left."""


class NoTracing:
    """Does nothing."""

    @contextmanager
    def span(
        self,
        name: str,  # noqa: ARG002
        kind: Kind = "internal",  # noqa: ARG002
        *,
        parent: str | None = None,  # noqa: ARG002
        attributes: Attributes | None = None,  # noqa: ARG002
    ) -> Iterator[Span]:
        """Just the block."""
        yield _NoSpan()

    def traceparent(self) -> str | None:
        """None."""
        return None

    def close(self) -> None:
        """Nothing is left."""


class _NoSpan:
    def rename(self, name: str) -> None:
        """Nothing."""

    def add(self, attributes: Attributes) -> None:
        """Nothing."""

    def fail(self, reason: str) -> None:
        """Nothing."""


def open_tracing(endpoint: str | None) -> Tracing:
    """To the collector at an endpoint. Raises ``SettingsError`` where the packages are not installed."""
    if endpoint is None:
        return NoTracing()
    try:
        from service.otlp import OtlpTracing  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(
            "traces are asked for, but cannot be made",
            where="RAINPOST_OTLP_ENDPOINT",
            expected="the packages of rainpost[tracing]",
            got=f"no module {error.name}",
            advice="install rainpost[tracing], or unset it",
        ) from error
    return OtlpTracing(endpoint)
