"""Published cycles and their products: ``/cycles``."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from service.documents import CycleDocument, CyclesDocument, cycle_document, cycles_document
from service.errors import NotFound, RequestError
from service.negotiation import choose_media_type, matches
from service.pictures import render_lead
from service.product import point
from service.product_geotiff import geotiff
from service.product_grib import grib_messages
from service.recent import Recent
from service.routes.state import GEOTIFF, GRIB2, NETCDF, Service, problem_responses
from service.runtime import Runtime
from service.store import Record, Store
from service.times import compact_time, iso_time, parse_time

router = APIRouter(prefix="/cycles", tags=["cycles"])

LATEST: Final = "latest"
_PNG: Final = "image/png"
_TIFF: Final = GEOTIFF.partition(";")[0]
_JSON: Final = "application/json"
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_MESSAGES: Final = Recent[str, bytes](8)
"""By ETag; a product of six leads of the window of 224 x 128 cells has 1.2 MB."""

_RANGE: Final = re.compile(r"bytes=\s*(\d+-\d*|-\d+)(\s*,\s*(\d+-\d*|-\d+))*\s*")

ReferenceTime = Annotated[
    str, "ISO 8601 with the hour, such as 2026-11-22T00:00Z, or YYYYMMDDHH, or latest for the newest cycle."
]


@router.get("", summary="Cycles and how they stand", responses=problem_responses(400, 422))
async def cycles(
    service: Service,
    limit: Annotated[int, Query(ge=1, le=10_000, description="How many at most.")] = 100,
) -> CyclesDocument:
    """Cycles that are published, at work or expected, newest first."""
    return cycles_document(await asyncio.to_thread(service.cycles.recent, limit))


@router.get("/{reference_time}", summary="How one cycle stands", responses=problem_responses(400, 404, 422))
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


@router.head("/{reference_time}/product", include_in_schema=False)
@router.get(
    "/{reference_time}/product",
    summary="The product: NetCDF, GRIB2, GeoTIFF or picture of one lead, or one point",
    response_class=Response,
    responses={
        200: {
            "description": "The product",
            "content": dict.fromkeys((NETCDF, GRIB2, GEOTIFF, _PNG), _BINARY) | {_JSON: {}},
        },
        304: {"description": "The client has it already"},
        **problem_responses(400, 404, 406, 416, 422),
    },
)
async def product(
    request: Request,
    reference_time: ReferenceTime,
    service: Service,
    revision: Annotated[int | None, Query(ge=1, description="The newest by default.")] = None,
    lead: Annotated[int | None, Query(description="Lead of a picture, GeoTIFF or GRIB2, in hours.")] = None,
    lat: Annotated[float | None, Query(ge=-90, le=90, description="Latitude of the point.")] = None,
    lon: Annotated[float | None, Query(ge=-180, le=360, description="Longitude of the point.")] = None,
) -> Response:
    """`Accept` decides: `application/x-netcdf`, `application/wmo-GRIB2` of all leads or of `lead`,
    `image/tiff` and `image/png` with `lead`, `application/json` with `lat` and `lon`. A client that accepts
    anything gets what the parameters ask for, and NetCDF without parameters.
    """
    record = await asyncio.to_thread(lambda: find_record(service.store, reference_time, revision))
    media_type = choose_media_type(request.headers.get("accept"), _offers(lead, lat, lon))
    if media_type == NETCDF:
        return product_file(service, record, request)
    if media_type == GRIB2:
        return await _grib(service, record, lead, request)
    if media_type in {_PNG, _TIFF}:
        return await _picture(service, record, lead, request, media_type)
    return await _point(service, record, lat, lon, request)


def product_file(
    service: Runtime, record: Record, request: Request, headers: dict[str, str] | None = None
) -> Response:
    """The NetCDF file of a revision; ETag is the sha256 of its bytes."""
    etag = f'"{record.sha256}"'
    headers = (headers or {}) | _entity_headers(record, etag)
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    _refuse_range(request.headers.get("range"), record.size_bytes)
    name = f"{_file_stem(record)}.nc"
    return FileResponse(service.store.product_path(record), headers=headers, media_type=NETCDF, filename=name)


def _file_stem(record: Record) -> str:
    time = compact_time(parse_time(record.reference_time))
    return f"{record.origin.model.name}_{time}_r{record.revision}"


async def _grib(service: Runtime, record: Record, lead: int | None, request: Request) -> Response:
    """Messages of one lead or of all, made when they are first asked for."""
    if lead is not None:
        _check_lead(record, lead)
    part = "" if lead is None else f"-{lead}"
    etag = f'"{record.sha256}-grib2{part}"'
    headers = _entity_headers(record, etag)
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)

    def make() -> bytes:
        return _MESSAGES.get(etag, lambda: grib_messages(service.shelf.dataset(record), lead))

    name = f"{_file_stem(record)}{part.replace('-', '_h')}.grib2"
    headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return Response(await asyncio.to_thread(make), headers=headers, media_type=GRIB2)


async def _picture(
    service: Runtime, record: Record, lead: int | None, request: Request, media_type: str
) -> Response:
    """One lead, to look at (PNG) or to compute with (GeoTIFF)."""
    if lead is None:
        raise RequestError(
            "a picture shows one lead", where="lead", expected=f"one of {_leads(record)}", got="none"
        )
    _check_lead(record, lead)
    etag = f'"{record.sha256}-{media_type.partition("/")[2]}-{lead}"'
    headers = _entity_headers(record, etag)
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    if media_type == _PNG:
        picture = await asyncio.to_thread(lambda: render_lead(service.shelf.dataset(record), lead))
        return Response(picture, headers=headers, media_type=_PNG)
    headers["Content-Disposition"] = f'attachment; filename="{_file_stem(record)}_h{lead}.tif"'
    file = await asyncio.to_thread(lambda: geotiff(service.shelf.dataset(record), lead))
    return Response(file, headers=headers, media_type=GEOTIFF)


async def _point(
    service: Runtime, record: Record, lat: float | None, lon: float | None, request: Request
) -> Response:
    if lat is None or lon is None:
        raise RequestError("JSON holds one point", where="lat, lon", expected="both, in degrees")
    etag = f'"{record.sha256}-point-{lat!r}-{lon!r}"'
    headers = _entity_headers(record, etag)
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)

    def read() -> dict[str, Any]:
        return point(service.shelf.dataset(record), lat, lon)

    return JSONResponse(await asyncio.to_thread(read), headers=headers)


def _offers(lead: int | None, lat: float | None, lon: float | None) -> tuple[str, ...]:
    """All forms, that which the parameters speak of first."""
    if lat is not None or lon is not None:
        return (_JSON, NETCDF, GRIB2, _PNG, _TIFF)
    if lead is not None:
        return (_PNG, _TIFF, NETCDF, GRIB2, _JSON)
    return (NETCDF, GRIB2, _PNG, _TIFF, _JSON)


def _entity_headers(record: Record, etag: str) -> dict[str, str]:
    return {
        "ETag": etag,
        "Vary": "Accept",
        "Content-Location": f"/cycles/{record.reference_time}/product?revision={record.revision}",
    }


def _time(store: Store, text: str) -> np.datetime64:
    return store.latest() if text == LATEST else parse_time(text)


def find_record(store: Store, reference_time: str, revision: int | None) -> Record:
    """The revision that a path and its parameters name. Raises RequestError and NotFound."""
    return store.record(_time(store, reference_time), revision)


def _check_lead(record: Record, lead: int) -> None:
    if lead not in record.origin.leads_hours:
        raise NotFound("no such lead", where="lead", expected=f"one of {_leads(record)}", got=str(lead))


def _leads(record: Record) -> str:
    return ", ".join(str(lead) for lead in record.origin.leads_hours)


def _refuse_range(header: str | None, size_bytes: int) -> None:
    """The file response would answer a bad range in plain text, which no answer of this service is."""
    if header is None or not header.startswith("bytes="):
        return
    if not _RANGE.fullmatch(header):
        raise RequestError(
            "not a range of bytes", where="Range", expected="bytes=FIRST-LAST", got=header[:80]
        )
    for first, last in re.findall(r"(\d*)-(\d*)", header):
        if (first and int(first) >= size_bytes) or (first and last and int(last) < int(first)):
            raise HTTPException(416, "Range Not Satisfiable", {"Content-Range": f"bytes */{size_bytes}"})
