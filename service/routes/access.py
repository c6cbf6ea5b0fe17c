"""What every request has to pass: who asks, and may they."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import Request

from service.access import Principal
from service.errors import CrossSite
from service.hosts import refuse_other_names
from service.logs import log_subject
from service.request_timer import route_of
from service.routes.state import Service, problem_response
from service.scopes import MEANINGS, needed_scope
from service.sessions import credentials
from service.settings import Settings
from service.tokens import SCOPE_PREFIX

_logger = logging.getLogger(__name__)

_SCHEME: Final = "key"
_OIDC_SCHEME: Final = "token"
_READING: Final = frozenset({"GET", "HEAD"})
_OWN_PAGES: Final = frozenset({"same-origin", "none"})


async def authorise(request: Request, service: Service) -> AsyncIterator[None]:
    """A dependency of all routes. Raises as ``Access.authorise``, and ``UnknownHost`` and ``CrossSite``."""
    refuse_other_names(request.headers.get("host"), service.settings)
    _refuse_other_sites(request)
    scope = needed_scope(request.method, route_of(request.scope))
    host = "unknown" if request.client is None else request.client.host
    said = request.headers.get("authorization")
    if service.settings.reading == "protected":
        said = credentials(request.method, said, request.cookies)
    principal = await service.access.authorise(said, host, scope)
    request.state.principal = principal
    if service.settings.access != "protected":
        yield
        return
    with log_subject(by=principal.name):
        if request.method not in _READING:
            _logger.info("%s %s", request.method, request.url.path)
        yield


def signed(request: Request, service: Service, said: str | None) -> str:
    """Who makes a change, for its history: whom the key says, and what they call themselves."""
    principal: Principal = request.state.principal
    if service.settings.access != "protected":
        return said or principal.name
    return f"{principal.name}: {said}" if said else principal.name


def _refuse_other_sites(request: Request) -> None:
    """A browser on the machine of an open service would send what the page of any site tells it to.

    https://www.w3.org/TR/fetch-metadata/
    """
    if request.method in _READING:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        foreign = site not in _OWN_PAGES
    else:
        foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
    if foreign:
        raise CrossSite(
            "the page of another site asks for a change",
            where="Sec-Fetch-Site, Origin",
            got=f"{site or ''} {origin or ''}".strip()[:200],
        )


def declare_security(document: dict[str, Any], settings: Settings) -> None:
    """Add to an OpenAPI document which scope each route needs, where any does, and the refusals of all."""
    _declare_refusals(document, settings)
    if settings.access != "protected":
        return
    schemes: dict[str, Any] = {
        _SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of `rainpost keys create`. Scopes: "
            + "; ".join(f"`{scope}`, {meaning}" for scope, meaning in MEANINGS.items()),
        }
    }
    if settings.oidc_issuer is not None:
        schemes[_OIDC_SCHEME] = {
            "type": "openIdConnect",
            "openIdConnectUrl": f"{settings.oidc_issuer.rstrip('/')}/.well-known/openid-configuration",
            "description": f"Scopes as those of keys, with {SCOPE_PREFIX} before them.",
        }
    document["components"]["securitySchemes"] = schemes
    for path, verbs in document["paths"].items():
        for verb, route in verbs.items():
            scope = needed_scope(verb.upper(), path)
            if scope is None or (scope == "read" and settings.reading == "public"):
                route["security"] = []
            else:
                route["security"] = [
                    {name: [f"{SCOPE_PREFIX}{scope}" if name == _OIDC_SCHEME else scope]} for name in schemes
                ]
                _declare(route, 401, "No key, or none that holds")
                _declare(route, 403, "Not with this key")


def _declare_refusals(document: dict[str, Any], settings: Settings) -> None:
    """Those that any route may answer with before it is reached."""
    for verbs in document["paths"].values():
        for verb, route in verbs.items():
            if verb.upper() not in _READING:
                _declare(route, 403, "Asked by the page of another site")
            if settings.access == "protected" or settings.requests_per_minute:
                _declare(route, 429, "Too many requests; `Retry-After` says when to try again")
            _declare(route, 421, "A host name that is none of the service's")


def _declare(route: dict[str, Any], status: int, meaning: str) -> None:
    """Add a problem document to the answers of a route, unless it has one."""
    route["responses"].setdefault(str(status), problem_response(status, meaning))
