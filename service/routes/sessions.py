"""Signing in to the page where reading needs a key: ``/session``."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service.routes.state import Service, problem_responses
from service.sessions import COOKIE

router = APIRouter(tags=["page"])

_NO_STORE: Final = {"Cache-Control": "no-store"}


class SignIn(BaseModel):
    """What a reader of the page says."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(
        pattern=r"^[A-Za-z0-9_.~+/=-]+$",
        max_length=3000,
        description="A key of `rainpost keys create`, with any scope, or a token.",
    )


@router.post(
    "/session",
    summary="Sign in to the page with a key",
    status_code=204,
    response_class=Response,
    responses={
        204: {"description": "Signed in: the cookie goes with all that the page reads"},
        **problem_responses(400, 401, 403, 413, 422, 429, 503),
    },
)
async def sign_in(request: Request, body: SignIn, service: Service) -> Response:
    """Set a cookie by which this browser may read, and nothing else, for as long as the key holds.

    Only where reading needs a key; elsewhere nobody is asked, and no cookie is set.
    """
    answer = Response(status_code=204, headers=_NO_STORE)
    settings = service.settings
    if settings.access != "protected" or settings.reading != "protected":
        return answer
    host = "unknown" if request.client is None else request.client.host
    await service.access.authorise(f"Bearer {body.key}", host, "read")
    answer.set_cookie(
        COOKIE, body.key, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
    )
    return answer


@router.delete(
    "/session",
    summary="Sign out of the page",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "Signed out"}, **problem_responses(403, 429)},
)
async def sign_out() -> Response:
    """Take the cookie away, and what the browser kept of this service."""
    answer = Response(status_code=204, headers=_NO_STORE | {"Clear-Site-Data": '"cache"'})
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", path="/")
    return answer
