"""OGC API - Environmental Data Retrieval: ``/conformance`` and ``/collections``."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
from edr_pydantic.capabilities import ConformanceModel
from edr_pydantic.collections import Collection, Collections, Instance, Instances
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from service.coverage_json import coverage_json
from service.edr_documents import (
    COLLECTION,
    COVERAGE_JSON_TYPE,
    JSON_TYPE,
    Offer,
    collection_document,
    collections_document,
    conformance,
    instance_document,
    instances_document,
    offer_of,
)
from service.edr_query import (
    COVERAGE_JSON,
    NETCDF_FORMAT,
    Sample,
    chosen_format,
    chosen_leads,
    chosen_parameters,
    chosen_system,
)
from service.geometry import Cells, ReferenceSystem, cells_of_area, cells_of_box, cells_of_point
from service.grids import Grid
from service.negotiation import choose_media_type
from service.product_coordinates import product_grid
from service.product_subset import subset_netcdf
from service.recent import Recent
from service.representations import FOR_A_DAY, REVALIDATE, Body, Representation
from service.routes.cycles import LATEST, ReferenceTime, find_record
from service.routes.state import NETCDF, Service, problem_responses
from service.runtime import Runtime
from service.store import Record
from service.times import parse_time
from service.versions import rainpost_version

router = APIRouter(tags=["OGC API - EDR"])

_PATH: Final = f"/collections/{COLLECTION}"
_INSTANCE: Final = f"{_PATH}/instances/{{reference_time}}"
_OFFERS: Final = Recent[str, Offer](16)
"""By the digest of a model's manifest."""

_ATTACHED: Final = {"Content-Disposition": 'attachment; filename="rainpost.nc"'}
_MEDIA_TYPES: Final = {COVERAGE_JSON: COVERAGE_JSON_TYPE, NETCDF_FORMAT: NETCDF}
_FOUND: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The part of the product",
        "content": {
            COVERAGE_JSON_TYPE: {"schema": {"type": "object"}},
            NETCDF: {"schema": {"type": "string", "format": "binary"}},
        },
    },
    204: {"description": "No cell or no lead lies there"},
    304: {"description": "The client has it already"},
    **problem_responses(400, 404, 406, 416, 422),
}
_RESPONSES: Final[dict[str, Any]] = {"response_class": Response, "responses": _FOUND}
Place = Callable[[Grid, str, ReferenceSystem], Cells]


@dataclass(frozen=True)
class Choice:
    """The parameters that all queries share."""

    parameter_name: Annotated[
        str | None,
        Query(alias="parameter-name", description="Names and commas between; all by default."),
    ] = None
    datetime: Annotated[
        str | None, Query(description="A time or an interval, such as 2026-11-22T00:00Z/..; all by default.")
    ] = None
    crs: Annotated[
        str | None, Query(description="Of coordinates and answer: CRS84, or native for the product's plane.")
    ] = None
    f: Annotated[str | None, Query(description="CoverageJSON or NetCDF; goes before Accept.")] = None
    z: Annotated[str | None, Query(description="Taken, and without effect: there is one level.")] = None
    revision: Annotated[int | None, Query(ge=1, description="Of the cycle; the newest by default.")] = None


Asked = Annotated[Choice, Depends()]
Point = Annotated[str, Query(description="POINT(longitude latitude)")]
Area = Annotated[str, Query(description="POLYGON or MULTIPOLYGON as well-known text")]
Box = Annotated[str, Query(description="west,south,east,north")]


@router.get("/conformance", summary="Conformance classes", response_model=ConformanceModel)
async def conformance_classes(request: Request) -> Response:
    """The classes of OGC API standards that this service keeps to."""
    return _document(request, conformance())


@router.get("/collections", summary="Collections", response_model=Collections)
async def collections(request: Request, service: Service) -> Response:
    """One collection, or none as long as no cycle is published."""

    def make() -> Response:
        newest = service.store.newest()
        found = [] if newest is None else [_collection(request, service)]
        return _document(request, collections_document(str(request.base_url), found))

    return await asyncio.to_thread(make)


@router.get(_PATH, summary="The collection", response_model=Collection, responses=problem_responses(404))
async def collection(request: Request, service: Service) -> Response:
    """Extent, parameters, formats and queries of all cycles together."""
    return await asyncio.to_thread(lambda: _document(request, _collection(request, service)))


@router.get(
    f"{_PATH}/instances",
    summary="The cycles as instances",
    response_model=Instances,
    responses=problem_responses(400, 422),
)
async def instances(
    request: Request,
    service: Service,
    limit: Annotated[int, Query(ge=1, le=10_000, description="How many at most.")] = 100,
) -> Response:
    """Published cycles, newest first."""

    def make() -> Response:
        root = str(request.base_url)
        found = [
            instance_document(root, _offer(service, service.store.record(time)), time)
            for time in service.store.cycles()[:limit]
        ]
        return _document(request, instances_document(root, found))

    return await asyncio.to_thread(make)


@router.get(
    _INSTANCE, summary="One cycle", response_model=Instance, responses=problem_responses(400, 404, 422)
)
async def instance(reference_time: ReferenceTime, request: Request, service: Service) -> Response:
    """Extent, parameters, formats and queries of a cycle."""

    def make() -> Response:
        record = find_record(service.store, reference_time, None)
        time = parse_time(record.reference_time)
        return _document(request, instance_document(str(request.base_url), _offer(service, record), time))

    return await asyncio.to_thread(make)


@router.get(f"{_PATH}/position", summary="A point of the newest cycle", **_RESPONSES)
@router.get(f"{_INSTANCE}/position", summary="A point of a cycle", **_RESPONSES)
async def position(
    request: Request, service: Service, coords: Point, asked: Asked, reference_time: ReferenceTime = LATEST
) -> Response:
    """The cell that holds a point, all leads."""
    return await _query(request, service, reference_time, asked, coords, cells_of_point)


@router.get(f"{_PATH}/area", summary="An area of the newest cycle", **_RESPONSES)
@router.get(f"{_INSTANCE}/area", summary="An area of a cycle", **_RESPONSES)
async def area(
    request: Request, service: Service, coords: Area, asked: Asked, reference_time: ReferenceTime = LATEST
) -> Response:
    """Cells whose centre lies within polygons, all leads."""
    return await _query(request, service, reference_time, asked, coords, cells_of_area)


@router.get(f"{_PATH}/cube", summary="A box of the newest cycle", **_RESPONSES)
@router.get(f"{_INSTANCE}/cube", summary="A box of a cycle", **_RESPONSES)
async def cube(
    request: Request, service: Service, bbox: Box, asked: Asked, reference_time: ReferenceTime = LATEST
) -> Response:
    """Cells whose centre lies within a box, all leads."""
    return await _query(request, service, reference_time, asked, bbox, cells_of_box)


async def _query(
    request: Request, service: Runtime, reference_time: str, asked: Choice, text: str, place: Place
) -> Response:
    """/req/edr/query_type/no-data: nothing there is 204."""

    def make() -> Response:
        record = find_record(service.store, reference_time, asked.revision)
        name = chosen_format(asked.f)
        if name is None:
            accept = request.headers.get("accept")
            media_type = choose_media_type(accept, (COVERAGE_JSON_TYPE, NETCDF, JSON_TYPE))
        else:
            media_type = _MEDIA_TYPES[name]
        dataset = service.shelf.dataset(record)
        system = chosen_system(dataset, asked.crs)
        sample = Sample(
            dataset=dataset,
            parameters=chosen_parameters(dataset, asked.parameter_name),
            leads=chosen_leads(dataset, asked.datetime),
            cells=place(product_grid(dataset), text, system),
            system=system,
        )
        if sample.empty:
            return Response(status_code=204, headers={"Cache-Control": REVALIDATE, "Vary": "Accept"})
        write = subset_netcdf if media_type == NETCDF else coverage_json
        what = f"{place.__name__} {text} {asked} {media_type} {rainpost_version()}"
        form = Representation(
            f'"{record.sha256}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"',
            media_type,
            FOR_A_DAY if asked.revision is not None and reference_time != LATEST else REVALIDATE,
            vary="Accept",
            compressible=media_type != NETCDF,
            headers=_ATTACHED if media_type == NETCDF else None,
        )
        return form.answer(request, lambda: Body(write(sample)))

    return await asyncio.to_thread(make)


def _collection(request: Request, service: Runtime) -> Collection:
    times = service.store.cycles()
    record = find_record(service.store, LATEST, None)
    return collection_document(
        str(request.base_url), _offer(service, record), min(times), np.datetime64(max(times))
    )


def _offer(service: Runtime, record: Record) -> Offer:
    key = record.origin.model.manifest_sha256
    return _OFFERS.get(key, lambda: offer_of(service.shelf.dataset(record)))


def _document(request: Request, document: BaseModel) -> Response:
    content = document.model_dump_json(exclude_none=True, by_alias=True).encode()
    form = Representation(f'"{hashlib.sha256(content).hexdigest()}"', JSON_TYPE)
    return form.answer(request, lambda: Body(content))
