"""The models of this process: the active one, its shadow, and those that jobs at work began with.

Which ones they are is recorded in the database (``service.model_choices``). This process reads it before
every new job, and every few seconds, so that all processes that share the database agree.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from service.artefact import Artefact, find_models
from service.errors import (
    ArtefactError,
    InferenceError,
    ModelRefused,
    RainpostError,
    SettingsError,
    Unavailable,
)
from service.inference import Inference
from service.model_choices import Choice, ModelChoices, Role
from service.model_folder import find_model, identity_of, select_model
from service.settings import Settings
from service.specification import CycleSpecification
from service.store import ModelIdentity

_logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 2.0
_KEPT: Final = 3
"""Loaded models: the active one, the one before it, and one that an old job may want."""


class Models:
    """Loads the active model when it is made; follows changes between ``start`` and ``stop``.

    Raises ``SettingsError`` and ``ArtefactError``.
    """

    def __init__(self, settings: Settings, choices: ModelChoices) -> None:
        self._settings = settings
        self._choices = choices
        # Jobs at work ask for their model while another one is loaded: they must not wait for that.
        self._lock, self._loading, self._following = (threading.Lock() for _ in range(3))
        self._loaded: OrderedDict[str, Inference] = OrderedDict()
        self._active_number = 0
        self._active_digest = ""
        self._shadow_number = 0
        self._shadow: Artefact | None = None
        self._faults: dict[Role, RainpostError] = {}
        self._active = self._first()
        self._active_digest = self._active.artefact.sha256
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look, name="model-watch", daemon=True)

    @property
    def active(self) -> Inference:
        """The model that new jobs run, as far as this process knows."""
        return self._active

    @property
    def shadow(self) -> Artefact | None:
        """The model that runs in the shadow of the active one, as far as this process knows."""
        return self._shadow

    @property
    def identity(self) -> ModelIdentity:
        """Of the active model."""
        return identity_of(self._active.artefact)

    @property
    def specification(self) -> CycleSpecification:
        """What the active model asks of a cycle."""
        return self._active.artefact.manifest.cycle

    @property
    def leads_hours(self) -> tuple[int, ...]:
        """Leads of the active model."""
        return self.specification.leads_hours

    def fault(self, role: Role) -> RainpostError | None:
        """Why this process cannot use the model that has the role, if it cannot."""
        return self._faults.get(role)

    def start(self) -> None:
        """Begin to follow changes, once."""
        self.refresh()
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """End; what is loaded stays loaded."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def refresh(self) -> None:
        """Load what has been chosen since the last look. Raises ``SQLAlchemyError``."""
        current = self._choices.current()
        with self._following:
            self._follow_active(current.get("active"))
            self._follow_shadow(current.get("shadow"))

    def for_new_job(self) -> tuple[ModelIdentity, ModelIdentity | None]:
        """The active model and its shadow, as they are recorded now.

        Raises ``Unavailable`` where this process cannot load the active one, or not know which it is.
        """
        try:
            self.refresh()
        except SQLAlchemyError as error:
            raise Unavailable(
                "the database does not tell which model is active",
                where="RAINPOST_DATABASE_URL",
                got=type(error).__name__,
            ) from error
        if (fault := self.fault("active")) is not None:
            raise Unavailable(
                "the active model cannot be loaded by this process",
                where=fault.where,
                expected=fault.expected,
                got=fault.got or fault.what,
                advice="install it in RAINPOST_MODELS_FOLDER of every process, or choose another model",
            )
        return self.identity, None if self._shadow is None else identity_of(self._shadow)

    def prove(self, model: str) -> Artefact:
        """Load the model of a folder name, its files and its golden case checked, and keep it loaded.

        Raises ``ArtefactError``, ``InferenceError`` and ``ModelRefused``.
        """
        return self._inference(Artefact.load(find_model(self._settings.models_folder, model))).artefact

    def inference(self, identity: ModelIdentity) -> Inference:
        """The model that a job began with, loaded if need be. Raises ``ArtefactError``."""
        if (loaded := self._known(identity.manifest_sha256)) is not None:
            return loaded
        return self._inference(
            self._artefact(f"{identity.name}-{identity.version}", identity.manifest_sha256)
        )

    def _known(self, manifest_sha256: str) -> Inference | None:
        with self._lock:
            if manifest_sha256 in self._loaded:
                self._loaded.move_to_end(manifest_sha256)
            return self._loaded.get(manifest_sha256)

    def _inference(self, artefact: Artefact) -> Inference:
        with self._loading:
            if (known := self._known(artefact.sha256)) is not None:
                return known
            settings = self._settings
            loaded = Inference(artefact, settings.provider, settings.threads)
            with self._lock:
                self._loaded[artefact.sha256] = loaded
                while len(self._loaded) > _KEPT:
                    del self._loaded[next(one for one in self._loaded if one != self._active_digest)]
            return loaded

    def _artefact(self, model: str, manifest_sha256: str | None) -> Artefact:
        """The installed model of a name, which must be the very one that is meant."""
        try:
            artefact = Artefact.load(find_model(self._settings.models_folder, model))
        except ModelRefused as error:
            raise ArtefactError(
                "the model is no longer installed",
                where=error.where,
                expected=model,
                got=", ".join(path.name for path in find_models(self._settings.models_folder)),
                advice=f"install {model} again; what is to be done without it needs to be submitted again",
            ) from error
        if manifest_sha256 not in {None, artefact.sha256}:
            raise ArtefactError(
                "the installed model is not the one that was meant, though it has its name",
                where=str(artefact.folder),
                expected=f"a manifest of sha256 {manifest_sha256}",
                got=f"sha256 {artefact.sha256}",
                advice="a published version is never changed: install the old one again, or choose the "
                "present one anew",
            )
        return artefact

    def _first(self) -> Inference:
        try:
            choice = self._choices.current().get("active")
        except SQLAlchemyError as error:
            raise SettingsError(
                "the database does not tell which model is active",
                where="RAINPOST_DATABASE_URL",
                got=type(error).__name__,
                advice="check that the database is there and can be written",
            ) from error
        if choice is None or choice.model is None or not choice.chosen:
            folder = select_model(self._settings.models_folder, self._settings.model)
            return self._inference(Artefact.load(folder))
        try:
            return self._inference(self._artefact(choice.model, choice.manifest_sha256))
        except ArtefactError as error:
            raise ArtefactError(
                f"the active model cannot be used: {error.what}",
                where=error.where,
                expected=error.expected,
                got=error.got,
                advice=f"{choice.by} chose {choice.model} at {choice.changed.isoformat()}; install it again, "
                "or choose another one with `rainpost models activate NAME`",
            ) from error

    def _follow_active(self, choice: Choice | None) -> None:
        if choice is None or choice.model is None or choice.number == self._active_number:
            return
        try:
            inference = self._inference(self._artefact(choice.model, choice.manifest_sha256))
        except (ArtefactError, InferenceError) as error:
            self._note("active", error)
            return
        if inference is not self._active:
            _logger.info("from now on jobs run %s, chosen by %s", choice.model, choice.by)
        self._active, self._active_number = inference, choice.number
        self._active_digest = inference.artefact.sha256
        self._faults.pop("active", None)

    def _follow_shadow(self, choice: Choice | None) -> None:
        if choice is None or choice.number == self._shadow_number:
            return
        try:
            self._shadow = (
                None if choice.model is None else self._artefact(choice.model, choice.manifest_sha256)
            )
        except ArtefactError as error:
            self._shadow = None
            self._note("shadow", error)
            return
        self._shadow_number = choice.number
        self._faults.pop("shadow", None)

    def _note(self, role: Role, fault: RainpostError) -> None:
        if str(self._faults.get(role)) != str(fault):
            _logger.error("the %s model cannot be loaded by this process: %s", role, fault)
        self._faults[role] = fault

    def _look(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self.refresh()
            except SQLAlchemyError:
                _logger.warning("the database does not tell which model is active; the next look asks again")
