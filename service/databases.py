"""Databases: their addresses, and connections that many threads and processes may use."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sql
from sqlalchemy import event
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.errors import SettingsError, Unavailable, causes

WRITES: Final = "rainpost_writes"
"""Execution option of transactions that write."""

_SQLITE_WAIT_SECONDS: Final = 60


def open_engine(url: str) -> sql.Engine:
    """Connections to the database of a URL, SQLite or PostgreSQL; none is made yet."""
    # A connection may have been lost since it was used last.
    engine = sql.create_engine(with_driver(url), pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        _write_in_turn(engine)
    return engine


@contextmanager
def answering() -> Iterator[None]:
    """For commands: a database that does not answer, or refuses, is a setting that is not right.

    Raises ``SettingsError``.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise SettingsError(
            "the database does not answer",
            where="RAINPOST_DATABASE_URL",
            got=type(error).__name__,
            advice="check that the database is there and can be written",
        ) from error


def silent_database(error: BaseException) -> Unavailable | None:
    """What to tell a client of an exception that a database which does not answer led to; None for any other.

    Only a server can be silent: what SQLite cannot do has other causes.
    """
    cause = next(filter(_is_silent, causes(error)), None)
    if cause is None:
        return None
    return Unavailable(
        "the database does not answer",
        where="RAINPOST_DATABASE_URL",
        got=type(cause).__name__,
        advice="try again later; products are served meanwhile",
    )


def _is_silent(error: BaseException) -> bool:
    if isinstance(error, PoolTimeout):
        return True
    return isinstance(error, OperationalError) and not isinstance(error.orig, sqlite3.Error)


def with_driver(url: str) -> sql.URL:
    """The URL of a setting with the driver that is installed for PostgreSQL."""
    parsed = sql.make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def _write_in_turn(engine: sql.Engine) -> None:
    """Let SQLite wait for other writers, and readers read meanwhile."""

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        # Python's driver begins a transaction at its first change, when what was read before may be old.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA busy_timeout={1000 * _SQLITE_WAIT_SECONDS}")

    @event.listens_for(engine, "begin")
    def begin(connection: sql.Connection) -> None:
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
