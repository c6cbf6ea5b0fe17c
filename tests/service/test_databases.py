"""Addresses of databases, and connections to them."""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sql

from service.databases import WRITES, open_engine


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
