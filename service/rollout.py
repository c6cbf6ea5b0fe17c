"""Changing the active model and its shadow: the new one is proven first, then the change is recorded.

What is recorded holds for every process that shares the database, and after every restart, until somebody
chooses anew. The settings decide only as long as nobody has chosen, or again when the choice is withdrawn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from service.artefact import Artefact, read_manifest
from service.errors import (
    ArtefactError,
    Conflict,
    InferenceError,
    ModelRefused,
    PreconditionFailed,
    WorkerDied,
)
from service.model_choices import Change, Choice, Choices, ModelChoices, Role
from service.model_folder import find_model, sees_the_same_hours, select_model
from service.negotiation import matches
from service.settings import Settings
from service.specification import CycleSpecification

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Condition:
    """What must hold before a change, if anything has to.

    model: the model that has the role now; ``""`` for none. if_match: entity tags of the role's document.
    """

    model: str | None = None
    if_match: str | None = None

    def check(self, role: Role, choice: Choice | None) -> None:
        """Raises ``PreconditionFailed``."""
        holds = "" if choice is None else choice.model or ""
        for expected, got, fits in (
            (self.model, holds, self.model == holds),
            (self.if_match, etag_of(role, choice), matches(self.if_match, etag_of(role, choice))),
        ):
            if expected is not None and not fits:
                raise PreconditionFailed(
                    f"the {role} model is not the one that was expected",
                    where=f"/models/{role}",
                    expected=expected or "none",
                    got=got or "none",
                    advice="somebody changed it; GET /models says who and when",
                )


ALWAYS = Condition()


class Rollout:
    """Changes the roles, from any thread of any process.

    prove: loads the model of a folder name for a role, with its checksums and its golden case checked.
    Raises ``ArtefactError``, ``InferenceError`` and ``WorkerDied``.
    """

    def __init__(
        self, settings: Settings, choices: ModelChoices, prove: Callable[[Role, str], Artefact]
    ) -> None:
        self._settings = settings
        self._choices = choices
        self._prove = prove

    def choose(self, role: Role, model: str | None, by: str, condition: Condition = ALWAYS) -> Choices:
        """Give the role to a model, None to end a shadow; what holds then. Choosing twice is as once.

        Raises ``ModelRefused`` for a model that cannot be used, ``Conflict`` for one that does not go with
        the other role's, and ``PreconditionFailed``; the model before then keeps the role.
        """
        return self._change(role, model, by, condition, chosen=True)

    def withdraw(self, role: Role, by: str, condition: Condition = ALWAYS) -> Choices:
        """Give the role to the model that the settings name, which may be none for a shadow.

        Raises ``SettingsError`` where they name none that is installed, and what ``choose`` raises.
        """
        return self._change(role, self.named_by_settings(role), by, condition, chosen=False)

    def settle(self) -> None:
        """Record what the settings say where nobody has chosen. Raises ``SettingsError``."""
        self._settle("active", self._settings.model)
        self._settle("shadow", self._settings.shadow_model)

    def named_by_settings(self, role: Role) -> str | None:
        """The model that the settings give a role. Raises ``SettingsError``."""
        folder, settings = self._settings.models_folder, self._settings
        if role == "active":
            return select_model(folder, settings.model).name
        if settings.shadow_model is None:
            return None
        return select_model(folder, settings.shadow_model, "RAINPOST_SHADOW_MODEL").name

    def _settle(self, role: Role, setting: str | None) -> None:
        by = f"RAINPOST_{'' if role == 'active' else 'SHADOW_'}MODEL" if setting else "no setting"

        def decide(current: Choices) -> list[Change]:
            holds = current.get(role)
            if holds is not None and holds.chosen:
                if setting not in {None, holds.model, (holds.model or "").rpartition("-")[0]}:
                    _logger.warning(
                        "%s says %s, but the %s model is %s, chosen at %s by %s; withdraw that choice, or "
                        "choose anew, to change it",
                        *(by, setting, role, holds.model, holds.changed.isoformat(), holds.by),
                    )
                return []
            model = self.named_by_settings(role)
            active = current.get("active")
            if role == "shadow" and model is not None and active is not None and active.model == model:
                _logger.warning("%s names the active model, %s: there is no shadow", by, model)
                model = None
            change = Change(role, model, self._digest(model), by, chosen=False)
            return [] if _is_held(holds, change) or (holds is None and model is None) else [change]

        self._choices.change(decide)

    def _change(
        self, role: Role, model: str | None, by: str, condition: Condition, *, chosen: bool
    ) -> Choices:
        if model is None and role == "active":
            raise ModelRefused("there is always an active model", where="model", expected="a name")
        proven = None if model is None else self._proven(role, model)
        change = Change(role, model, None if proven is None else proven.sha256, by, chosen)

        def decide(current: Choices) -> list[Change]:
            condition.check(role, current.get(role))
            changes = [] if _is_held(current.get(role), change) else [change]
            if proven is not None:
                changes += self._beside(change, proven.manifest.cycle, current)
            return changes

        before = self._choices.current()
        after = self._choices.change(decide)
        for name, choice in after.items():
            if choice != before.get(name):
                _logger.info(
                    "%s model: %s in the place of %s, by %s",
                    *(name, choice.model or "none", choice.before or "none", choice.by),
                )
        return after

    def _proven(self, role: Role, model: str) -> Artefact:
        find_model(self._settings.models_folder, model)
        try:
            return self._prove(role, model)
        except (ArtefactError, InferenceError, WorkerDied) as error:
            raise ModelRefused(
                error.what, where=error.where, expected=error.expected, got=error.got, advice=error.advice
            ) from error

    def _beside(self, change: Change, cycle: CycleSpecification, current: Choices) -> list[Change]:
        """What becomes of the shadow when the active model changes. Raises ``Conflict``."""
        role: Role = "shadow" if change.role == "active" else "active"
        other = current[role].model if role in current else None
        if other is None and role == "active":
            other = self.named_by_settings("active")
        if other is None:
            return []
        if other == change.model:
            if change.role == "active":
                return [Change("shadow", None, None, change.by, chosen=True)]
            raise Conflict(
                "the model is the active one, and cannot be its own shadow",
                where="/models/shadow",
                expected="another model",
                got=other,
            )
        try:
            specification = read_manifest(self._settings.models_folder / other)[0].cycle
        except ArtefactError:
            return []
        if not sees_the_same_hours(cycle, specification):
            raise Conflict(
                "active model and shadow would not be scored against the same observations",
                where=f"/models/{change.role}",
                expected=f"target grid, window and hours of {other}",
                got=f"others of {change.model}",
                advice="end the shadow first" if change.role == "active" else "choose another shadow",
            )
        return []

    def _digest(self, model: str | None) -> str | None:
        return None if model is None else read_manifest(self._settings.models_folder / model)[1]


def etag_of(role: Role, choice: Choice | None) -> str:
    """Entity tag of a role: another one after each change of it."""
    return f'"{role}-{0 if choice is None else choice.number}"'


def _is_held(choice: Choice | None, change: Change) -> bool:
    return choice is not None and (choice.model, choice.manifest_sha256, choice.chosen) == (
        change.model,
        change.manifest_sha256,
        change.chosen,
    )
