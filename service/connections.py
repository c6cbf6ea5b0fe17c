"""Connections that nobody can hold without using them: uvicorn's, with limits of time and number."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar, Final, cast

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.errors import RainpostError, RequestError, Unavailable
from service.problems import MEDIA_TYPE, problem_of

_LINGER_SECONDS: Final = 5.0
"""How long a client that still sends has to read why nobody wants it."""


class LimitedConnection(H11Protocol):
    """One connection; its limits are set by ``limited_connections``."""

    timeout_seconds: ClassVar[float]
    most: ClassVar[int]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        if len(self.connections) > 2 * self.most:
            self.transport.abort()
        elif len(self.connections) > self.most:
            self.app = _refuse_overload
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            # It would be read to its end, however long that is.
            self.loop.call_later(_LINGER_SECONDS, self._end_unread, self.cycle)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.timeout_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def send_400_response(self, _: str) -> None:
        """A problem document, like every refusal."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            # In the middle of an answer there is no place for another one.
            self.transport.close()
            return
        error = RequestError(
            "not a request of HTTP/1.1", expected="a complete and not too long head, by RFC 9112"
        )
        head, body = _plain_answer(error)
        parts = (
            h11.Response(status_code=error.status, headers=head, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        for part in parts:
            self.transport.write(self.conn.send(part) or b"")
        self.transport.close()

    def _watch_head(self) -> None:
        waits = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
        if not waits and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        elif waits and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.timeout_seconds, self.transport.abort)

    def _end_unread(self, cycle: object) -> None:
        if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def _end_timers(self) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()


def limited_connections(receive_timeout_seconds: float, most: int) -> type[H11Protocol]:
    """The kind of connection that a server is to make.

    receive_timeout_seconds: for the head of a request, and for each piece of an answer to be taken.
    most: beyond so many at the same time requests get 503; beyond twice as many connections are cut.
    """
    limits = {"timeout_seconds": receive_timeout_seconds, "most": most}
    return type(LimitedConnection.__name__, (LimitedConnection,), limits)


async def _refuse_overload(scope: Scope, _: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    error = Unavailable("too many connections", where="RAINPOST_MAX_CONNECTIONS", advice="try again later")
    head, body = _plain_answer(error, scope["path"])
    await send({"type": "http.response.start", "status": error.status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _plain_answer(error: RainpostError, instance: str = "") -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of a refusal that the application has no part in."""
    body = json.dumps(problem_of(error, instance).model_dump(exclude_defaults=True)).encode()
    head = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    if error.retry_after_seconds is not None:
        head.append((b"retry-after", str(error.retry_after_seconds).encode()))
    return head, body
