"""Addresses of databases, and connections to them."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sql
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.databases import WRITES, open_engine, silent_database
from tests.service.sample_full_disk import full_database


def test_postgresql_gets_the_driver_that_is_installed() -> None:
    engine = open_engine("postgresql://rainpost@db/rainpost")
    assert engine.url.drivername == "postgresql+psycopg"
    assert open_engine("postgresql+psycopg://rainpost@db/rainpost").url.drivername == "postgresql+psycopg"


def test_writers_of_sqlite_take_turns_from_what_they_read(tmp_path: Path) -> None:
    """Each adds one to what it read: without the lock at the beginning some would be lost."""
    engine = open_engine(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        connection.execute(sql.text("CREATE TABLE counter (number INTEGER)"))
        connection.execute(sql.text("INSERT INTO counter VALUES (0)"))

    def add() -> None:
        for _ in range(10):
            with engine.execution_options(**{WRITES: True}).begin() as connection:
                number = connection.execute(sql.text("SELECT number FROM counter")).scalar_one()
                connection.execute(sql.text("UPDATE counter SET number = :next"), {"next": number + 1})

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as connection:
        assert connection.execute(sql.text("SELECT number FROM counter")).scalar_one() == 40
    engine.dispose()


def test_a_server_that_does_not_answer_is_told_from_other_faults(tmp_path: Path) -> None:
    engine = open_engine("postgresql://rainpost@127.0.0.1:1/rainpost")
    with pytest.raises(OperationalError) as caught, engine.connect():
        pass
    silent = silent_database(caught.value)
    assert silent is not None
    assert (silent.status, silent.where, silent.got) == (503, "RAINPOST_DATABASE_URL", "OperationalError")
    wrapped = RuntimeError("of whoever asked")
    wrapped.__cause__ = caught.value
    assert silent_database(wrapped) is not None
    assert silent_database(PoolTimeout()) is not None, "all connections are waiting"
    assert silent_database(OperationalError("SELECT 1", {}, psycopg.errors.AdminShutdown())) is not None
    assert silent_database(full_database(tmp_path)) is None, "SQLite has no server"
    assert silent_database(RuntimeError("of its own")) is None
