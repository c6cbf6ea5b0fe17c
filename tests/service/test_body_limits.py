"""Limits of bodies, without a server: a body is a list of messages and pauses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.body_limits import BodyLimits
from service.errors import TooLarge, TooSlow

MIB = 1024**2


def read(
    messages: list[Message | float],
    *,
    method: str = "PUT",
    path: str = "/models/active",
    length: int | None = None,
    seconds: float = 0.2,
    work_seconds: float = 0.0,
) -> int:
    """How many bytes a route gets to read that works for so long on each piece."""
    received = 0
    left: Iterator[Message | float] = iter(messages)

    async def receive() -> Message:
        for one in left:
            if isinstance(one, float):
                await asyncio.sleep(one)
            else:
                return one
        return {"type": "http.disconnect"}

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal received
        more = True
        while more:
            message = await receive()
            received += len(message.get("body", b""))
            more = message.get("more_body", False)
            await asyncio.sleep(work_seconds)

    async def send(_: Message) -> None: ...

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(BodyLimits(route, seconds)(scope, receive, send))
    return received


def pieces(number: int, size: int) -> list[Message | float]:
    piece: Message = {"type": "http.request", "body": b"a" * size, "more_body": True}
    end: Message = {"type": "http.request"}
    return [*[piece] * number, end]


def test_small_bodies_pass() -> None:
    assert read(pieces(16, 65536), length=MIB) == MIB


def test_a_body_that_is_announced_as_too_large_is_not_read() -> None:
    with pytest.raises(TooLarge, match=str(MIB)):
        read([], length=MIB + 1)


def test_a_body_that_turns_out_too_large_is_read_no_further() -> None:
    with pytest.raises(TooLarge):
        read(pieces(1000, 65536))


@pytest.mark.parametrize("path", ["/correct", "/observations"])
def test_files_have_limits_of_their_own(path: str) -> None:
    assert read(pieces(40, 65536), method="POST", path=path) == 40 * 65536


def test_every_64_kib_have_their_time() -> None:
    slow: list[Message | float] = []
    for piece in pieces(4, 65536):
        slow += [0.12, piece]
    assert read(slow) == 4 * 65536
    drip: list[Message | float] = []
    for piece in pieces(4, 1000):
        drip += [0.12, piece]
    with pytest.raises(TooSlow, match=r"1000 bytes in all"):
        read(drip)


def test_the_time_of_the_service_itself_does_not_count() -> None:
    assert read(pieces(6, 1000), work_seconds=0.1) == 6000


def test_after_its_end_nobody_is_in_a_hurry() -> None:
    """A long wait for a product looks whether the client is still there."""

    async def receive() -> Message:
        if not ended:
            ended.append(True)
            return {"type": "http.request"}
        await asyncio.sleep(0.3)
        return {"type": "http.disconnect"}

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"

    async def send(_: Message) -> None: ...

    ended: list[bool] = []
    scope = {"type": "http", "method": "POST", "path": "/correct", "headers": []}
    asyncio.run(BodyLimits(route, 0.1)(scope, receive, send))
