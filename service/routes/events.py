"""What is published, as it is published: ``/events``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from service.documents import product_path
from service.publications import Publication, Publications
from service.routes.state import Service

router = APIRouter(tags=["cycles"])

_HEARTBEAT_SECONDS: Final = 15.0
"""Proxies cut off a connection on which nothing comes, most of them after a minute."""

_RETRY_MILLISECONDS: Final = 3000


@router.get(
    "/events",
    summary="Products and observations as they are published",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events without an end", "content": {"text/event-stream": {}}}
    },
)
async def events(service: Service) -> StreamingResponse:
    """Server-sent events: `published` for a revision of a cycle, `observed` for one of an hour's observation.

    Whatever is there when the stream begins is not told: read `/cycles` then, and again after a break.
    """
    return StreamingResponse(
        stream(service.publications),
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        media_type="text/event-stream",
    )


async def stream(
    publications: Publications, heartbeat_seconds: float = _HEARTBEAT_SECONDS
) -> AsyncIterator[str]:
    """The text of the stream, which ends when the service does."""
    async with publications.listener() as queue:
        yield f"retry: {_RETRY_MILLISECONDS}\n: listening\n\n"
        while True:
            try:
                publication = await asyncio.wait_for(queue.get(), heartbeat_seconds)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if publication is None:
                return
            yield _event(publication)


def _event(publication: Publication) -> str:
    if publication.kind == "published":
        data = {
            "reference_time": publication.time,
            "revision": publication.revision,
            "cycle": f"/cycles/{publication.time}",
            "product": product_path(publication.time, publication.revision),
        }
    else:
        data = {"valid_time": publication.time, "revision": publication.revision}
    return f"event: {publication.kind}\ndata: {json.dumps(data)}\n\n"
