"""API keys: made, listed, rotated and revoked; of each only a hash is stored.

One table, ``api_key``, in the database of the ledger: all processes that share it agree on it, a backup holds
it, and a command writes it while the service runs. A key is ``rainpost_<id>_<secret>``; the id names it in
lists and logs, the secret has 256 random bits, so that a single SHA-256 of it can be stored: there is nothing
to guess that a slow hash would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sql

from service.databases import WRITES, open_engine
from service.errors import Conflict, NotFound
from service.scopes import SCOPES, Scope

PREFIX: Final = "rainpost_"
KEY_PATTERN: Final = re.compile(r"rainpost_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")

_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32

_TABLES: Final = sql.MetaData()

_KEY: Final = sql.Table(
    "api_key",
    _TABLES,
    sql.Column("id", sql.String(12), primary_key=True),
    sql.Column("name", sql.String(100), nullable=False),
    sql.Column("scopes", sql.String(100), nullable=False),
    sql.Column("secret_sha256", sql.String(64), nullable=False),
    sql.Column("created", sql.String(32), nullable=False),
    sql.Column("created_by", sql.String(200), nullable=False),
    sql.Column("expires", sql.String(32)),
    sql.Column("revoked", sql.String(32)),
)


@dataclass(frozen=True)
class ApiKey:
    """A key as it is stored. Without ``expires`` it holds until it is revoked."""

    id: str
    name: str
    scopes: frozenset[Scope]
    secret_sha256: str
    created: datetime
    created_by: str
    expires: datetime | None
    revoked: datetime | None

    def holds(self, now: datetime) -> bool:
        """Whether it can be used at this moment."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def is_of(self, secret: str) -> bool:
        """Whether the secret is this key's; takes as long for a wrong one as for the right one."""
        return hmac.compare_digest(self.secret_sha256, _digest(secret))

    def state(self, now: datetime) -> str:
        """In a word."""
        if self.revoked is not None:
            return "revoked"
        return "valid" if self.holds(now) else "expired"


def parse_key(text: str) -> tuple[str, str] | None:
    """Id and secret of the text of a key, None where it is none."""
    match = KEY_PATTERN.fullmatch(text)
    return None if match is None else (match[1], match[2])


class ApiKeys:
    """The table in the database of a URL. Many threads and processes may use it at the same time."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)

    def open(self) -> None:
        """Make the table if it is not there."""
        _TABLES.create_all(self._engine)

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    def is_there(self) -> bool:
        """Whether there is a table; makes neither database nor table."""
        url = self._engine.url
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            return False
        return sql.inspect(self._engine).has_table(_KEY.name)

    def create(
        self, name: str, scopes: Iterable[Scope], by: str, lifetime: timedelta | None = None
    ) -> tuple[ApiKey, str]:
        """A new key, and its text, which nobody can find out later.

        Raises ``Conflict`` where a valid key has this name.
        """
        with self._writing() as connection:
            if _valid_named(connection, name):
                raise Conflict(
                    "a valid key has this name",
                    where=name,
                    advice="rotate that one, or choose another name",
                )
            return _insert(connection, name, frozenset(scopes), by, lifetime)

    def rotate(self, which: str, by: str, overlap: timedelta) -> tuple[ApiKey, str]:
        """A new key of the same name, scopes and lifetime; the old one goes on for ``overlap``.

        Raises ``NotFound`` where no valid key has this id or name.
        """
        with self._writing() as connection:
            found = _valid_named(connection, which)
            # One that was rotated before, and is still in its overlap, is not the one that is meant.
            newest = max(found, key=lambda key: key.created, default=None)
            if newest is None:
                raise _unknown(which)
            now = _now()
            end = now + overlap
            lifetime = None if newest.expires is None else newest.expires - newest.created
            for key in found:
                if key.expires is None or key.expires > end:
                    _change(connection, key.id, expires=_text(end))
            return _insert(connection, newest.name, newest.scopes, by, lifetime)

    def revoke(self, which: str) -> list[ApiKey]:
        """End the valid key of this id, or all of this name, at once. Raises ``NotFound``."""
        with self._writing() as connection:
            found = _valid_named(connection, which)
            if not found:
                raise _unknown(which)
            for key in found:
                _change(connection, key.id, revoked=_text(_now()))
            return found

    def forget(self, key_id: str) -> None:
        """Remove a key from the list, as if it had never been."""
        with self._writing() as connection:
            connection.execute(sql.delete(_KEY).where(_KEY.c.id == key_id))

    def find(self, key_id: str) -> ApiKey | None:
        """The key of an id, whether it is valid or not."""
        with self._engine.connect() as connection:
            row = connection.execute(sql.select(_KEY).where(_KEY.c.id == key_id)).one_or_none()
        return None if row is None else _key(row)

    def all(self) -> list[ApiKey]:
        """All keys that ever were, oldest first."""
        if not self.is_there():
            return []
        with self._engine.connect() as connection:
            rows = connection.execute(sql.select(_KEY).order_by(_KEY.c.created, _KEY.c.id))
            return [_key(row) for row in rows]

    def _writing(self) -> Any:
        return self._engine.execution_options(**{WRITES: True}).begin()


def scopes_of(text: str) -> frozenset[Scope]:
    """Scopes from a list that blanks separate; what is none is left out."""
    return frozenset(scope for scope in SCOPES if scope in text.split())


def _insert(
    connection: sql.Connection, name: str, scopes: frozenset[Scope], by: str, lifetime: timedelta | None
) -> tuple[ApiKey, str]:
    identity, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
    now = _now()
    key = ApiKey(
        id=identity,
        name=name,
        scopes=scopes,
        secret_sha256=_digest(secret),
        created=now,
        created_by=by[:200],
        expires=None if lifetime is None else now + lifetime,
        revoked=None,
    )
    connection.execute(
        sql.insert(_KEY).values(
            id=key.id,
            name=key.name,
            scopes=" ".join(scope for scope in SCOPES if scope in key.scopes),
            secret_sha256=key.secret_sha256,
            created=_text(key.created),
            created_by=key.created_by,
            expires=None if key.expires is None else _text(key.expires),
            revoked=None,
        )
    )
    return key, f"{PREFIX}{identity}_{secret}"


def _valid_named(connection: sql.Connection, which: str) -> list[ApiKey]:
    rows = connection.execute(sql.select(_KEY).where(sql.or_(_KEY.c.id == which, _KEY.c.name == which)))
    now = _now()
    return [key for key in map(_key, rows) if key.holds(now)]


def _change(connection: sql.Connection, key_id: str, **values: str) -> None:
    connection.execute(sql.update(_KEY).where(_KEY.c.id == key_id).values(**values))


def _key(row: sql.Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=scopes_of(row.scopes),
        secret_sha256=row.secret_sha256,
        created=datetime.fromisoformat(row.created),
        created_by=row.created_by,
        expires=None if row.expires is None else datetime.fromisoformat(row.expires),
        revoked=None if row.revoked is None else datetime.fromisoformat(row.revoked),
    )


def _unknown(which: str) -> NotFound:
    return NotFound("no valid key has this id or name", where=which, advice="`rainpost keys` lists them")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
