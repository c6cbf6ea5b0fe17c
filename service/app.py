"""The HTTP service: routes and the one shape of its errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.body_limits import BodyLimits
from service.databases import silent_database
from service.errors import RainpostError, RequestError
from service.full_disk import full_disk
from service.head_requests import HeadRequests
from service.problems import MEDIA_TYPE, Problem, http_problem, internal_problem, problem_of
from service.request_context import RequestContext
from service.request_timer import RequestTimer
from service.routes import (
    cycles,
    edr,
    events,
    explanations,
    inbox,
    layers,
    models,
    observations,
    page,
    products,
    revisions,
    sessions,
    submissions,
    system,
    verification,
    wms,
    zarr_stores,
)
from service.routes.access import authorise, declare_security
from service.runtime import Runtime
from service.security_headers import SecurityHeaders
from service.versions import rainpost_version

_logger = logging.getLogger(__name__)

_DESCRIPTION = (
    "Corrects precipitation forecasts: the files of a forecast cycle in, probabilities of no rain, rain and "
    "heavy rain out. Every error is a problem document (RFC 9457)."
)


def create_app(runtime: Runtime) -> FastAPI:
    """The application of a runtime, which it starts and stops with itself."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(runtime.start)
        # A second of work, which must not fall upon the event loop with the first request for it.
        await asyncio.to_thread(app.openapi)
        try:
            yield
        finally:
            await asyncio.to_thread(runtime.stop)

    app = FastAPI(
        title="Rainpost",
        version=rainpost_version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(authorise)],
    )
    app.state.runtime = runtime
    for module in (
        submissions,
        cycles,
        products,
        revisions,
        zarr_stores,
        layers,
        edr,
        explanations,
        wms,
        events,
        inbox,
        observations,
        verification,
        models,
        system,
        sessions,
        page,
    ):
        app.include_router(module.router)
    app.add_exception_handler(RainpostError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_middleware(BodyLimits, seconds=runtime.settings.receive_timeout_seconds)
    app.add_middleware(HeadRequests)
    app.add_middleware(_FaultBarrier)
    app.add_middleware(RequestTimer, metrics=runtime.metrics)
    app.add_middleware(RequestContext, tracing=runtime.tracing)
    settings = runtime.settings
    app.add_middleware(
        SecurityHeaders, private=settings.access == "protected" and settings.reading == "protected"
    )
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(
        problem.model_dump(exclude_defaults=True), problem.status, headers=headers, media_type=MEDIA_TYPE
    )


def _answer_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RainpostError):
        raise TypeError("not an error of the tree") from error
    if error.status >= 500:
        _logger.error("%s %s: %s", request.method, request.url.path, error)
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.challenge is not None:
        headers["WWW-Authenticate"] = error.challenge
    return _problem_response(problem_of(error, request.url.path), headers)


def _answer_validation(request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    refusal = RequestError(
        "the request is not valid",
        where=", ".join(" ".join(str(part) for part in fault["loc"]) for fault in faults),
        expected="; ".join(fault["msg"] for fault in faults),
        got=", ".join(repr(fault.get("input"))[:80] for fault in faults),
    )
    return _problem_response(problem_of(refusal, request.url.path))


def _answer_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError("not an HTTP error") from error
    if isinstance(error.__cause__, RainpostError):
        # The framework's own word for whatever went wrong while it read a body.
        return _answer_error(request, error.__cause__)
    problem = http_problem(error.status_code, str(error.detail), request.url.path)
    return _problem_response(problem, error.headers)


class _FaultBarrier:
    """Answers what no handler took with a problem document and logs its traceback.

    The framework's own last resort raises the exception again, upon which the server drops the connection
    under the client's next request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:
            if scope["type"] != "http" or begun:
                raise
            if (passing := full_disk(error) or silent_database(error)) is not None:
                request = Request(scope)
                await _answer_error(request, passing)(scope, receive, send)
                return
            _logger.exception("%s %s failed", scope["method"], scope["path"])
            advice = "tell the operator the time of the request"
            await _problem_response(internal_problem(advice, scope["path"]))(scope, receive, send)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document with the schema of the problem documents, which no return type mentions."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas[Problem.__name__] = Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        declare_security(document, app.state.runtime.settings)
        app.openapi_schema = document
    return app.openapi_schema
