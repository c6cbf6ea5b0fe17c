"""Events that are to be delivered, in a database: what was recorded is delivered, whatever comes in between.

Two tables: ``webhook_event`` holds every event once, as it is sent; ``webhook_delivery`` how far it has come
with each receiver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from service.databases import WRITES, open_engine

State = Literal["waiting", "delivered", "gone", "given_up"]
"""Gone: the receiver does not want this event. All but the first are the end."""

_TABLES: Final = sql.MetaData()

_EVENT: Final = sql.Table(
    "webhook_event",
    _TABLES,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("id", sql.String(64), nullable=False, unique=True),
    sql.Column("recorded", sql.Double, nullable=False),
    sql.Column("body", sql.Text, nullable=False),
)
_DELIVERY: Final = sql.Table(
    "webhook_delivery",
    _TABLES,
    sql.Column("number", sql.Integer, sql.ForeignKey(_EVENT.c.number), primary_key=True),
    sql.Column("receiver", sql.String(64), primary_key=True),
    sql.Column("state", sql.String(16), nullable=False),
    sql.Column("attempts", sql.Integer, nullable=False),
    sql.Column("due", sql.Double, nullable=False),
    sql.Index("webhook_delivery_due", "receiver", "state", "due"),
)


@dataclass(frozen=True)
class Delivery:
    """An event that one receiver has not got yet.

    number: counts the events, in the order in which they were recorded. recorded: in seconds since 1970.
    attempts: how many failed.
    """

    number: int
    receiver: str
    event_id: str
    body: str
    recorded: float
    attempts: int


class Outbox:
    """The tables in the database of a URL. Many threads and processes may use it at the same time.

    Moments are seconds since 1970.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._writes = self._engine.execution_options(**{WRITES: True})

    def open(self) -> None:
        """Make the tables that are not there."""
        _TABLES.create_all(self._engine)

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    def record(self, event_id: str, body: str, receivers: Sequence[str], now: float) -> bool:
        """Keep an event for its receivers, all in one transaction; whether it was not there already."""
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        event = insert(_EVENT).values(id=event_id, recorded=now, body=body).on_conflict_do_nothing()
        with self._writes.begin() as connection:
            number = connection.execute(event.returning(_EVENT.c.number)).scalar()
            if number is None:
                return False
            rows = [
                {"number": number, "receiver": receiver, "state": "waiting", "attempts": 0, "due": now}
                for receiver in receivers
            ]
            connection.execute(sql.insert(_DELIVERY), rows)
        return True

    def due(self, receiver: str, now: float) -> Delivery | None:
        """The first event, in the order in which they were recorded, that is to be sent to a receiver now."""
        query = (
            sql.select(_DELIVERY, _EVENT.c.id, _EVENT.c.body, _EVENT.c.recorded)
            .join(_EVENT)
            .where(_DELIVERY.c.receiver == receiver, _DELIVERY.c.state == "waiting", _DELIVERY.c.due <= now)
            .order_by(_DELIVERY.c.number)
            .limit(1)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return Delivery(row.number, row.receiver, row.id, row.body, row.recorded, row.attempts)

    def end(self, delivery: Delivery, state: State) -> None:
        """Nothing more is sent of it."""
        self._update(delivery, state=state)

    def postpone(self, delivery: Delivery, due: float) -> None:
        """An attempt failed; the next one is due at a moment."""
        self._update(delivery, attempts=delivery.attempts + 1, due=due)

    def oldest(self) -> dict[str, float]:
        """By receiver: when the oldest of the events that it waits for was recorded."""
        query = (
            sql.select(_DELIVERY.c.receiver, sql.func.min(_EVENT.c.recorded))
            .join(_EVENT)
            .where(_DELIVERY.c.state == "waiting")
            .group_by(_DELIVERY.c.receiver)
        )
        with self._engine.connect() as connection:
            return {receiver: float(recorded) for receiver, recorded in connection.execute(query)}

    def forget(self, before: float) -> None:
        """Remove events that were recorded before a moment, also those that a receiver waits for."""
        old = sql.select(_EVENT.c.number).where(_EVENT.c.recorded < before)
        with self._writes.begin() as connection:
            connection.execute(sql.delete(_DELIVERY).where(_DELIVERY.c.number.in_(old)))
            connection.execute(sql.delete(_EVENT).where(_EVENT.c.recorded < before))

    def _update(self, delivery: Delivery, **values: object) -> None:
        place = (_DELIVERY.c.number == delivery.number) & (_DELIVERY.c.receiver == delivery.receiver)
        with self._writes.begin() as connection:
            connection.execute(sql.update(_DELIVERY).where(place).values(**values))
