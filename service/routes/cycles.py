"""Published cycles and how they stand: ``/cycles``."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import numpy as np
from fastapi import APIRouter, Query

from service.documents import CycleDocument, CyclesDocument, cycle_document, cycles_document
from service.errors import NotFound
from service.routes.state import Service, problem_responses
from service.store import Record, Store
from service.times import iso_time, parse_time

router = APIRouter(prefix="/cycles", tags=["cycles"])

LATEST: Final = "latest"

ReferenceTime = Annotated[
    str, "ISO 8601 with the hour, such as 2026-11-22T00:00Z, or YYYYMMDDHH, or latest for the newest cycle."
]


@router.get("", summary="Cycles and how they stand", responses=problem_responses(400, 422, 503))
async def cycles(
    service: Service,
    limit: Annotated[int, Query(ge=1, le=10_000, description="How many at most.")] = 100,
) -> CyclesDocument:
    """Cycles that are published, at work or expected, newest first."""
    return cycles_document(await asyncio.to_thread(service.cycles.recent, limit))


@router.get(
    "/{reference_time}", summary="How one cycle stands", responses=problem_responses(400, 404, 422, 503)
)
async def cycle(reference_time: ReferenceTime, service: Service) -> CycleDocument:
    """State, leads, jobs and revisions, each with its product, its inputs and the model that made it."""

    def find() -> CycleDocument:
        time = _time(service.store, reference_time)
        if (state := service.cycles.of(time)) is None:
            raise NotFound(
                "nothing is known of this cycle", where=iso_time(time), advice="GET /cycles lists them"
            )
        return cycle_document(state)

    return await asyncio.to_thread(find)


def _time(store: Store, text: str) -> np.datetime64:
    return store.latest() if text == LATEST else parse_time(text)


def find_record(store: Store, reference_time: str, revision: int | None) -> Record:
    """The revision that a path and its parameters name. Raises RequestError and NotFound."""
    return store.record(_time(store, reference_time), revision)
