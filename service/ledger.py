"""The ledger of verification: counts by valid time, lead, threshold, source and model, in a database.

Three tables: ``verification`` holds what the newest revisions of product and observation give, so that sums
over it are the scores of any period; ``verification_reliability`` holds the bins that belong to it;
``verification_total`` adds up whatever was ever counted, revised counts a second time, and never falls, which
is what counters have to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from service.contingency import Contingency
from service.databases import WRITES, open_engine
from service.verification_counts import ReliabilityBin, Source, Sum, ThresholdCounts

_COUNTS: Final = tuple(field.name for field in fields(Contingency))

_TABLES: Final = sql.MetaData()


def _key(*names: str) -> list[sql.Column[Any]]:
    kinds: dict[str, sql.types.TypeEngine[Any]] = {
        "valid_time": sql.BigInteger(),
        "reference_time": sql.BigInteger(),
        "source": sql.String(16),
        "model": sql.String(128),
        "lead_hours": sql.Integer(),
        "threshold_mm": sql.Double(),
        "bin": sql.Integer(),
    }
    return [sql.Column(name, kinds[name], primary_key=True, autoincrement=False) for name in names]


def _counts() -> list[sql.Column[Any]]:
    return [sql.Column(name, sql.BigInteger, nullable=False) for name in _COUNTS]


_VERIFICATION: Final = sql.Table(
    "verification",
    _TABLES,
    *_key("valid_time", "reference_time", "source", "model", "threshold_mm"),
    sql.Column("lead_hours", sql.Integer, nullable=False),
    sql.Column("observation_revision", sql.Integer, nullable=False),
    sql.Column("product_revision", sql.Integer, nullable=False),
    *_counts(),
    sql.Column("brier_sum", sql.Double, nullable=False),
)
_RELIABILITY: Final = sql.Table(
    "verification_reliability",
    _TABLES,
    *_key("valid_time", "reference_time", "source", "model", "threshold_mm", "bin"),
    sql.Column("forecasts", sql.BigInteger, nullable=False),
    sql.Column("probability_sum", sql.Double, nullable=False),
    sql.Column("events", sql.BigInteger, nullable=False),
)
_TOTAL: Final = sql.Table(
    "verification_total", _TABLES, *_key("source", "model", "lead_hours", "threshold_mm"), *_counts()
)


@dataclass(frozen=True)
class Match:
    """One lead of a product beside one observation, with the revisions of both."""

    valid_time: np.datetime64
    reference_time: np.datetime64
    lead_hours: int
    observation_revision: int
    product_revision: int


@dataclass(frozen=True)
class Entry:
    """Counts of one source of a match. model: who made it, with its version if it has one."""

    source: Source
    model: str
    counts: tuple[ThresholdCounts, ...]


@dataclass(frozen=True)
class Selection:
    """What to add up: periods that end after ``after`` and not after ``until``; None selects all.

    reference_time: of the one cycle whose products are meant.
    """

    after: np.datetime64 | None = None
    until: np.datetime64 | None = None
    threshold_mm: float | None = None
    lead_hours: int | None = None
    source: Source | None = None
    reference_time: np.datetime64 | None = None


class Ledger:
    """The tables in the database of a URL. Many threads and processes may use it at the same time."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)

    def open(self) -> None:
        """Make the tables that are not there."""
        _TABLES.create_all(self._engine)

    def ping(self) -> None:
        """Ask the database for an answer. Raises ``SQLAlchemyError`` when there is none."""
        with self._engine.connect() as connection:
            connection.execute(sql.select(1))

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    def record(self, match: Match, entries: Sequence[Entry]) -> bool:
        """Put the counts of a match in the place of those of older revisions; whether any changed.

        All in one transaction: a kill leaves all or nothing. An entry is passed over where the ledger has
        its revisions already, or a newer one of either: whoever compared that one read newer state.
        """
        with self._engine.execution_options(**{WRITES: True}).begin() as connection:
            self._lock(connection, match.valid_time)
            known = _revisions(connection, match.valid_time)
            fresh = [entry for entry in entries if _is_newer(match, known.get(_identity(match, entry)))]
            for entry in fresh:
                _replace(connection, match, entry)
                self._add_to_totals(connection, match, entry)
        return bool(fresh)

    def revisions(self, valid_time: np.datetime64) -> dict[tuple[int, str, str], tuple[int, int]]:
        """(reference time in s since 1970, source, model) to the revisions of observation and product."""
        with self._engine.connect() as connection:
            return _revisions(connection, valid_time)

    def sums(self, selection: Selection, *, reliability: bool = False) -> list[Sum]:
        """By source, model, threshold and lead, in this order."""
        group = [_VERIFICATION.c[name] for name in ("source", "model", "threshold_mm", "lead_hours")]
        parts = [sql.func.sum(_VERIFICATION.c[name]) for name in (*_COUNTS, "brier_sum")]
        query = sql.select(*group, *parts, sql.func.count()).where(*_conditions(selection)).group_by(*group)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(*group)).all()
            bins = _bins(connection, selection) if reliability else {}
        return [
            Sum(
                source,
                model,
                threshold_mm,
                lead_hours,
                Contingency(*(int(number) for number in counts)),
                float(brier_sum),
                int(matches),
                tuple(bins.get((source, model, threshold_mm, lead_hours), ())),
            )
            for source, model, threshold_mm, lead_hours, *counts, brier_sum, matches in rows
        ]

    def history(self, selection: Selection, span: np.timedelta64) -> list[tuple[np.datetime64, Sum]]:
        """Sums over the leads of spans of this length, in the order of time, each with its span's start.

        Spans are counted from 1970 on and hold the periods that end after their start and not after their
        end: a day has the hours that lie in it.
        """
        seconds = int(span / np.timedelta64(1, "s"))
        number = (_VERIFICATION.c.valid_time - 1) // seconds
        group = [number, *(_VERIFICATION.c[name] for name in ("source", "model", "threshold_mm"))]
        parts = [sql.func.sum(_VERIFICATION.c[name]) for name in (*_COUNTS, "brier_sum")]
        query = sql.select(*group, *parts, sql.func.count()).where(*_conditions(selection)).group_by(*group)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(*group)).all()
        return [
            (
                np.datetime64(int(index) * seconds, "s"),
                Sum(
                    source,
                    model,
                    threshold_mm,
                    selection.lead_hours,
                    Contingency(*(int(count) for count in counts)),
                    float(brier_sum),
                    int(matches),
                ),
            )
            for index, source, model, threshold_mm, *counts, brier_sum, matches in rows
        ]

    def totals(self) -> list[Sum]:
        """All that was ever counted, by source, model, threshold and lead; no number ever falls."""
        columns = [_TOTAL.c[name] for name in ("source", "model", "threshold_mm", "lead_hours", *_COUNTS)]
        with self._engine.connect() as connection:
            rows = connection.execute(sql.select(*columns)).all()
        return [
            Sum(source, model, threshold_mm, lead_hours, Contingency(*counts))
            for source, model, threshold_mm, lead_hours, *counts in rows
        ]

    def last_valid_time(self) -> np.datetime64 | None:
        """The newest period that was verified."""
        with self._engine.connect() as connection:
            seconds = connection.execute(sql.select(sql.func.max(_VERIFICATION.c.valid_time))).scalar()
        return None if seconds is None else np.datetime64(int(seconds), "s")

    def _lock(self, connection: sql.Connection, valid_time: np.datetime64) -> None:
        if self._engine.dialect.name == "postgresql":
            # Held to the end of the transaction; SQLite's writers come one at a time anyway.
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_seconds(valid_time))))

    def _add_to_totals(self, connection: sql.Connection, match: Match, entry: Entry) -> None:
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        for one in entry.counts:
            key = {
                "source": entry.source,
                "model": entry.model,
                "lead_hours": match.lead_hours,
                "threshold_mm": one.threshold_mm,
            }
            row = insert(_TOTAL).values(**key, **_numbers(one.contingency))
            added = {name: _TOTAL.c[name] + row.excluded[name] for name in _COUNTS}
            connection.execute(row.on_conflict_do_update(index_elements=list(key), set_=added))


def _seconds(time: np.datetime64) -> int:
    return int(time.astype("datetime64[s]").astype(np.int64))


def _identity(match: Match, entry: Entry) -> tuple[int, str, str]:
    return _seconds(match.reference_time), entry.source, entry.model


def _is_newer(match: Match, known: tuple[int, int] | None) -> bool:
    if known is None:
        return True
    revisions = (match.observation_revision, match.product_revision)
    return revisions != known and all(new >= old for new, old in zip(revisions, known, strict=True))


def _numbers(contingency: Contingency) -> dict[str, int]:
    return {name: getattr(contingency, name) for name in _COUNTS}


def _revisions(
    connection: sql.Connection, valid_time: np.datetime64
) -> dict[tuple[int, str, str], tuple[int, int]]:
    names = ("reference_time", "source", "model", "observation_revision", "product_revision")
    rows = connection.execute(
        sql.select(*(_VERIFICATION.c[name] for name in names)).where(
            _VERIFICATION.c.valid_time == _seconds(valid_time)
        )
    )
    return {(reference, source, model): (first, second) for reference, source, model, first, second in rows}


def _replace(connection: sql.Connection, match: Match, entry: Entry) -> None:
    key = {
        "valid_time": _seconds(match.valid_time),
        "reference_time": _seconds(match.reference_time),
        "source": entry.source,
        "model": entry.model,
    }
    for table in (_VERIFICATION, _RELIABILITY):
        connection.execute(sql.delete(table).where(*(table.c[name] == value for name, value in key.items())))
    for one in entry.counts:
        row = key | {"threshold_mm": one.threshold_mm}
        connection.execute(
            sql.insert(_VERIFICATION).values(
                **row,
                lead_hours=match.lead_hours,
                observation_revision=match.observation_revision,
                product_revision=match.product_revision,
                **_numbers(one.contingency),
                brier_sum=one.brier_sum,
            )
        )
        for part in one.reliability:
            connection.execute(
                sql.insert(_RELIABILITY).values(
                    **row,
                    bin=part.number,
                    forecasts=part.forecasts,
                    probability_sum=part.probability_sum,
                    events=part.events,
                )
            )


def _conditions(selection: Selection) -> list[sql.ColumnElement[bool]]:
    columns = _VERIFICATION.c
    conditions = []
    if selection.after is not None:
        conditions.append(columns.valid_time > _seconds(selection.after))
    if selection.until is not None:
        conditions.append(columns.valid_time <= _seconds(selection.until))
    if selection.reference_time is not None:
        conditions.append(columns.reference_time == _seconds(selection.reference_time))
        # The tables are in the order of valid times: what ended before need not be looked at.
        conditions.append(columns.valid_time > _seconds(selection.reference_time))
    wanted = {name: getattr(selection, name) for name in ("threshold_mm", "lead_hours", "source")}
    conditions += [columns[name] == value for name, value in wanted.items() if value is not None]
    return conditions


def _bins(connection: sql.Connection, selection: Selection) -> dict[tuple[Any, ...], list[ReliabilityBin]]:
    keys = [column.name for column in _RELIABILITY.primary_key if column.name != "bin"]
    same = [_RELIABILITY.c[name] == _VERIFICATION.c[name] for name in keys]
    group = [_VERIFICATION.c[name] for name in ("source", "model", "threshold_mm", "lead_hours")]
    number = _RELIABILITY.c.bin
    parts = [sql.func.sum(_RELIABILITY.c[name]) for name in ("forecasts", "probability_sum", "events")]
    query = (
        sql.select(*group, number, *parts)
        .select_from(_RELIABILITY.join(_VERIFICATION, sql.and_(*same)))
        .where(*_conditions(selection))
        .group_by(*group, number)
        .order_by(number)
    )
    bins: dict[tuple[Any, ...], list[ReliabilityBin]] = {}
    for *place, index, forecasts, probability_sum, events in connection.execute(query):
        found = ReliabilityBin(index, int(forecasts), float(probability_sum), int(events))
        bins.setdefault(tuple(place), []).append(found)
    return bins
