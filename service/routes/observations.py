"""Observations in: ``POST /observations``."""

from __future__ import annotations

import asyncio
import shutil
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from service.errors import EmptyInput, RequestError
from service.routes.bodies import receive_files, refuse_encoding
from service.routes.state import NETCDF, Service, problem_responses
from service.times import parse_time
from service.verification_documents import ObservationsDocument, observation_document

router = APIRouter(tags=["verification"])

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_REQUEST_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "One file or a set of files, each the observed precipitation of one period: DFS text "
        "or binary, NetCDF, GRIB1 or GRIB2, told apart by their content.",
        "content": {
            "application/octet-stream": _BINARY,
            "text/plain": _BINARY,
            NETCDF: _BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "valid_time": {"type": "string"},
                    },
                    "required": ["files"],
                }
            },
        },
    }
}


@router.post(
    "/observations",
    summary="Hand in observed precipitation",
    responses={
        201: {"model": ObservationsDocument, "description": "At least one of them was not stored before"},
        **problem_responses(400, 413, 415, 422, 500, 503),
    },
    openapi_extra=_REQUEST_BODY,
)
async def observations(
    request: Request,
    service: Service,
    response: Response,
    valid_time: Annotated[
        str | None,
        Query(description="End of the period, UTC, of the one file sent; needed where the file lacks it."),
    ] = None,
) -> ObservationsDocument:
    """Store observations and compare them with every product that forecast them.

    A file that was handed in before changes nothing; another one for the same hour replaces its counts. If
    one file cannot be used, none is taken.
    """
    refuse_encoding(request)
    uploads = await asyncio.to_thread(service.new_upload_folder)
    try:
        inputs, fields = await receive_files(request, service, uploads, {"valid_time"})
        declared = {parse_time(text, where="valid_time") for text in _given(valid_time, fields)}
        if not inputs:
            raise EmptyInput("no file was handed in", expected="the bytes of a file, or multipart/form-data")
        if len(declared) > 1 or (declared and len(inputs) > 1):
            raise RequestError(
                "a declared time belongs to one file",
                where="valid_time",
                got=f"{len(declared)} times, {len(inputs)} files",
            )
        files = [(one, uploads / one.sha256 / one.name) for one in inputs]
        taken = await asyncio.to_thread(service.observing.take, files, declared.pop() if declared else None)
    finally:
        await asyncio.to_thread(shutil.rmtree, uploads, ignore_errors=True)
    response.status_code = 201 if any(one.new for one in taken) else 200
    return ObservationsDocument(observations=tuple(observation_document(one) for one in taken))


def _given(query: str | None, fields: dict[str, str]) -> list[str]:
    return [text for text in (query, fields.get("valid_time")) if text is not None]
