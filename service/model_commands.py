"""What ``rainpost models`` does: list the models, and change which of them is active or the shadow."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, Final

import httpx

from service.artefact import Artefact, find_models
from service.databases import answering
from service.desks import open_client, refusal
from service.errors import ArtefactError, SettingsError
from service.inference import Inference
from service.logs import configure_logs
from service.model_choices import ROLES, Choice, Choices, ModelChoices, Role
from service.model_documents import RoleDocument, role_document
from service.model_folder import find_model
from service.rollout import Condition, Rollout
from service.settings import Settings
from service.users import current_user

_NONE: Final = "none"
_SHOWN_CHANGES: Final = 10


def models(_: argparse.Namespace) -> None:
    """List the installed models, their roles, and the last changes of these."""
    settings = Settings.load()
    with _choices(settings) as choices:
        current, history = choices.current(), choices.history(_SHOWN_CHANGES)
        rollout = Rollout(settings, choices, _prover(settings))
        for role in ROLES:
            _say(f"{role}: {_holder(role, current.get(role), rollout)}")
    for folder in find_models(settings.models_folder):
        _say(_model(folder.name, settings, current))
    if history:
        _say("changes, newest first")
    for choice in history:
        _say(
            f"  {_time(choice.changed)}  {choice.role}  {choice.before or _NONE} -> {choice.model or _NONE}  "
            f"by {choice.by}"
        )


def activate(options: argparse.Namespace) -> None:
    """Change the active model."""
    _change("active", options.model, options.expected)


def shadow(options: argparse.Namespace) -> None:
    """Begin, change or end the shadow model."""
    _change("shadow", None if options.model == _NONE else options.model, options.expected)


def withdraw(options: argparse.Namespace) -> None:
    """Let the settings name the model of a role again."""
    settings, role = _settings(), options.role
    with open_client(settings) as client:
        if client is not None:
            _report(role, _answer(client.delete(f"/models/{role}", params={"by": current_user()})))
            return
    with _rollout(settings) as rollout:
        _report(role, role_document(rollout.withdraw(role, current_user()).get(role)), settings)


def _change(role: Role, model: str | None, expected: str | None) -> None:
    settings = _settings()
    with open_client(settings) as client:
        if client is not None:
            body: dict[str, Any] = {"model": model, "by": current_user()}
            if expected is not None:
                body["expected"] = None if expected == _NONE else expected
            _report(role, _answer(client.put(f"/models/{role}", json=body)))
            return
    condition = Condition("" if expected == _NONE else expected)
    with _rollout(settings) as rollout:
        _report(
            role, role_document(rollout.choose(role, model, current_user(), condition).get(role)), settings
        )


def _settings() -> Settings:
    settings = Settings.load()
    configure_logs("WARNING")
    return settings


def _answer(answer: httpx.Response) -> RoleDocument:
    if not answer.is_success:
        raise refusal(answer)
    return RoleDocument.model_validate_json(answer.content)


@contextmanager
def _rollout(settings: Settings) -> Iterator[Rollout]:
    """Straight into the database: a service that is not running finds it there when it starts."""
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    with _choices(settings) as choices:
        choices.open()
        yield Rollout(settings, choices, _prover(settings))


@contextmanager
def _choices(settings: Settings) -> Iterator[ModelChoices]:
    choices = ModelChoices(settings.ledger_database_url)
    with closing(choices), answering():
        yield choices


def _prover(settings: Settings) -> Any:
    def prove(_: Role, model: str) -> Artefact:
        artefact = Artefact.load(find_model(settings.models_folder, model))
        return Inference(artefact, settings.provider, settings.threads).artefact

    return prove


def _model(name: str, settings: Settings, current: Choices) -> str:
    roles = [role for role, choice in current.items() if choice.model == name]
    heading = f"{name} ({', '.join(roles)})" if roles else name
    try:
        artefact = Artefact.load(settings.models_folder / name)
    except ArtefactError as error:
        return f"{heading}\n  cannot be used: {error}"
    manifest = artefact.manifest
    leads = ", ".join(str(lead) for lead in manifest.cycle.leads_hours)
    return (
        f"{heading}\n  sha256    {artefact.model_sha256}"
        f"\n  source    {manifest.cycle.source.name}\n  leads     {leads} h"
        f"\n  trained   {manifest.training.statement}"
    )


def _holder(role: Role, choice: Choice | None, rollout: Rollout) -> str:
    """Who has a role, and by whose doing."""
    if choice is not None:
        how = "chosen" if choice.chosen else "set"
        return f"{choice.model or _NONE}, {how} at {_time(choice.changed)} by {choice.by}"
    try:
        return f"{rollout.named_by_settings(role) or _NONE}, as the settings say"
    except SettingsError as error:
        return f"{_NONE}; {error.what}"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _report(role: Role, document: RoleDocument, settings: Settings | None = None) -> None:
    """settings: where the change was made in the database, because no service answered."""
    since = "" if document.since is None else f" since {_time(document.since)}"
    before = f"in the place of {document.before or _NONE}"
    _say(f"{role}: {document.model or _NONE}{since}, {before}, by {document.by}")
    if settings is not None:
        sys.stderr.write(
            f"no service answers at {settings.host}:{settings.port}: written into the database, where every "
            "service that uses it finds it\n"
        )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
