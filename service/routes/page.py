"""The page for forecasters: ``/`` and its files."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from service.assets import INDEX, read_asset
from service.negotiation import accepts_gzip, matches

router = APIRouter(tags=["page"])

_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; object-src 'none'; "
    "frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
"""The page asks nobody but this service, and the browser holds it to that."""


@router.get("/", include_in_schema=False)
async def index(request: Request) -> Response:
    """The map, and the scores beside it."""
    return _answer(request, INDEX)


@router.get("/page/{name}", include_in_schema=False)
async def asset(name: str, request: Request) -> Response:
    """A script, a style or a table of the page."""
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    asset = read_asset(name)
    headers = _HEADERS | {"ETag": asset.etag}
    if matches(request.headers.get("if-none-match"), asset.etag):
        return Response(status_code=304, headers=headers)
    if accepts_gzip(request.headers.get("accept-encoding")):
        headers |= {"Content-Encoding": "gzip"}
        return Response(asset.compressed, headers=headers, media_type=asset.media_type)
    return Response(asset.content, headers=headers, media_type=asset.media_type)
