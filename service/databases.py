"""Databases: their addresses, and connections that many threads and processes may use."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
import sqlalchemy as sql
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.errors import SettingsError, Unavailable, causes

WRITES: Final = "rainpost_writes"
"""Execution option of transactions that write."""

_SQLITE_WAIT_SECONDS: Final = 60

_LEFT_SECONDS: Final = 60
"""The same limit that DBOS has."""

_LONG_SECONDS: Final = 1.0
_REST_SECONDS: Final = 2.0
_SILENT_UNTIL: Final[dict[str, float]] = {}
"""By server and database, on the monotonic clock."""

_PATIENCE: Final = {
    "connect_timeout": "3",
    "keepalives_idle": "3",
    "keepalives_interval": "2",
    "tcp_user_timeout": "4000",
}
"""Parameters of libpq, s; the last is ms. Where packets get lost nothing says that a server is gone, and the
kernel alone would wait a quarter of an hour."""


def open_engine(url: str) -> sql.Engine:
    """Connections to the database of a URL, SQLite or PostgreSQL; none is made yet."""
    # A connection may have been lost since it was used last.
    engine = sql.create_engine(with_driver(url), pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        _write_in_turn(engine)
    else:
        _give_up_together(engine)
        _end_what_is_left(engine)
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


def is_usable(url: str) -> bool:
    """Whether a URL can be that of a database of the service. Nobody asks the database."""
    try:
        return with_driver(url).drivername in {"postgresql+psycopg", "sqlite", "sqlite+pysqlite"}
    except (ArgumentError, ValueError):
        return False


def with_patience(url: str) -> str:
    """The URL of a setting with limits of waiting for a server that is silent, where it has none of its own.

    With the password, if there is one: not for logs.
    """
    parsed = sql.make_url(url)
    if parsed.get_backend_name() != "postgresql":
        return url
    return parsed.set(query={**_PATIENCE, **parsed.query}).render_as_string(hide_password=False)


def _give_up_together(engine: sql.Engine) -> None:
    """For a moment after a server did not answer, do not let anybody else wait for it: threads that wait are
    missing where no database is needed.
    """
    place = str(engine.url.set(query={}))

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _: Any, arguments: Any, named: Any) -> Any:
        began = time.monotonic()
        if began < _SILENT_UNTIL.get(place, 0.0):
            raise psycopg.OperationalError("the server did not answer a moment ago")
        try:
            return dialect.connect(*arguments, **named)
        except psycopg.OperationalError:
            # What is refused is refused at once, and may be asked again.
            if time.monotonic() - began > _LONG_SECONDS:
                _SILENT_UNTIL[place] = time.monotonic() + _REST_SECONDS
            raise


def _end_what_is_left(engine: sql.Engine) -> None:
    """Let the server end a transaction of a client that is gone without a word; its locks would last."""

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.execute(f"SET idle_in_transaction_session_timeout = '{_LEFT_SECONDS}s'")
        connection.commit()


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
