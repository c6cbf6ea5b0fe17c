"""Bodies that are small where no files are handed in, and that come at a certain speed everywhere."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TooLarge, TooSlow

_PIECE_BYTES: Final = 64 * 1024
_SMALL_BYTES: Final = 1024**2

_LARGE: Final = frozenset({("POST", "/correct"), ("POST", "/observations")})
"""They write what comes to the disk, and have a limit of their own."""


class BodyLimits:
    """Middleware within all that answer errors: what goes beyond a limit is raised where the body is read.

    seconds: that each 64 KiB may take.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = None if (scope["method"], scope["path"]) in _LARGE else _SMALL_BYTES
        await self._app(scope, _Receiver(scope, receive, limit, self._seconds), send)


class _Receiver:
    """The rest of a body."""

    def __init__(self, scope: Scope, receive: Receive, limit: int | None, seconds: float) -> None:
        announced = Headers(scope=scope).get("content-length", "")
        self._announced = int(announced) if announced.isdecimal() else 0
        self._receive = receive
        self._limit = limit
        self._seconds = seconds
        self._received = 0
        self._complete = False
        self._next_piece = _PIECE_BYTES
        self._left_seconds = seconds

    async def __call__(self) -> Message:
        if self._complete:
            # What comes now is that the client has gone.
            return await self._receive()
        if self._limit is not None and max(self._announced, self._received) > self._limit:
            raise TooLarge("the body is too large", expected=f"at most {self._limit} bytes")
        message = await self._next()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        return message

    async def _next(self) -> Message:
        if self._received >= self._next_piece:
            self._left_seconds = self._seconds
            self._next_piece = self._received + _PIECE_BYTES
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            # Only waiting counts: the time that our own disk takes is not the client's.
            async with asyncio.timeout(self._left_seconds):
                message = await self._receive()
        except TimeoutError as error:
            raise TooSlow(
                "the body comes too slowly",
                where="RAINPOST_RECEIVE_TIMEOUT_SECONDS",
                expected=f"{_PIECE_BYTES} bytes in {self._seconds:g} s",
                got=f"{self._received} bytes in all so far",
                advice="send it again over a faster connection",
            ) from error
        self._left_seconds -= clock() - began
        return message
