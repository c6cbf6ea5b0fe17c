"""Bodies of requests that bring files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from service.errors import RequestError, TooLarge
from service.runtime import Runtime
from service.submission import InputFile
from service.uploads import Body, open_body

_WRITE_BYTES: Final = 1024**2


async def receive_files(
    request: Request, service: Runtime, uploads: Path, known_fields: set[str]
) -> tuple[list[InputFile], dict[str, str]]:
    """Write the files of a body into ``uploads``; they, and the form fields beside them.

    Raises ``RequestError`` (also for form fields of other names), ``EmptyInput`` and ``TooLarge``.
    """
    settings = service.settings
    limit = settings.max_body_bytes
    _refuse_length(request.headers.get("content-length"), limit)
    body = await asyncio.to_thread(
        open_body, uploads, request.headers.get("content-type", ""), settings.max_files
    )
    try:
        with service.metrics.time_stage("receive"):
            inputs = await _write_stream(request, body, limit)
    finally:
        await asyncio.to_thread(body.close)
    unknown = set(body.fields) - known_fields
    if unknown:
        raise RequestError(
            "unknown form fields",
            where=", ".join(sorted(unknown))[:200],
            expected=f"files, and at most the field {', '.join(sorted(known_fields))}",
            advice="send files as parts with a file name",
        )
    return inputs, body.fields


def refuse_encoding(request: Request) -> None:
    """Raises ``RequestError`` for a compressed body."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise RequestError(
            "the body is compressed", where="Content-Encoding", expected="identity", got=encoding[:80]
        )


async def _write_stream(request: Request, body: Body, limit: int) -> list[InputFile]:
    """Write in pieces of a size that makes the way through a thread worth it."""
    received = 0
    waiting = bytearray()
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit:
                raise _too_large(limit, f"more than {limit} bytes")
            waiting += chunk
            if len(waiting) >= _WRITE_BYTES:
                await asyncio.to_thread(body.write, bytes(waiting))
                waiting.clear()
    except ClientDisconnect as error:
        raise RequestError("the connection ended before the body did", got=f"{received} bytes") from error
    await asyncio.to_thread(body.write, bytes(waiting))
    return await asyncio.to_thread(body.finish)


def _refuse_length(announced: str | None, limit: int) -> None:
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise _too_large(limit, f"{announced} bytes announced")


def _too_large(limit: int, got: str) -> TooLarge:
    return TooLarge(
        "the body is too large",
        expected=f"at most {limit} bytes",
        got=got,
        advice="send fewer files at a time, or raise RAINPOST_MAX_BODY_BYTES",
    )
