"""The key of the command line: whoever can write the database of the keys may do everything anyway."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from service.api_keys import ApiKeys
from service.errors import SettingsError
from service.scopes import SCOPES
from service.settings import Settings
from service.users import current_user

_LIFETIME: Final = timedelta(days=1)
"""If the command is killed before it revokes its key; a backfill is long."""


@contextmanager
def own_key(settings: Settings, *, only_reads: bool = False) -> Iterator[str | None]:
    """That of RAINPOST_KEY, or one that holds within the block; None where the service asks for none.

    Raises ``SettingsError`` where the database cannot be written.
    """
    is_asked = settings.access == "protected" and not (only_reads and settings.reading == "public")
    if not is_asked or settings.key is not None:
        yield None if settings.key is None else settings.key.get_secret_value()
        return
    keys = ApiKeys(settings.ledger_database_url)
    try:
        user = current_user()
        key, text = _created(keys, user)
        try:
            yield text
        finally:
            keys.forget(key)
    finally:
        keys.close()


def _created(keys: ApiKeys, user: str) -> tuple[str, str]:
    try:
        keys.open()
        key, text = keys.create(f"command of {user} {uuid.uuid4().hex[:8]}", SCOPES, user, _LIFETIME)
    except SQLAlchemyError as error:
        raise SettingsError(
            "the service is protected, and no key can be made in its database",
            where="RAINPOST_DATABASE_URL, RAINPOST_KEY",
            expected="the database of the service, or a key in RAINPOST_KEY",
            got=type(error).__name__,
        ) from error
    return key.id, text
