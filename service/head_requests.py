"""HEAD, for every route that knows GET: the same headers without the body (RFC 9110, 9.3.2)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadRequests:
    """Middleware that asks for the answer to GET and lets its body go.

    A stream that has no end of its own is told that its client has left.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def leave() -> Message:
            return {"type": "http.disconnect"} if begun else await receive()

        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, leave, send_headers)
        finally:
            # The router leaves there which route it was: the metrics want to know.
            if "route" in inner:
                scope["route"] = inner["route"]
