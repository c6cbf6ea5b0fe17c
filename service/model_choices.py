"""Which model is active and which one runs in its shadow: every change, in a database that processes share.

One table, ``model_choice``, to which rows are only added. The newest row of a role is what holds, the rows
before it are its history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import sqlalchemy as sql

from service.databases import WRITES, open_engine

Role = Literal["active", "shadow"]
"""The model whose products are published, or the one that is only scored beside it."""

ROLES: Final[tuple[Role, ...]] = ("active", "shadow")

_TABLES: Final = sql.MetaData()

_CHOICE: Final = sql.Table(
    "model_choice",
    _TABLES,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("role", sql.String(16), nullable=False),
    sql.Column("model", sql.String(128)),
    sql.Column("manifest_sha256", sql.String(64)),
    sql.Column("model_before", sql.String(128)),
    sql.Column("changed", sql.String(32), nullable=False),
    sql.Column("changed_by", sql.String(200), nullable=False),
    sql.Column("chosen", sql.Boolean, nullable=False),
)


@dataclass(frozen=True)
class Change:
    """What is to hold for a role from now on.

    model: ``<name>-<version>``, None for no model. chosen: whether somebody asked for this model; otherwise
    it is what the settings say, and they may say something else at the next start.
    """

    role: Role
    model: str | None
    manifest_sha256: str | None
    by: str
    chosen: bool


@dataclass(frozen=True)
class Choice:
    """A change as it was recorded. number: counts the changes. before: the model until then."""

    number: int
    role: Role
    model: str | None
    manifest_sha256: str | None
    before: str | None
    changed: datetime
    by: str
    chosen: bool


Choices = Mapping[Role, Choice]
"""What holds, by role; a role of which nothing was ever recorded is absent."""


class ModelChoices:
    """The table in the database of a URL. Many threads and processes may use it at the same time."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._is_made = False

    def open(self) -> None:
        """Make the table if it is not there."""
        _TABLES.create_all(self._engine)
        self._is_made = True

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    def current(self) -> Choices:
        """What holds now; nothing where there is no table yet. Makes neither database nor table."""
        if not self._is_there():
            return {}
        with self._engine.connect() as connection:
            return _newest(connection)

    def history(self, limit: int) -> list[Choice]:
        """The last changes of both roles, newest first."""
        if not self._is_there():
            return []
        with self._engine.connect() as connection:
            rows = connection.execute(sql.select(_CHOICE).order_by(_CHOICE.c.number.desc()).limit(limit))
            return [_choice(row) for row in rows]

    def change(self, decide: Callable[[Choices], Sequence[Change]]) -> Choices:
        """Record what ``decide`` says in view of what holds; what holds then.

        One at a time among all processes: nothing changes between what ``decide`` sees and what is recorded.
        What it raises leaves everything as it is.
        """
        with self._engine.execution_options(**{WRITES: True}).begin() as connection:
            if self._engine.dialect.name == "postgresql":
                # Readers go on reading; SQLite's writers come one at a time anyway.
                connection.execute(sql.text(f"LOCK TABLE {_CHOICE.name} IN EXCLUSIVE MODE"))
            current = _newest(connection)
            for change in decide(current):
                before = current.get(change.role)
                connection.execute(
                    sql.insert(_CHOICE).values(
                        role=change.role,
                        model=change.model,
                        manifest_sha256=change.manifest_sha256,
                        model_before=None if before is None else before.model,
                        changed=datetime.now(UTC).isoformat(timespec="seconds"),
                        changed_by=change.by[:200],
                        chosen=change.chosen,
                    )
                )
            return _newest(connection)

    def _is_there(self) -> bool:
        if not self._is_made:
            url = self._engine.url
            # To connect to a file that is not there would make it.
            lacks_file = url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()
            self._is_made = not lacks_file and sql.inspect(self._engine).has_table(_CHOICE.name)
        return self._is_made


def _newest(connection: sql.Connection) -> dict[Role, Choice]:
    newest = sql.select(sql.func.max(_CHOICE.c.number)).group_by(_CHOICE.c.role)
    rows = connection.execute(sql.select(_CHOICE).where(_CHOICE.c.number.in_(newest)))
    return {choice.role: choice for choice in map(_choice, rows)}


def _choice(row: sql.Row[Any]) -> Choice:
    return Choice(
        number=row.number,
        role=row.role,
        model=row.model,
        manifest_sha256=row.manifest_sha256,
        before=row.model_before,
        changed=datetime.fromisoformat(row.changed),
        by=row.changed_by,
        chosen=row.chosen,
    )
