"""Where ``rainpost status`` learns how cycles stand: a service, or what one left on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import httpx
from sqlalchemy.exc import SQLAlchemyError

from service.artefact import read_manifest
from service.cycle_index import CycleIndex
from service.cycle_states import CycleStates
from service.desks import open_client, refusal
from service.disk_use import DiskDocument, DiskUse
from service.documents import CycleDocument, CyclesDocument, cycle_document, cycles_document
from service.errors import SettingsError, Unavailable
from service.job_reader import JobReader
from service.ledger import Ledger, Selection
from service.model_choices import ModelChoices
from service.model_folder import select_model
from service.schedule import Schedule
from service.settings import Settings
from service.store import Store
from service.times import parse_time
from service.verification_documents import VerificationDocument, verification_document

_TIMEOUT_SECONDS: Final = 60


class CycleSource(Protocol):
    """Tells how cycles stand. name: for people."""

    name: str

    def cycles(self, limit: int) -> CyclesDocument:
        """As ``GET /cycles``."""
        ...

    def cycle(self, reference_time: str) -> CycleDocument | None:
        """As ``GET /cycles/{reference_time}``."""
        ...

    def scores(self, reference_time: str) -> VerificationDocument:
        """As ``GET /verification`` of one cycle."""
        ...

    def disk(self) -> DiskDocument:
        """As ``GET /disk``."""
        ...


class RemoteCycles:
    """A running service. Raises ``Unavailable`` and what the service refuses."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.name = f"the service at {client.base_url}"

    def cycles(self, limit: int) -> CyclesDocument:
        """Over HTTP."""
        return CyclesDocument.model_validate_json(self._get("/cycles", limit=str(limit)))

    def cycle(self, reference_time: str) -> CycleDocument | None:
        """Over HTTP."""
        return CycleDocument.model_validate_json(self._get(f"/cycles/{reference_time}"))

    def scores(self, reference_time: str) -> VerificationDocument:
        """Over HTTP."""
        return VerificationDocument.model_validate_json(self._get("/verification", cycle=reference_time))

    def disk(self) -> DiskDocument:
        """Over HTTP."""
        return DiskDocument.model_validate_json(self._get("/disk"))

    def _get(self, path: str, **parameters: str) -> bytes:
        try:
            answer = self._client.get(path, params=parameters)
        except httpx.TransportError as error:
            raise Unavailable(
                "the service does not answer",
                where=str(self._client.base_url),
                got=f"{type(error).__name__}: {error}",
            ) from error
        if not answer.is_success:
            raise refusal(answer)
        return answer.content


class LocalCycles:
    """The data folder and the databases of a service that does not run, or that nobody can reach."""

    def __init__(self, settings: Settings, store: Store, states: CycleStates, ledger: Ledger) -> None:
        self.name = f"{settings.data_folder}, no service answers"
        self._disk = DiskUse(settings, store)
        self._states = states
        self._ledger = ledger

    def cycles(self, limit: int) -> CyclesDocument:
        """From products, jobs and schedule."""
        return cycles_document(self._states.recent(limit))

    def cycle(self, reference_time: str) -> CycleDocument | None:
        """From products, jobs and schedule."""
        state = self._states.of(parse_time(reference_time))
        return None if state is None else cycle_document(state)

    def scores(self, reference_time: str) -> VerificationDocument:
        """From the ledger."""
        selection = Selection(reference_time=parse_time(reference_time))
        return verification_document(selection, self._ledger.sums(selection))

    def disk(self) -> DiskDocument:
        """As the file system has it."""
        return self._disk.read()


@contextmanager
def open_source(settings: Settings, url: str | None) -> Iterator[CycleSource]:
    """The service at the URL; without one that at RAINPOST_HOST and RAINPOST_PORT if it answers, otherwise
    what lies on this machine.

    Raises ``SettingsError`` where no service ever ran there.
    """
    if url is not None:
        headers = (
            {} if settings.key is None else {"Authorization": f"Bearer {settings.key.get_secret_value()}"}
        )
        with httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS, headers=headers) as client:
            yield RemoteCycles(client)
        return
    with open_client(settings, only_reads=True) as found:
        if found is not None:
            yield RemoteCycles(found)
            return
    with _open_local(settings) as local:
        yield local


@contextmanager
def _open_local(settings: Settings) -> Iterator[LocalCycles]:
    products = settings.data_folder / "products"
    if not products.is_dir():
        raise SettingsError(
            "no service answers, and none has run with this data folder yet",
            where="RAINPOST_HOST, RAINPOST_PORT, RAINPOST_DATA_FOLDER",
            expected="a service, or a data folder with products",
            got=f"{settings.host}:{settings.port}, {settings.data_folder}",
        )
    ledger = Ledger(settings.ledger_database_url)
    try:
        ledger.open()
        leads_hours = read_manifest(_active_model(settings))[0].cycle.leads_hours
        jobs = JobReader(settings.job_database_url, CycleIndex(settings.data_folder / "work" / "cycles"))
        try:
            store = Store(products)
            states = CycleStates(store, jobs, lambda: leads_hours, Schedule.of(settings))
            yield LocalCycles(settings, store, states, ledger)
        finally:
            jobs.close()
    except SQLAlchemyError as error:
        raise SettingsError(
            "the database cannot be read",
            where="RAINPOST_DATABASE_URL",
            got=type(error).__name__,
            advice="check that the database is there and can be read",
        ) from error
    finally:
        ledger.close()


def _active_model(settings: Settings) -> Path:
    """Folder of the model that was chosen last, or that the settings name."""
    choices = ModelChoices(settings.ledger_database_url)
    try:
        choice = choices.current().get("active")
    finally:
        choices.close()
    if choice is not None and choice.model is not None and choice.chosen:
        return settings.models_folder / choice.model
    return select_model(settings.models_folder, settings.model)
