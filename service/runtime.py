"""A running service: model, store and queue, put together from the settings."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from service.access import open_access
from service.api_keys import ApiKeys
from service.artefact import Artefact
from service.cycle_states import CycleStates
from service.decoding import warm_up
from service.disk_use import DiskUse
from service.durability import exclusive
from service.early_work import EarlyWork
from service.errors import SettingsError, Unavailable
from service.explanations import Explanations
from service.gate import GateLimits
from service.identity import bind
from service.inbox import Inbox, Settling
from service.inference import Inference
from service.ingest import Ingest, IngestWatch
from service.jobs import Jobs
from service.ledger import Ledger
from service.ledger_metrics import LedgerCollector, expected_sums
from service.metrics import Metrics
from service.model_choices import ModelChoices, Role
from service.model_folder import find_model
from service.models import Models
from service.observation_folder import ObservationFolder, ObservationWatch
from service.observation_store import ObservationStore
from service.observing import Observing
from service.presence import Presence
from service.publications import Publications
from service.retention import Retention
from service.rollout import Rollout
from service.schedule import Schedule
from service.settings import Settings
from service.shadow_jobs import ShadowJobs
from service.shadow_run import prove_shadow
from service.shelf import Shelf
from service.stages import EARLY, Stages, Task
from service.state_metrics import StateCollector
from service.store import Store
from service.submission import Submission
from service.tracing import open_tracing
from service.verification import Verification
from service.verification_counts import Sum
from service.versions import rainpost_version
from service.webhooks import Webhooks
from service.worker import Workers

_logger = logging.getLogger(__name__)

_SHADOWS_IN_MEMORY: Final = 2
"""Products of the shadow that are kept at hand; nobody reads them but the verification."""


@dataclass(frozen=True)
class Check:
    """One condition of readiness."""

    name: str
    passed: bool
    detail: str


class Runtime:
    """Loads the model when it is made; takes jobs between ``start`` and ``stop``.

    Raises ``SettingsError`` and ``ArtefactError``.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        _prepare_data_folder(settings.data_folder)
        self.tracing = open_tracing(settings.otlp_endpoint)
        self.choices = ModelChoices(settings.ledger_database_url)
        self.keys = ApiKeys(settings.ledger_database_url)
        self.access = open_access(settings, self.keys)
        self.store = Store(settings.data_folder / "products")
        self.shelf = Shelf(self.store)
        self.disk = DiskUse(settings, self.store)
        self.explanations = Explanations(settings.data_folder / "explanations")
        self.metrics = Metrics()
        self.models = Models(settings, self.choices)
        self.rollout = Rollout(settings, self.choices, self._prove)
        self.presence = Presence(settings.data_folder, shared=settings.shares_work)
        self._uploads = settings.data_folder / "work" / "uploads"
        self._workers = Workers(
            settings.jobs_at_once, settings.decode_timeout_seconds, settings.decode_memory_bytes
        )
        # One is enough, and it starts when there is a shadow to run.
        self._shadow_workers = Workers(1, settings.decode_timeout_seconds)
        self.ledger = Ledger(settings.ledger_database_url)
        self.metrics.registry.register(LedgerCollector(self.ledger, self._expected_sums))
        observations = ObservationStore(settings.data_folder / "observations")
        shadow_store = Store(settings.data_folder / "shadow")
        shadow_shelf = Shelf(shadow_store, capacity=_SHADOWS_IN_MEMORY)
        verification = Verification(self.shelf, observations, self.ledger, shadow_shelf)
        self.observations, self.verification = observations, verification
        self.publications = Publications(
            {"published": self.store.folder, "observed": observations.folder}, settings.events_poll_seconds
        )
        self.observing = Observing(
            verification,
            self.metrics,
            self._workers,
            lambda: self.models.specification,
            settings.data_folder / "weights",
        )
        self._watch = ObservationWatch(
            verification,
            None
            if settings.observation_folder is None
            else ObservationFolder(settings.observation_folder, self.observing, observations),
            settings.observation_poll_seconds,
            lambda: self.presence.leads("observations"),
        )
        stages = Stages(
            self.models,
            self.store,
            self.metrics,
            self._workers,
            verification,
            data_folder=settings.data_folder,
            limits=GateLimits(z_mean=settings.gate_z_mean, heaviest_share=settings.gate_heaviest_share),
        )
        self.shadows = ShadowJobs(
            settings,
            self.presence,
            self.models,
            stages,
            shadow_store,
            verification,
            self.metrics,
            self._shadow_workers,
        )
        self.retention = Retention(
            settings.data_folder,
            settings.keep_days,
            (self.store, shadow_store),
            observations,
            lambda: self.presence.leads("retention"),
        )
        self._webhooks = Webhooks(
            settings, self.store, lambda: self.models.leads_hours, self.metrics, self.presence.leads
        )
        self.jobs = Jobs(
            settings,
            self.presence,
            stages,
            self.shadows,
            self.store,
            self.metrics,
            self._workers,
            self._webhooks.announcer,
            self.tracing,
        )
        self.cycles = CycleStates(
            self.store, self.jobs, lambda: self.models.leads_hours, Schedule.of(settings)
        )
        self.ingest = self._open_inbox(Schedule.of(settings))
        self._ingest_watch = IngestWatch(
            self.ingest, settings.inbox_poll_seconds, lambda: self.presence.leads("inbox")
        )
        self.metrics.identify(rainpost_version())
        self.metrics.registry.register(
            StateCollector(self.models, self.store, observations, self.jobs, self.cycles, self.disk)
        )

    @property
    def inference(self) -> Inference:
        """The active model."""
        return self.models.active

    def start(self, *, watch: bool = True) -> None:
        """Begin to take jobs.

        Raises ``SettingsError`` when another process uses the data folder, or the database that of another.

        watch: whether to look into the inbox and the observation folder.
        """
        for folder in ("work/jobs", "weights"):
            (self.settings.data_folder / folder).mkdir(parents=True, exist_ok=True)
        # Two processes that start together would both make the tables of an empty database.
        with exclusive(self.settings.data_folder / "work" / ".opening"):
            self._open_database()
            self.jobs.start()
            self._settle()
        self._webhooks.start((self.cycles, self.jobs, Schedule.of(self.settings)) if watch else None)
        self._remove_broken_uploads()
        self._workers.warm(warm_up)
        if watch:
            self._watch.start()
            self._ingest_watch.start()
            self.retention.start()
        _logger.info("ready with %s on %s", self.inference.artefact.identity, self.settings.provider)

    def _settle(self) -> None:
        """Agree with the other processes on the models, once this one belongs to them."""
        try:
            self.rollout.settle()
            self.models.start()
        except Exception:
            self.jobs.stop()
            raise

    def stop(self) -> None:
        """End jobs and processes; what is not done goes on at the next start."""
        self._watch.stop()
        self._ingest_watch.stop()
        self.retention.stop()
        # Before the queue, whose database it uses.
        self.retention.join()
        self._webhooks.stop()
        self.jobs.stop()
        self._workers.close()
        self._shadow_workers.close()
        self._watch.join()
        self._ingest_watch.join()
        self.models.stop()
        self.choices.close()
        self.keys.close()
        self.ledger.close()
        self.tracing.close()

    def _open_inbox(self, schedule: Schedule) -> Ingest | None:
        settings = self.settings
        if settings.inbox is None:
            return None
        return Ingest(
            Inbox(settings.inbox, settings.inbox_pattern),
            Settling(settings.inbox_settle_seconds),
            self.jobs,
            self.store,
            self._workers,
            lambda: self.models.specification,
            self.task,
            settings.minimum_leads,
            schedule,
            settings.data_folder / "work" / "inbox",
            EarlyWork(
                self._workers,
                lambda: self.inference,
                settings.data_folder / EARLY,
                settings.data_folder / "weights",
            ),
        )

    def task(self, submission: Submission) -> Task:
        """What a job of the submission is to do, with the models and the limits of now.

        Raises ``Unavailable`` where the active model cannot be loaded.
        """
        model, shadow = self.models.for_new_job()
        return Task(
            submission=submission, model=model, minimum_leads=self.settings.minimum_leads, shadow=shadow
        )

    def _prove(self, role: Role, model: str) -> Artefact:
        if role == "active":
            return self.models.prove(model)
        folder = find_model(self.settings.models_folder, model)
        return self._shadow_workers.run(prove_shadow, folder, self.settings.provider)

    def _expected_sums(self) -> list[Sum]:
        shadow = self.models.shadow
        return expected_sums(self.inference.artefact.manifest, None if shadow is None else shadow.manifest)

    def admit(self) -> None:
        """Whether a submission may come in. Raises ``QueueFull`` and ``Unavailable``."""
        free = shutil.disk_usage(self.settings.data_folder).free
        if free < self.settings.minimum_free_bytes:
            raise Unavailable(
                "the disk of the data folder is nearly full",
                where="RAINPOST_DATA_FOLDER",
                expected=f"{self.settings.minimum_free_bytes} bytes free",
                got=f"{free} bytes free",
                advice="make room, or lower RAINPOST_MINIMUM_FREE_BYTES",
            )
        if fault := self._database_fault():
            raise Unavailable("the database does not answer", where="RAINPOST_DATABASE_URL", got=fault)
        self.jobs.check_room()

    def _database_fault(self) -> str:
        """Why the database cannot be used, or nothing. The queue itself would wait until it can."""
        try:
            self.ledger.ping()
        except SQLAlchemyError as error:
            return type(error).__name__
        return ""

    def _open_database(self) -> None:
        try:
            bind(self.settings.data_folder, self.settings.job_database_url)
            self.ledger.open()
            self.choices.open()
            self.keys.open()
            self._webhooks.open()
        except SQLAlchemyError as error:
            raise SettingsError(
                "the database cannot be opened",
                where="RAINPOST_DATABASE_URL",
                got=type(error).__name__,
                advice="check that the database is there and can be written",
            ) from error

    def new_upload_folder(self) -> Path:
        """An empty folder on the same file system as the jobs' folders."""
        folder = self._uploads / f"{self.presence.id}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        return folder

    def _remove_broken_uploads(self) -> None:
        """What a kill broke off: of processes that are gone, and of one before that had this one's name."""
        for upload in self._uploads.glob("*"):
            owner = upload.name.partition("-")[0]
            if owner == self.presence.id or not self.presence.is_alive(owner):
                shutil.rmtree(upload, ignore_errors=True)

    def checks(self) -> list[Check]:
        """What must hold for the service to take a job."""
        data_folder = self.settings.data_folder
        writable = os.access(data_folder, os.W_OK | os.X_OK)
        try:
            if fault := self._database_fault():
                queue = f"the database does not answer: {fault}"
            else:
                queue = self.jobs.check()
        except Exception as error:  # noqa: BLE001
            # Whatever the database driver raises means the same here: no job can be taken.
            queue = f"the job database does not answer: {type(error).__name__}"
        active, unusable = self.inference, self.models.fault("active")
        proven = f"{active.artefact.identity} on {active.provider}, golden case within "
        return [
            Check(
                "model",
                unusable is None,
                f"{proven}{active.golden_difference:.1e}" if unusable is None else str(unusable),
            ),
            Check("data_folder", writable, "writable" if writable else "not writable"),
            Check("queue", not queue, queue or "open"),
        ]


def _prepare_data_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            "the data folder cannot be made",
            where="RAINPOST_DATA_FOLDER",
            expected="a folder, or a path at which one can be made",
            got=f"{folder}: {error.strerror}",
            advice="name another folder, or give this user the right to write there",
        ) from error
