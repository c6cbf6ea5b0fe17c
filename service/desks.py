"""Where ``rainpost ingest`` and ``backfill`` hand in cycles: at the running service, or at one of their
own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import httpx
import numpy as np

from service.documents import CycleDocument, TakenDocument, cycle_document, taken_document
from service.errors import (
    Conflict,
    MissingScope,
    ModelRefused,
    PreconditionFailed,
    QueueFull,
    RainpostError,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from service.ingest import Source
from service.own_key import own_key
from service.problems import Problem
from service.runtime import Runtime
from service.settings import Settings
from service.times import iso_time

_TIMEOUT_SECONDS: Final = 600
_EVERY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - to be reached, not to listen on


class Desk(Protocol):
    """Takes cycles from the inbox and tells how they stand."""

    def take(self, reference_time: np.datetime64, source: Source) -> TakenDocument:
        """As ``POST /ingest``. Raises ``QueueFull``, ``Unavailable`` and what the service refuses."""
        ...

    def cycle(self, reference_time: np.datetime64) -> CycleDocument | None:
        """As ``GET /cycles/{reference_time}``."""
        ...


class RemoteDesk:
    """A running service."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def take(self, reference_time: np.datetime64, source: Source) -> TakenDocument:
        """Over HTTP."""
        parameters = {"reference_time": iso_time(reference_time), "source": source}
        answer = self._client.post("/ingest", params=parameters)
        if not answer.is_success:
            raise refusal(answer)
        return TakenDocument.model_validate_json(answer.content)

    def cycle(self, reference_time: np.datetime64) -> CycleDocument | None:
        """Over HTTP."""
        answer = self._client.get(f"/cycles/{iso_time(reference_time)}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if not answer.is_success:
            raise refusal(answer)
        return CycleDocument.model_validate_json(answer.content)


class OwnDesk:
    """A service in this process, which answers nobody else."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def take(self, reference_time: np.datetime64, source: Source) -> TakenDocument:
        """In this process."""
        if self._runtime.ingest is None:
            raise Conflict("there is no inbox", where="RAINPOST_INBOX", got="not set")
        self._runtime.admit()
        return taken_document(self._runtime.ingest.take(reference_time, source))

    def cycle(self, reference_time: np.datetime64) -> CycleDocument | None:
        """In this process."""
        state = self._runtime.cycles.of(reference_time)
        return None if state is None else cycle_document(state)


@contextmanager
def open_desk(settings: Settings) -> Iterator[Desk]:
    """The service at RAINPOST_HOST and RAINPOST_PORT if one answers there, otherwise one of our own.

    Raises ``SettingsError`` where neither is possible.
    """
    with open_client(settings) as client:
        if client is not None:
            yield RemoteDesk(client)
            return
    runtime = Runtime(settings)
    runtime.start(watch=False)
    try:
        yield OwnDesk(runtime)
    finally:
        runtime.stop()


@contextmanager
def open_client(settings: Settings, *, only_reads: bool = False) -> Iterator[httpx.Client | None]:
    """A client of the service at RAINPOST_HOST and RAINPOST_PORT, None where none answers there.

    only_reads: what is asked for is reading, which may need no key.
    """
    host = _EVERY_ADDRESS.get(settings.host, settings.host)
    with httpx.Client(base_url=f"http://{host}:{settings.port}", timeout=_TIMEOUT_SECONDS) as client:
        if not _answers(client):
            yield None
            return
        with own_key(settings, only_reads=only_reads) as key:
            if key is not None:
                client.headers["Authorization"] = f"Bearer {key}"
            yield client


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/livez", timeout=5).is_success
    except httpx.TransportError:
        return False


def refusal(answer: httpx.Response) -> RainpostError:
    """The error behind a problem document, or one that shows what came instead."""
    kinds = (
        Conflict,
        MissingScope,
        ModelRefused,
        PreconditionFailed,
        QueueFull,
        TooManyRequests,
        Unauthenticated,
        Unavailable,
    )
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValueError:
        # A proxy in between, for instance, does not say more than the status.
        by_status = {kind.status: kind for kind in kinds}
        kind = by_status.get(answer.status_code, RainpostError)
        return kind("the service refused", where=str(answer.url), got=answer.text[:200])
    kind = {kind.reason: kind for kind in kinds}.get(problem.reason, RainpostError)
    return kind(
        problem.detail,
        where=problem.where,
        expected=problem.expected,
        got=problem.got,
        advice=problem.advice,
    )
