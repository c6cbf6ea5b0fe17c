"""The JSON documents about models: what is installed, what is active, and who changed it when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from service.artefact import Artefact, Score
from service.model_choices import Choice, Role
from service.problems import Problem


class ModelDocument(BaseModel):
    """An installed model. ``problem`` says why its manifest cannot be used; the rest is then empty."""

    folder: str
    role: Role | None = Field(default=None, description="active or shadow, if it has a role.")
    loaded: bool = Field(description="Whether this is the model that answers.")
    provider: str | None = Field(default=None, description="Where it runs, if it is loaded.")
    name: str | None = None
    version: str | None = None
    sha256: str | None = Field(default=None, description="Of model.onnx.")
    source: str | None = Field(default=None, description="The forecast model whose files it takes.")
    leads_hours: tuple[int, ...] = ()
    channels: tuple[str, ...] = ()
    thresholds_mm: tuple[float, ...] = ()
    trained_on: str | None = None
    simulated: bool | None = Field(default=None, description="Whether it was trained on simulated cycles.")
    statement: str | None = None
    scores: tuple[Score, ...] = ()
    problem: Problem | None = None


class RoleDocument(BaseModel):
    """Which model has a role, since when, and by whose doing."""

    model: str | None = Field(description="`<name>-<version>`; null where there is no shadow.")
    since: datetime | None
    before: str | None = Field(description="The model that had the role until then.")
    by: str | None = Field(description="Who changed it, or the setting that says so.")
    chosen: bool = Field(description="Whether somebody chose it; otherwise it is what the settings say.")
    problem: Problem | None = Field(description="Why the process that answers cannot load it, if it cannot.")


class ChangeDocument(BaseModel):
    """A change of a role. ``from`` and ``to`` are null where there was, or is, no model."""

    model_config = ConfigDict(populate_by_name=True)

    role: Role
    before: str | None = Field(alias="from")
    model: str | None = Field(alias="to")
    changed: datetime
    by: str
    chosen: bool


class ModelsDocument(BaseModel):
    """The models on the shelf, their roles, and the last changes of these, newest first."""

    active: RoleDocument
    shadow: RoleDocument
    models: tuple[ModelDocument, ...]
    changes: tuple[ChangeDocument, ...]


PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"
"""Names of people, which have no control characters; PostgreSQL takes no null character either."""


class RoleChange(BaseModel):
    """Which model is to have the role from now on."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(
        description="`<name>-<version>`, as its folder is named; null ends the shadow.",
        examples=["nano-0.2.0"],
    )
    expected: str | None = Field(
        default=None,
        description="Change it only if this model has the role now; null, given, says that none has.",
    )
    by: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        pattern=PRINTABLE,
        description="Who changes it, for the history; by default the address of the client.",
    )


def model_document(artefact: Artefact, *, role: Role | None, provider: str | None) -> ModelDocument:
    """A model as it is shown."""
    manifest = artefact.manifest
    return ModelDocument(
        folder=artefact.folder.name,
        role=role,
        loaded=role == "active",
        provider=provider,
        name=manifest.name,
        version=manifest.version,
        sha256=artefact.model_sha256,
        source=manifest.cycle.source.name,
        leads_hours=manifest.cycle.leads_hours,
        channels=manifest.cycle.channels,
        thresholds_mm=manifest.thresholds_mm,
        trained_on=manifest.training.data,
        simulated=manifest.training.simulated,
        statement=manifest.training.statement,
        scores=manifest.scores,
    )


def role_document(choice: Choice | None, problem: Problem | None = None) -> RoleDocument:
    """A role as it is shown."""
    if choice is None:
        return RoleDocument(model=None, since=None, before=None, by=None, chosen=False, problem=problem)
    return RoleDocument(
        model=choice.model,
        since=choice.changed,
        before=choice.before,
        by=choice.by,
        chosen=choice.chosen,
        problem=problem,
    )


def change_documents(history: Sequence[Choice]) -> tuple[ChangeDocument, ...]:
    """The history as it is shown."""
    return tuple(
        ChangeDocument(
            role=one.role,
            before=one.before,
            model=one.model,
            changed=one.changed,
            by=one.by,
            chosen=one.chosen,
        )
        for one in history
    )
