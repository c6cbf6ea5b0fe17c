"""Models, and which of them is active: ``/models``."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response

from service.artefact import Artefact, find_models, read_manifest
from service.errors import ArtefactError
from service.model_choices import Role
from service.model_documents import (
    PRINTABLE,
    ModelDocument,
    ModelsDocument,
    RoleChange,
    RoleDocument,
    change_documents,
    model_document,
    role_document,
)
from service.negotiation import matches
from service.problems import problem_of
from service.rollout import Condition, etag_of
from service.routes.access import signed
from service.routes.state import Service, problem_responses
from service.runtime import Runtime

router = APIRouter(prefix="/models", tags=["models"])

_SHOWN_CHANGES: Final = 20

IfMatch = Annotated[
    str | None, Header(description="Change it only if the entity tag of the role is still this one.")
]

By = Annotated[
    str | None,
    Query(min_length=1, max_length=200, pattern=PRINTABLE, description="Who changes it, for the history."),
]


@router.get(
    "",
    summary="Installed models, the active one and its shadow",
    response_model=ModelsDocument,
    responses={304: {"description": "The client has it already"}, **problem_responses(500, 503)},
)
async def models(request: Request, service: Service) -> Response:
    """The models on the shelf with what they were trained on and how they scored, their roles, and who
    changed these when.
    """

    def show() -> ModelsDocument:
        service.models.refresh()
        folders = find_models(service.settings.models_folder)
        return ModelsDocument(
            active=_role(service, "active"),
            shadow=_role(service, "shadow"),
            models=tuple(_describe(folder, service) for folder in folders),
            changes=change_documents(service.choices.history(_SHOWN_CHANGES)),
        )

    text = (await asyncio.to_thread(show)).model_dump_json(by_alias=True)
    etag = f'"{hashlib.sha256(text.encode()).hexdigest()}"'
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers={"ETag": etag})
    return Response(text, headers={"ETag": etag}, media_type="application/json")


@router.get("/active", summary="The active model", responses=problem_responses(500, 503))
async def active(service: Service, response: Response) -> RoleDocument:
    """Which model new jobs run, since when, and by whose doing."""
    return await asyncio.to_thread(_shown, service, "active", response)


@router.put(
    "/active",
    summary="Change the active model",
    responses=problem_responses(400, 409, 412, 422, 500, 503),
)
async def activate(
    request: Request, service: Service, response: Response, change: RoleChange, if_match: IfMatch = None
) -> RoleDocument:
    """Load a model, check its files and its golden case, and let all jobs that come in from now on run it.

    A model that does not pass leaves the one before active. Jobs that were accepted before end with the model
    that they began with. The choice outlives restarts, goes before RAINPOST_MODEL, and holds for all
    processes that share the database. A model that ran as shadow ends being one.
    """
    return await asyncio.to_thread(_change, request, service, "active", change, if_match, response)


@router.delete(
    "/active",
    summary="Let the settings name the active model",
    responses=problem_responses(400, 409, 412, 422, 500, 503),
)
async def withdraw_active(
    request: Request, service: Service, response: Response, by: By = None, if_match: IfMatch = None
) -> RoleDocument:
    """Withdraw the choice: the model of RAINPOST_MODEL becomes active, now and at later starts."""
    return await asyncio.to_thread(
        _withdraw, service, "active", signed(request, service, by), if_match, response
    )


@router.get("/shadow", summary="The shadow model", responses=problem_responses(500, 503))
async def shadow(service: Service, response: Response) -> RoleDocument:
    """Which model runs in the shadow of the active one, if any does."""
    return await asyncio.to_thread(_shown, service, "shadow", response)


@router.put(
    "/shadow",
    summary="Begin, change or end the shadow model",
    responses=problem_responses(400, 409, 412, 422, 500, 503),
)
async def change_shadow(
    request: Request, service: Service, response: Response, change: RoleChange, if_match: IfMatch = None
) -> RoleDocument:
    """Run a second model on every cycle that comes in from now on, after its product is published.

    Its products are scored as the source `shadow` of `/verification`, and never published. A null model ends
    it.
    """
    return await asyncio.to_thread(_change, request, service, "shadow", change, if_match, response)


@router.delete(
    "/shadow",
    summary="Let the settings name the shadow model",
    responses=problem_responses(400, 409, 412, 422, 500, 503),
)
async def withdraw_shadow(
    request: Request, service: Service, response: Response, by: By = None, if_match: IfMatch = None
) -> RoleDocument:
    """Withdraw the choice: RAINPOST_SHADOW_MODEL says whether a model runs as shadow, and which."""
    return await asyncio.to_thread(
        _withdraw, service, "shadow", signed(request, service, by), if_match, response
    )


def _change(
    request: Request, service: Runtime, role: Role, change: RoleChange, if_match: str | None, to: Response
) -> RoleDocument:
    expected = (change.expected or "") if "expected" in change.model_fields_set else None
    condition = Condition(expected, if_match)
    service.rollout.choose(role, change.model, signed(request, service, change.by), condition)
    return _shown(service, role, to)


def _withdraw(service: Runtime, role: Role, by: str, if_match: str | None, to: Response) -> RoleDocument:
    service.rollout.withdraw(role, by, Condition(if_match=if_match))
    return _shown(service, role, to)


def _shown(service: Runtime, role: Role, to: Response) -> RoleDocument:
    service.models.refresh()
    to.headers["ETag"] = etag_of(role, service.choices.current().get(role))
    return _role(service, role)


def _role(service: Runtime, role: Role) -> RoleDocument:
    fault = service.models.fault(role)
    problem = None if fault is None else problem_of(fault)
    return role_document(service.choices.current().get(role), problem)


def _describe(folder: Path, service: Runtime) -> ModelDocument:
    models = service.models
    if folder == models.active.artefact.folder:
        return model_document(models.active.artefact, role="active", provider=models.active.provider)
    if models.shadow is not None and folder == models.shadow.folder:
        return model_document(models.shadow, role="shadow", provider=models.active.provider)
    try:
        # Digests are checked when a model is loaded, not each time the shelf is listed.
        manifest, digest = read_manifest(folder)
    except ArtefactError as error:
        return ModelDocument(folder=folder.name, loaded=False, problem=problem_of(error))
    return model_document(Artefact(folder, manifest, digest), role=None, provider=None)
