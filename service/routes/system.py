"""The service about itself: health, version, metrics, documentation."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.disk_use import DiskDocument
from service.documents import (
    CheckDocument,
    LivenessDocument,
    ReadinessDocument,
    VersionDocument,
)
from service.reference_page import STYLE_HASH, render_reference
from service.routes.state import Service
from service.security_headers import CONTENT_SECURITY_POLICY
from service.versions import dependency_versions, rainpost_version

router = APIRouter(tags=["service"])


@router.get("/livez", summary="Whether the process answers")
async def livez() -> LivenessDocument:
    """Always the same answer, from the event loop itself."""
    return LivenessDocument()


@router.get(
    "/readyz",
    summary="Whether the service can take a job",
    responses={503: {"model": ReadinessDocument, "description": "Not ready, with the reasons"}},
)
async def readyz(service: Service, response: Response) -> ReadinessDocument:
    """Model loaded and proven, data folder writable, queue open."""
    checks = await asyncio.to_thread(service.checks)
    ready = all(check.passed for check in checks)
    response.status_code = 200 if ready else 503
    return ReadinessDocument(
        ready=ready,
        checks=tuple(
            CheckDocument(name=check.name, passed=check.passed, detail=check.detail) for check in checks
        ),
    )


@router.get("/version", summary="Versions")
async def version(service: Service) -> VersionDocument:
    """Of the service, its model and what its results depend on."""
    return VersionDocument(
        rainpost=rainpost_version(),
        model=service.inference.artefact.identity,
        dependencies=await asyncio.to_thread(dependency_versions),
    )


@router.get("/disk", summary="The disk of the data folder")
async def disk(service: Service) -> DiskDocument:
    """What is used, what is free, for how many cycles that is enough, and for how long they are kept."""
    return await asyncio.to_thread(service.disk.read)


@router.get("/metrics", summary="Prometheus series", response_class=Response)
async def metrics(service: Service) -> Response:
    """Every series of the service in Prometheus' text format."""
    text = await asyncio.to_thread(generate_latest, service.metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The routes as a page that needs nothing from elsewhere."""
    policy = (
        f"default-src 'none'; style-src {STYLE_HASH}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    text = await asyncio.to_thread(lambda: render_reference(request.app.openapi()))
    return HTMLResponse(text, headers={CONTENT_SECURITY_POLICY: policy})


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document."""
    return await asyncio.to_thread(lambda: JSONResponse(request.app.openapi()))
