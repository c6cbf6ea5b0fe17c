"""The page for forecasters: ``/`` and its files; for programs ``/`` is the landing page of OGC API."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Annotated, Final, Literal

from edr_pydantic.capabilities import LandingPageModel
from fastapi import APIRouter, Query, Request, Response

from service.assets import INDEX, read_asset
from service.edr_documents import JSON_TYPE, landing_page
from service.negotiation import choose_media_type
from service.representations import Body, Representation
from service.routes.state import problem_responses
from service.security_headers import CONTENT_SECURITY_POLICY

router = APIRouter(tags=["page"])

_HTML: Final = "text/html"
_HEADERS: Final = {
    CONTENT_SECURITY_POLICY: "default-src 'self'; base-uri 'none'; form-action 'none'; object-src 'none'; "
    "frame-ancestors 'self'",
}
"""The page asks nobody but this service, and the browser holds it to that."""


@router.get(
    "/",
    summary="The map, or the landing page of OGC API",
    response_model=LandingPageModel,
    responses=problem_responses(400, 406, 422),
)
async def index(
    request: Request,
    f: Annotated[Literal["html", "json"] | None, Query(description="Goes before Accept.")] = None,
) -> Response:
    """Whoever asks for `text/html`, as every browser does, gets the map; all others the landing page."""
    media_type = {"html": _HTML, "json": JSON_TYPE, None: None}[f]
    if media_type is None:
        media_type = choose_media_type(request.headers.get("accept"), (JSON_TYPE, _HTML))
    if media_type == _HTML:
        return await asyncio.to_thread(_answer, request, INDEX, vary="Accept")
    content = landing_page(str(request.base_url)).model_dump_json(exclude_none=True).encode()
    form = Representation(f'"{hashlib.sha256(content).hexdigest()}"', JSON_TYPE, vary="Accept")
    return form.answer(request, lambda: Body(content))


@router.get("/page/{name}", include_in_schema=False)
async def asset(name: str, request: Request) -> Response:
    """A script, a style or a table of the page."""
    return await asyncio.to_thread(_answer, request, name)


def _answer(request: Request, name: str, vary: str = "") -> Response:
    asset = read_asset(name)
    form = Representation(asset.etag, asset.media_type, vary=vary, headers=_HEADERS)
    return form.answer(request, lambda: asset.body)
