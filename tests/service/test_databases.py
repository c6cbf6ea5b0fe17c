"""Addresses of databases, and connections to them."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sql
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.databases import WRITES, is_usable, open_engine, silent_database, with_patience
from tests.service.sample_full_disk import full_database
from tests.service.sample_postgresql import over_network


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


def test_a_server_that_takes_a_connection_and_says_nothing_is_given_up() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        engine = open_engine(
            with_patience(f"postgresql://rainpost@127.0.0.1:{silent.getsockname()[1]}/rainpost")
        )
        with pytest.raises(OperationalError, match="timeout") as caught, engine.connect():
            pass
    assert silent_database(caught.value) is not None


def test_nobody_else_waits_for_a_server_that_was_silent_a_moment_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"postgresql://rainpost@127.0.0.1:{silent.getsockname()[1]}/rainpost?connect_timeout=2"
        attempts = (url, url, f"{url}&application_name=another")
        words = []
        for attempt in attempts:
            with pytest.raises(OperationalError) as caught, open_engine(with_patience(attempt)).connect():
                pass
            words.append(str(caught.value))
        assert ["a moment ago" in word for word in words] == [False, True, True]
        later = time.monotonic() + 10
        monkeypatch.setattr("service.databases.time.monotonic", lambda: later)
        with pytest.raises(OperationalError, match="timeout"), open_engine(with_patience(url)).connect():
            pass


def test_a_server_that_refuses_is_asked_each_time() -> None:
    engine = open_engine(with_patience("postgresql://rainpost@127.0.0.1:1/rainpost"))
    for _ in range(3):
        with pytest.raises(OperationalError, match="refused"), engine.connect():
            pass


def test_the_kernel_is_told_when_to_give_up_a_connection(server: str) -> None:
    """Where packets get lost, nothing else tells that the server is gone."""
    engine = open_engine(with_patience(over_network(server)))
    with engine.connect() as connection, socket.socket(fileno=_descriptor(connection)) as kernel:
        assert kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 4000
        assert kernel.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 3
    engine.dispose()


def test_a_transaction_that_its_client_has_left_is_ended_by_the_server(server: str) -> None:
    engine = open_engine(server)
    for _ in range(2):
        with engine.connect() as connection:
            shown = connection.execute(sql.text("SHOW idle_in_transaction_session_timeout")).scalar_one()
            assert shown == "1min"
            connection.rollback()
    engine.dispose()


def _descriptor(connection: sql.Connection) -> int:
    """A second one of the same socket, for the test to close."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return os.dup(driver.fileno())


def test_limits_of_an_address_are_kept() -> None:
    url = "postgresql://rainpost:secret@db/rainpost"
    assert "connect_timeout=60" in with_patience(f"{url}?connect_timeout=60")
    assert with_patience(f"{url}?connect_timeout=60").count("connect_timeout") == 1
    assert with_patience(url).startswith(f"{url}?")
    assert with_patience(with_patience(url)) == with_patience(url)
    assert with_patience("sqlite:////var/jobs.sqlite") == "sqlite:////var/jobs.sqlite"


@pytest.mark.parametrize(
    ("url", "usable"),
    [
        ("postgresql://rainpost@db/rainpost", True),
        ("postgresql+psycopg://rainpost@db/rainpost", True),
        ("postgresql://rainpost@/rainpost?host=/run/postgresql", True),
        ("sqlite:////var/jobs.sqlite", True),
        ("postgresql+asyncpg://rainpost@db/rainpost", False),
        ("postgres://rainpost@db/rainpost", False),
        ("mysql://db/rainpost", False),
        ("postgresql://rainpost@db:port/rainpost", False),
        ("jobs.sqlite", False),
    ],
)
def test_addresses_that_can_be_of_a_database(url: str, usable: bool) -> None:
    assert is_usable(url) == usable
