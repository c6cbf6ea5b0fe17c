"""What is told of a cycle when its state changes, as CloudEvents 1.0 (https://cloudevents.io).

The identity of an event comes from what it is about: the same change of state has the same identity however
often it is told, so that receivers and the outbox know it again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict

from service.problems import Problem
from service.stages import Task
from service.store import InputIdentity, ModelIdentity, Record

MEDIA_TYPE: Final = "application/cloudevents+json"
"""Of the structured mode over HTTP."""

TYPE_PREFIX: Final = "org.rainpost.cycle."

State = Literal["published", "partial", "late", "failed"]
"""States of a cycle that are told; ``service.cycle_states`` says when a cycle is in one."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Leads(_Frozen):
    """Leads in hours: of the model, of the product, and those of the model that the product lacks."""

    expected: tuple[int, ...]
    present: tuple[int, ...]
    missing: tuple[int, ...]

    @classmethod
    def of(cls, expected: tuple[int, ...], present: tuple[int, ...] = ()) -> Self:
        """Those that are expected, and those that are there."""
        missing = tuple(lead for lead in expected if lead not in present)
        return cls(expected=expected, present=present, missing=missing)


class Product(_Frozen):
    """A published product. path: below the address of the service. sha256, size_bytes: of its NetCDF file."""

    path: str
    sha256: str
    size_bytes: int


class CycleEventData(_Frozen):
    """What changed.

    revision, product: of a cycle that is published or partial. inputs, model: what it was made from and by;
    none and nobody for a late cycle. job: path of the job that failed. problem: why it failed. deadline: when
    a late cycle was due.
    """

    reference_time: str
    state: State
    leads: Leads
    revision: int | None = None
    product: Product | None = None
    inputs: tuple[InputIdentity, ...] = ()
    model: ModelIdentity | None = None
    job: str | None = None
    problem: dict[str, str | int] | None = None
    deadline: str | None = None


class CycleEvent(_Frozen):
    """The envelope. subject: the reference time. time: when the state was reached."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    data: CycleEventData

    def body(self) -> str:
        """The event as it is sent; members without a value are left out."""
        return self.model_dump_json(exclude_none=True)


class CycleEvents:
    """Makes the events of one service. source: its CloudEvents source. leads_hours: of the active model."""

    def __init__(self, source: str, leads_hours: Callable[[], tuple[int, ...]]) -> None:
        self._source = source
        self._leads_hours = leads_hours

    def published(self, record: Record) -> CycleEvent:
        """Of a revision: published, or partial while it lacks leads."""
        leads = Leads.of(self._leads_hours(), record.origin.leads_hours)
        time = record.reference_time
        data = CycleEventData(
            reference_time=time,
            state="partial" if leads.missing else "published",
            leads=leads,
            revision=record.revision,
            product=Product(
                path=f"/cycles/{time}/product?revision={record.revision}",
                sha256=record.sha256,
                size_bytes=record.size_bytes,
            ),
            inputs=record.origin.inputs,
            model=record.origin.model,
        )
        # A revision that was removed and made again has its number, but not its time.
        return self._event(data, record.created, str(record.revision), record.created.isoformat())

    def failed(self, reference_time: str, job_id: str, run: str, task: Task, problem: Problem) -> CycleEvent:
        """Of a cycle without a product whose job failed. run: which of the job's runs it was."""
        data = CycleEventData(
            reference_time=reference_time,
            state="failed",
            leads=Leads.of(self._leads_hours()),
            inputs=tuple(one.identity for one in task.submission.inputs),
            model=task.model,
            job=f"/jobs/{job_id}",
            problem=problem.model_dump(exclude_defaults=True),
        )
        return self._event(data, datetime.now(UTC), job_id, run)

    def late(self, reference_time: str, deadline: str) -> CycleEvent:
        """Of a cycle that has neither a product nor a job at its deadline; told once."""
        data = CycleEventData(
            reference_time=reference_time,
            state="late",
            leads=Leads.of(self._leads_hours()),
            deadline=deadline,
        )
        return self._event(data, datetime.now(UTC))

    def _event(self, data: CycleEventData, time: datetime, *identity: str) -> CycleEvent:
        kind = TYPE_PREFIX + data.state
        name = "|".join((kind, data.reference_time, *identity))
        return CycleEvent(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
            source=self._source,
            type=kind,
            subject=data.reference_time,
            time=time,
            data=data,
        )
