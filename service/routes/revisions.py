"""Files of revisions under names that end as files do: ``/cycles/{reference_time}/revisions/{revision}.nc``.

Readers that go by a name, or read a file in parts over HTTP, need one that stays the same file.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from service.representations import FOR_EVER, REVALIDATE
from service.routes.cycles import LATEST, ReferenceTime, find_record
from service.routes.products import product_file
from service.routes.state import NETCDF, Service, problem_responses

router = APIRouter(prefix="/cycles", tags=["cycles"])

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


@router.get(
    "/{reference_time}/revisions/{revision}.nc",
    summary="The NetCDF file of a revision, which never changes",
    response_class=Response,
    responses={
        200: {"description": "The file", "content": {NETCDF: _BINARY}},
        206: {"description": "The bytes of the file that Range asks for"},
        304: {"description": "The client has it already"},
        **problem_responses(400, 404, 416, 422),
    },
)
async def revision_file(
    request: Request,
    reference_time: ReferenceTime,
    revision: Annotated[int, Path(ge=1)],
    service: Service,
) -> Response:
    """Whole or, with `Range`, in parts: with `#mode=bytes` after it the NetCDF library reads what it needs,
    `xarray.open_dataset(address + "#mode=bytes")`. `latest` is the newest cycle at each request: to read in
    parts, name the cycle.
    """
    record = await asyncio.to_thread(lambda: find_record(service.store, reference_time, revision))
    caching = REVALIDATE if reference_time == LATEST else FOR_EVER
    return product_file(service, record, request, {"Cache-Control": caching})
