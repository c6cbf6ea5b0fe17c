"""Which data folder a job database belongs to.

The files of a job lie in the data folder: a process with another folder would take jobs from the database
and miss their files. Both therefore hold the same random identity, in the file ``identity`` and the table
``rainpost_data_folder``, and a process that finds two different ones does not start.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

import sqlalchemy as sql

from service.databases import with_driver
from service.durability import write_durably
from service.errors import SettingsError

IDENTITY: Final = "identity"
"""The file in the data folder."""

_LOCK: Final = 0x5261696E706F7374
"""PostgreSQL's advisory lock of those who start, of any data folder."""

_TABLES: Final = sql.MetaData()
_DATA_FOLDER: Final = sql.Table(
    "rainpost_data_folder", _TABLES, sql.Column("identity", sql.String(32), primary_key=True)
)


def bind(data_folder: Path, url: str) -> None:
    """Make a database that belongs to no folder that of this one, and see that any other is.

    Raises ``SettingsError`` where it belongs to another folder, ``SQLAlchemyError`` where it does not answer.
    """
    engine = sql.create_engine(with_driver(url))
    try:
        with engine.begin() as connection:
            _lock(connection)
            _TABLES.create_all(connection)
            recorded = connection.execute(sql.select(_DATA_FOLDER.c.identity)).scalar()
            found = _read(data_folder)
            if recorded is None:
                identity = found or _make(data_folder)
                connection.execute(sql.insert(_DATA_FOLDER).values(identity=identity))
            elif recorded != found:
                raise _refusal(data_folder, recorded, found)
    finally:
        engine.dispose()


def _lock(connection: sql.Connection) -> None:
    """Until the end of the transaction nobody else decides."""
    if connection.dialect.name == "postgresql":
        connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_LOCK)))
    else:
        # Python's driver begins a transaction at its first change, when what was read before may be old.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _read(data_folder: Path) -> str | None:
    try:
        return (data_folder / IDENTITY).read_text().strip() or None
    except FileNotFoundError:
        return None


def _make(data_folder: Path) -> str:
    # The file comes first: a kill before the database knows it leaves a folder that any new database takes.
    identity = uuid.uuid4().hex
    write_durably(data_folder / IDENTITY, lambda path: path.write_text(f"{identity}\n"))
    return identity


def _refusal(data_folder: Path, recorded: str, found: str | None) -> SettingsError:
    return SettingsError(
        "the database belongs to another data folder",
        where="RAINPOST_DATA_FOLDER, RAINPOST_DATABASE_URL",
        expected=f"{recorded} in the file {data_folder / IDENTITY}",
        got=found or "no such file",
        advice="Processes that share a database share the data folder: set RAINPOST_DATA_FOLDER to that of "
        "the others, or give this one a database of its own. If this is their folder, but came back without "
        "the file, write the file.",
    )
