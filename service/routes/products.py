"""The product of a cycle in its forms: ``/cycles/{reference_time}/product``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from service.documents import product_path
from service.errors import NotFound, RequestError
from service.negotiation import choose_media_type
from service.pictures import render_lead
from service.product import point
from service.product_geotiff import geotiff
from service.product_grib import grib_messages
from service.recent import Recent
from service.representations import (
    FOR_A_DAY,
    FOR_EVER,
    REVALIDATE,
    Body,
    Representation,
    check_range,
    has_already,
)
from service.routes.cycles import LATEST, ReferenceTime, find_record
from service.routes.state import GEOTIFF, GRIB2, NETCDF, Service, problem_responses
from service.runtime import Runtime
from service.store import Record
from service.times import compact_time, parse_time
from service.versions import rainpost_version

router = APIRouter(prefix="/cycles", tags=["cycles"])

_PNG: Final = "image/png"
_TIFF: Final = GEOTIFF.partition(";")[0]
_JSON: Final = "application/json"
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_MADE: Final = Recent[str, Body](16)
"""By ETag; the messages of six leads of the window of 224 x 128 cells have 1.2 MB, a picture 0.1 MB."""


@router.get(
    "/{reference_time}/product",
    summary="The product: NetCDF, GRIB2, GeoTIFF or picture of one lead, or one point",
    response_class=Response,
    responses={
        200: {
            "description": "The product",
            "content": dict.fromkeys((NETCDF, GRIB2, GEOTIFF, _PNG), _BINARY) | {_JSON: {}},
        },
        206: {"description": "The part of it that Range asks for"},
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

    def answer() -> Response:
        record = find_record(service.store, reference_time, revision)
        fixed = revision is not None and reference_time != LATEST
        media_type = choose_media_type(request.headers.get("accept"), _offers(lead, lat, lon))
        if media_type == NETCDF:
            caching = {"Vary": "Accept", "Cache-Control": FOR_EVER if fixed else REVALIDATE}
            return product_file(service, record, request, caching)
        caching_of_made = FOR_A_DAY if fixed else REVALIDATE
        if media_type == GRIB2:
            return _grib(service, record, lead, request, caching_of_made)
        if media_type in {_PNG, _TIFF}:
            return _picture(service, record, lead, request, media_type, caching_of_made)
        return _point(service, record, lat, lon, request, caching_of_made)

    return await asyncio.to_thread(answer)


def product_file(
    service: Runtime, record: Record, request: Request, headers: dict[str, str] | None = None
) -> Response:
    """The NetCDF file of a revision; ETag is the sha256 of its bytes."""
    etag = f'"{record.sha256}"'
    headers = {"ETag": etag, "Content-Location": _path(record), **(headers or {})}
    if has_already(request, etag):
        return Response(status_code=304, headers=headers)
    # The file response would answer a bad range in plain text, which no answer of this service is.
    check_range(request.headers.get("range"), record.size_bytes)
    name = f"{_file_stem(record)}.nc"
    return FileResponse(service.store.product_path(record), headers=headers, media_type=NETCDF, filename=name)


def _grib(service: Runtime, record: Record, lead: int | None, request: Request, caching: str) -> Response:
    """Messages of one lead or of all, made when they are first asked for."""
    if lead is not None:
        _check_lead(record, lead)
    part = "" if lead is None else f"-{lead}"
    name = f"{_file_stem(record)}{part.replace('-', '_h')}.grib2"
    form = _made(record, f"grib2{part}", GRIB2, caching, name)
    dataset = service.shelf.dataset
    return form.answer(request, lambda: _kept(form, lambda: grib_messages(dataset(record), lead)))


def _picture(
    service: Runtime, record: Record, lead: int | None, request: Request, media_type: str, caching: str
) -> Response:
    """One lead, to look at (PNG) or to compute with (GeoTIFF)."""
    if lead is None:
        raise RequestError(
            "a picture shows one lead", where="lead", expected=f"one of {_leads(record)}", got="none"
        )
    _check_lead(record, lead)
    dataset = service.shelf.dataset
    if media_type == _PNG:
        form = _made(record, f"png-{lead}", _PNG, caching)
        return form.answer(request, lambda: _kept(form, lambda: render_lead(dataset(record), lead)))
    form = _made(record, f"tiff-{lead}", GEOTIFF, caching, f"{_file_stem(record)}_h{lead}.tif")
    return form.answer(request, lambda: _kept(form, lambda: geotiff(dataset(record), lead)))


def _point(
    service: Runtime, record: Record, lat: float | None, lon: float | None, request: Request, caching: str
) -> Response:
    if lat is None or lon is None:
        raise RequestError("JSON holds one point", where="lat, lon", expected="both, in degrees")

    def read() -> Body:
        return Body(json.dumps(point(service.shelf.dataset(record), lat, lon)).encode())

    return _made(record, f"point-{lat!r}-{lon!r}", _JSON, caching).answer(request, read)


def _kept(form: Representation, make: Callable[[], bytes]) -> Body:
    return _MADE.get(form.etag, lambda: Body(make()))


def _made(
    record: Record, what: str, media_type: str, caching: str, file_name: str | None = None
) -> Representation:
    """A form of a revision that this version of the service makes."""
    headers = {"Content-Location": _path(record)}
    if file_name is not None:
        headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return Representation(
        f'"{record.sha256}-{what}-{rainpost_version()}"',
        media_type,
        caching,
        vary="Accept",
        compressible=media_type == _JSON,
        headers=headers,
    )


def _offers(lead: int | None, lat: float | None, lon: float | None) -> tuple[str, ...]:
    """All forms, that which the parameters speak of first."""
    if lat is not None or lon is not None:
        return (_JSON, NETCDF, GRIB2, _PNG, _TIFF)
    if lead is not None:
        return (_PNG, _TIFF, NETCDF, GRIB2, _JSON)
    return (NETCDF, GRIB2, _PNG, _TIFF, _JSON)


def _path(record: Record) -> str:
    return product_path(record.reference_time, record.revision)


def _file_stem(record: Record) -> str:
    time = compact_time(parse_time(record.reference_time))
    return f"{record.origin.model.name}_{time}_r{record.revision}"


def _check_lead(record: Record, lead: int) -> None:
    if lead not in record.origin.leads_hours:
        raise NotFound("no such lead", where="lead", expected=f"one of {_leads(record)}", got=str(lead))


def _leads(record: Record) -> str:
    return ", ".join(str(lead) for lead in record.origin.leads_hours)
