"""A PostgreSQL server of the tests' own, where the machine has one installed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql

_ADDRESS = "127.0.0.1"
_OTHER_USER = "postgres"
"""The server refuses to run for root."""


@contextmanager
def postgresql() -> Iterator[str]:
    """URL of an empty database that is gone afterwards, by a socket in its folder (``over_network``)."""
    programs = _programs()
    user = _OTHER_USER if os.geteuid() == 0 else None
    # The folders of pytest are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="rainpost-postgresql-"))
    data = folder / "data"

    def call(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, "-D", data, *arguments],
            check=True,
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )

    try:
        if user is not None:
            shutil.chown(folder, user)
        call("initdb", "--auth=trust", "--username=rainpost", "--no-sync")
        with contextlib.closing(socket.socket()) as probe:
            probe.bind((_ADDRESS, 0))
            port = probe.getsockname()[1]
        options = _options(folder, port)
        call("pg_ctl", "start", "--wait", "--silent", "-l", str(folder / "log"), "-o", options)
        try:
            yield f"postgresql://rainpost@/postgres?host={folder}&port={port}"
        finally:
            call("pg_ctl", "stop", "--silent", "-m", "immediate")
    finally:
        shutil.rmtree(folder)


def over_network(url: str) -> str:
    """The same database as services usually reach it. A driver tells a loss of either in words of its own."""
    parts = sql.make_url(url)
    port = int(str(parts.query["port"]))
    return parts.set(host=_ADDRESS, port=port, query={}).render_as_string(hide_password=False)


def stop_server(server: str) -> None:
    """End the server of a URL as a loss of power would, connections and all."""
    command: list[str | Path] = [_programs() / "pg_ctl", "stop", "--silent", "-m", "immediate", *_of(server)]
    subprocess.run(command, check=True, **_as(server))


def start_server(server: str) -> None:
    """Begin again with the data that are there."""
    folder = _folder(server)
    options = _options(folder, int(str(sql.make_url(server).query["port"])))
    command: list[str | Path] = [
        _programs() / "pg_ctl",
        "start",
        "--wait",
        "--silent",
        "-l",
        folder / "log",
        "-o",
        options,
    ]
    subprocess.run([*command, *_of(server)], check=True, **_as(server))


def _folder(server: str) -> Path:
    return Path(str(sql.make_url(server).query["host"]))


def _options(folder: Path, port: int) -> str:
    return f"-c listen_addresses={_ADDRESS} -c port={port} -c fsync=off -k {folder}"


def _of(server: str) -> list[str]:
    return ["-D", str(_folder(server) / "data")]


def _as(server: str) -> dict[str, Any]:
    user = _OTHER_USER if os.geteuid() == 0 else None
    return {"user": user, "cwd": _folder(server), "stdout": subprocess.DEVNULL}


def _programs() -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(installed[-1]) if installed else None)
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(_OTHER_USER)
        except KeyError:
            pytest.skip(f"root, and no user {_OTHER_USER} to run PostgreSQL as")
    return Path(found).resolve().parent


def new_database(server: str) -> str:
    """URL of one more empty database of the server."""
    name = f"rainpost_{uuid.uuid4().hex}"
    engine = sql.create_engine(
        server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")
