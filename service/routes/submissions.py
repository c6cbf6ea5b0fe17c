"""Files in, jobs out: ``POST /correct``, ``GET /jobs/{id}`` and ``DELETE /jobs/{id}``."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from service.documents import JobDocument, job_document
from service.errors import RequestError, TooLarge
from service.job import Job
from service.negotiation import wait_seconds
from service.problems import MEDIA_TYPE
from service.references import ReferenceSubmission, parse_references, resolve_references
from service.routes.bodies import receive_files, refuse_encoding
from service.routes.products import product_file
from service.routes.state import NETCDF, Service, problem_responses
from service.runtime import Runtime
from service.submission import Submission
from service.times import iso_time, parse_time

router = APIRouter(tags=["jobs"])

_JSON_LIMIT_BYTES: Final = 1024**2

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_REQUEST_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "One file, a set of files, or references to files in the allowed folders. What a file "
        "is, GRIB2 or NetCDF, is decided by its content.",
        "content": {
            "application/octet-stream": _BINARY,
            "application/x-grib2": _BINARY,
            NETCDF: _BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "reference_time": {"type": "string"},
                    },
                    "required": ["files"],
                }
            },
            "application/json": {"schema": ReferenceSubmission.model_json_schema()},
        },
    }
}


@router.post(
    "/correct",
    summary="Correct a forecast cycle",
    status_code=202,
    response_model=JobDocument,
    responses={
        200: {"description": "The product, for `Prefer: wait=N`", "content": {NETCDF: _BINARY}},
        202: {"description": "The job, also at `Location`"},
        **problem_responses(400, 403, 413, 415, 422, 429, 500, 503),
    },
    openapi_extra=_REQUEST_BODY,
)
async def correct(
    request: Request,
    service: Service,
    reference_time: Annotated[
        str | None, Query(description="The cycle that the files must be of; otherwise they alone tell.")
    ] = None,
) -> Response:
    """Queue the files of one cycle and answer with the job.

    The same files sent again are the same job. With `Prefer: wait=N` the answer waits up to N seconds and is
    the product itself, or the problem document of a job that failed.
    """
    refuse_encoding(request)
    # Before the body, which may be long; a known submission would pass, but nobody can know it yet.
    await asyncio.to_thread(service.admit)
    job = await _submit(request, service, reference_time)
    seconds = wait_seconds(request.headers.getlist("prefer"), service.settings.max_wait_seconds)
    if seconds is None:
        return _job_response(job, {})
    applied = {"Preference-Applied": f"wait={seconds}"}
    job = await service.jobs.wait(job.id, seconds, request.is_disconnected)
    if job.problem is not None:
        return JSONResponse(
            job.problem.model_dump(exclude_defaults=True),
            job.problem.status,
            headers=applied | {"Location": f"/jobs/{job.id}"},
            media_type=MEDIA_TYPE,
        )
    if job.reference_time is None:
        return _job_response(job, applied)
    record = await asyncio.to_thread(service.store.record, parse_time(job.reference_time), job.revision)
    return product_file(service, record, request, applied | {"Location": f"/jobs/{job.id}"})


@router.get(
    "/jobs/{job_id}",
    summary="How a job stands",
    responses=problem_responses(404, 422, 503),
)
async def job(job_id: str, service: Service) -> JobDocument:
    """The job, with its product or its problem once it is finished."""
    return job_document(await asyncio.to_thread(service.jobs.get, job_id))


@router.delete(
    "/jobs/{job_id}",
    summary="Cancel a job",
    responses=problem_responses(404, 409, 422, 503),
)
async def cancel(job_id: str, service: Service) -> JobDocument:
    """End a job that has not begun to publish; a stage that is at work goes to its end first.

    Cancelling twice is as cancelling once. The same files sent again run again.
    """
    return job_document(await asyncio.to_thread(service.jobs.cancel, job_id))


async def _submit(request: Request, service: Runtime, declared: str | None) -> Job:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        submission = await _receive_references(request, service, declared)
        return await asyncio.to_thread(lambda: service.jobs.submit(service.task(submission)))
    uploads = await asyncio.to_thread(service.new_upload_folder)
    try:
        submission = await _receive_files(request, service, declared, uploads)
        return await asyncio.to_thread(lambda: service.jobs.submit(service.task(submission), uploads))
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, uploads, ignore_errors=True)
        raise


async def _receive_references(request: Request, service: Runtime, declared: str | None) -> Submission:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _JSON_LIMIT_BYTES:
            raise TooLarge("the JSON document is too long", expected=f"at most {_JSON_LIMIT_BYTES} bytes")
    document = parse_references(bytes(body))
    settings = service.settings
    with service.metrics.time_stage("receive"):
        inputs = await asyncio.to_thread(
            resolve_references, document.inputs, settings.input_folders, settings.max_files
        )
    return Submission.of(inputs, _one_time(declared, document.reference_time))


async def _receive_files(
    request: Request, service: Runtime, declared: str | None, uploads: Path
) -> Submission:
    inputs, fields = await receive_files(request, service, uploads, {"reference_time"})
    return Submission.of(inputs, _one_time(declared, fields.get("reference_time")))


def _one_time(*declared: str | None) -> str | None:
    """The reference time that was declared, in its one form; declarations must agree."""
    times = {iso_time(parse_time(text)) for text in declared if text is not None}
    if len(times) > 1:
        raise RequestError(
            "two different reference times were declared",
            where="reference_time",
            got=", ".join(sorted(times)),
        )
    return times.pop() if times else None


def _job_response(job: Job, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse(
        job_document(job).model_dump(mode="json"), 202, headers=headers | {"Location": f"/jobs/{job.id}"}
    )
