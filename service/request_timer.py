"""How long the requests take, by route."""

from __future__ import annotations

import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import Metrics

OTHER: Final = "other"
"""In place of methods and routes that are not the service's: a client could invent any number of them."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})


class RequestTimer:
    """Middleware around all others. A request whose client left before the answer began is not counted."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status: int | None = None
        started = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            if status is not None:
                self._metrics.time_request(
                    method_of(scope), route_of(scope), status, time.perf_counter() - started
                )


def method_of(scope: Scope) -> str:
    """The method of a request, if it is one of the service's."""
    return scope["method"] if scope["method"] in _METHODS else OTHER


def route_of(scope: Scope) -> str:
    """The template of the route that a request has taken."""
    # The router leaves the route that took the request in the scope.
    return getattr(scope.get("route"), "path", OTHER)
