"""What browsers are told with every answer: to load nothing from elsewhere, and to guess no media type."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY: Final = "Content-Security-Policy"

_HEADERS: Final = {
    # An answer that is no page has nothing to load; pages bring a policy of their own.
    CONTENT_SECURITY_POLICY: "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class SecurityHeaders:
    """Middleware around all others; what a route says itself stays.

    private: that what is read with a key must be kept by no cache that others ask too.
    """

    def __init__(self, app: ASGIApp, *, private: bool = False) -> None:
        self._app = app
        self._private = private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def added(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if self._private:
                    caching = headers.get("Cache-Control", "private")
                    headers["Cache-Control"] = caching.replace("public", "private")
            await send(message)

        await self._app(scope, receive, added if scope["type"] == "http" else send)
