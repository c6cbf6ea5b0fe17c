"""A name for each request, for its log lines and its answer, so that one can be found by the other."""

from __future__ import annotations

import re
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.logs import log_subject
from service.request_timer import OTHER, method_of, route_of
from service.tracing import Tracing

HEADER: Final = "X-Request-ID"

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""https://www.w3.org/TR/trace-context/#traceparent-header"""


_UNTRACED: Final = frozenset({"/metrics", "/livez", "/readyz", "/events"})
"""Asked for every few seconds by machines, or without an end."""


class RequestContext:
    """Middleware around all others. A client's own name for its request is kept, if it is a plain one."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(HEADER, "")
        name = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        trace = _trace(headers)
        with log_subject(request=name, **trace):
            if scope["path"] in _UNTRACED:
                await self._app(scope, receive, named)
            else:
                await self._traced(scope, receive, named, trace.get("traceparent"))

    async def _traced(self, scope: Scope, receive: Receive, send: Send, parent: str | None) -> None:
        """The request as a span, by the semantic conventions of OpenTelemetry."""
        method = method_of(scope)
        attributes = {"http.request.method": method, "url.path": scope["path"]}
        with self._tracing.span(method, "server", parent=parent, attributes=attributes) as span:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.add({"http.response.status_code": message["status"]})
                    if message["status"] >= 500:
                        span.fail(str(message["status"]))
                await send(message)

            await self._app(scope, receive, watched)
            if (route := route_of(scope)) != OTHER:
                span.rename(f"{method} {route}")
                span.add({"http.route": route})


def _trace(headers: Headers) -> dict[str, str]:
    """The trace that the client says the request belongs to."""
    traceparent = headers.get("traceparent", "")
    return {"traceparent": traceparent} if _TRACEPARENT.fullmatch(traceparent) else {}
