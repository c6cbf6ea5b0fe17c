"""Explanations of products, as far as there are any: ``/cycles/{reference_time}/explanations``."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from service.explanations import MISSING, STEP, Explanation, pack
from service.negotiation import matches
from service.routes.cycles import ReferenceTime, find_record
from service.routes.state import NETCDF, Service, problem_responses
from service.runtime import Runtime
from service.store import Record

router = APIRouter(prefix="/cycles", tags=["cycles"])

_OCTETS: Final = "application/octet-stream"
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_CACHING: Final = {"Cache-Control": "no-cache"}

Revision = Annotated[int | None, Query(ge=1, description="The newest by default.")]


class ExplanationDocument(BaseModel):
    """What speaks for a class at a lead in a cell, by depth of the network."""

    name: str
    lead_hours: int
    class_name: str
    row: int
    column: int
    latitude: float
    longitude: float
    depths: tuple[str, ...] = Field(description="Parts of the network, in the order of the layer.")
    href: str = Field(description="Bytes (depth, row, column); their value is `step` times the byte.")
    file: str = Field(description="The same as CF NetCDF.")


class ExplanationsDocument(BaseModel):
    """The explanations of a revision of a product."""

    reference_time: str
    revision: int
    sha256: str
    step: float
    missing: int = Field(description="The byte that stands for no value.")
    explanations: tuple[ExplanationDocument, ...]


@router.get(
    "/{reference_time}/explanations",
    summary="Where the network looked: which explanations there are",
    responses=problem_responses(400, 404, 422),
)
async def explanations(
    reference_time: ReferenceTime, service: Service, revision: Revision = None
) -> ExplanationsDocument:
    """Explanations are computed offline, by `python -m training.explain`, cell by cell: most often there is
    none.
    """

    def find() -> ExplanationsDocument:
        record = find_record(service.store, reference_time, revision)
        return ExplanationsDocument(
            reference_time=record.reference_time,
            revision=record.revision,
            sha256=record.sha256,
            step=STEP,
            missing=MISSING,
            explanations=tuple(_document(record, one) for one in service.explanations.of(record)),
        )

    return await asyncio.to_thread(find)


@router.get(
    "/{reference_time}/explanations/{name}.nc",
    summary="One explanation as CF NetCDF",
    response_class=Response,
    responses={
        200: {"description": "The file", "content": {NETCDF: _BINARY}},
        **problem_responses(400, 404, 422),
    },
)
async def explanation_file(
    reference_time: ReferenceTime, name: str, service: Service, revision: Revision = None
) -> Response:
    """Relevance (depth, y, x) on the grid of the product, from 0 to 1."""
    found = await asyncio.to_thread(lambda: _find(service, reference_time, revision, name))
    return FileResponse(found.path, headers=_CACHING, media_type=NETCDF, filename=found.path.name)


@router.get(
    "/{reference_time}/explanations/{name}",
    summary="One explanation as a layer of the map",
    response_class=Response,
    responses={
        200: {"description": "The layer", "content": {_OCTETS: {}}},
        304: {"description": "The client has it already"},
        **problem_responses(400, 404, 422),
    },
)
async def explanation(
    request: Request, reference_time: ReferenceTime, name: str, service: Service, revision: Revision = None
) -> Response:
    """Bytes (depth, row, column), packed as `/cycles/{reference_time}/explanations` says."""

    def make() -> Response:
        found = _find(service, reference_time, revision, name)
        status = found.path.stat()
        etag = f'"{name}-{status.st_mtime_ns}-{status.st_size}"'
        headers = _CACHING | {"ETag": etag}
        if matches(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        return Response(pack(found), headers=headers, media_type=_OCTETS)

    return await asyncio.to_thread(make)


def _find(service: Runtime, reference_time: str, revision: int | None, name: str) -> Explanation:
    return service.explanations.find(find_record(service.store, reference_time, revision), name)


def _document(record: Record, one: Explanation) -> ExplanationDocument:
    path = f"/cycles/{record.reference_time}/explanations/{one.path.stem}"
    query = f"?revision={record.revision}"
    return ExplanationDocument(
        name=one.path.stem,
        lead_hours=one.cell.lead_hours,
        class_name=one.cell.class_name,
        row=one.cell.row,
        column=one.cell.column,
        latitude=one.latitude,
        longitude=one.longitude,
        depths=one.depths,
        href=f"{path}{query}",
        file=f"{path}.nc{query}",
    )
