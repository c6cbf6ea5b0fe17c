"""Revisions as Zarr stores: ``/cycles/{reference_time}/revisions/{revision}.zarr``."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from service.errors import NotFound, RequestError
from service.product_zarr import METADATA, zarr_store
from service.recent import Recent
from service.representations import Body, Representation
from service.routes.cycles import LATEST, ReferenceTime, find_record
from service.routes.state import Service, problem_responses
from service.versions import rainpost_version

router = APIRouter(prefix="/cycles", tags=["cycles"])

_STORES: Final = Recent[str, dict[str, bytes]](4)
"""By digest; that of six leads of the window of 224 x 128 cells has some 3 MB."""


@router.get(
    "/{reference_time}/revisions/{revision}.zarr/{key:path}",
    summary="A revision as a Zarr store, to read only",
    response_class=Response,
    responses={
        200: {
            "description": "Metadata or a chunk",
            "content": {"application/json": {}, "application/octet-stream": {}},
        },
        206: {"description": "The bytes of it that Range asks for"},
        304: {"description": "The client has it already"},
        **problem_responses(400, 404, 416, 422),
    },
)
async def store(
    reference_time: ReferenceTime,
    revision: Annotated[int, Path(ge=1)],
    key: str,
    request: Request,
    service: Service,
) -> Response:
    """`xarray.open_zarr(address)` reads it, chunk by chunk. A key without a chunk (404) holds fill values.

    `latest` is refused: it could become another cycle between two chunks.
    """
    if reference_time == LATEST:
        raise RequestError(
            "a store must stay the same",
            where="reference_time",
            expected="the time of a cycle",
            got=LATEST,
            advice="GET /cycles/latest names it",
        )

    def answer() -> Response:
        record = find_record(service.store, reference_time, revision)
        keys = _STORES.get(record.sha256, lambda: zarr_store(service.shelf.dataset(record)))
        if key not in keys:
            raise NotFound(
                "the store has no such key", where=key[:200], advice=f"{METADATA} lists the arrays"
            )
        described = key.rpartition("/")[2] == METADATA
        form = Representation(
            f'"{record.sha256}-zarr-{key.replace("/", "-")}-{rainpost_version()}"',
            "application/json" if described else "application/octet-stream",
            compressible=described,
        )
        return form.answer(request, lambda: Body(keys[key]))

    return await asyncio.to_thread(answer)
