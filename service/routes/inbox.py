"""A look at the inbox on demand: ``POST /ingest``."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.documents import TakenDocument, taken_document
from service.errors import Conflict
from service.ingest import Source
from service.routes.state import Service, problem_responses
from service.times import parse_time

router = APIRouter(tags=["cycles"])


@router.post(
    "/ingest",
    summary="Take one cycle from the inbox now",
    responses={
        202: {"model": TakenDocument, "description": "A job was queued"},
        **problem_responses(400, 409, 422, 429, 500, 503),
    },
)
async def ingest(
    service: Service,
    response: Response,
    reference_time: Annotated[str, Query(description="The cycle.")],
    source: Annotated[
        Source,
        Query(
            description="`backfill`: take what is there, with the leads that it makes, after all other jobs, "
            "and again where another model published it."
        ),
    ] = "inbox",
) -> TakenDocument:
    """Do at once, for any cycle, what the service does by itself for the cycles of the last days.

    The files are known by their content: asking twice, or beside the service's own look, does nothing twice.
    """
    desk, time = service.ingest, parse_time(reference_time)
    if desk is None:
        raise Conflict("there is no inbox", where="RAINPOST_INBOX", expected="a folder or URL", got="not set")

    def take() -> TakenDocument:
        service.admit()
        return taken_document(desk.take(time, source))

    document = await asyncio.to_thread(take)
    response.status_code = 202 if document.outcome == "submitted" else 200
    return document
