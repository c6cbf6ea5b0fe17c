"""What ``rainpost keys`` does: list API keys, make, rotate and revoke them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.api_keys import ApiKey, ApiKeys
from service.databases import answering
from service.errors import InputError
from service.scopes import SCOPES
from service.settings import Settings
from service.users import current_user

_NAME_LIMIT: Final = 100


def keys(_: argparse.Namespace) -> None:
    """List all keys that ever were."""
    now = datetime.now(UTC)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("id", "name", "scopes", "state", "created", "by", "expires or ended"):
        table.add_column(heading, overflow="fold")
    with _opened(Settings.load(), make=False) as store:
        for key in store.all():
            table.add_row(*(Text(text) for text in _row(key, now)))
    Console(file=sys.stdout, highlight=False, emoji=False).print(table)


def create(options: argparse.Namespace) -> None:
    """Make a key."""
    name = options.name.strip()
    if not name.isprintable() or not 0 < len(name) <= _NAME_LIMIT:
        raise InputError(
            "not a name for a key",
            where="NAME",
            expected=f"1 to {_NAME_LIMIT} characters that print",
            got=name,
        )
    lifetime = None if options.days is None else timedelta(days=options.days)
    with _opened(Settings.load()) as store:
        _show(*store.create(name, options.scope, current_user(), lifetime))


def rotate(options: argparse.Namespace) -> None:
    """Make a new key in the place of one."""
    if not 0 <= options.overlap_hours <= 24 * 366:
        raise InputError("not an overlap", where="--overlap-hours", expected="0 to a year, in hours")
    with _opened(Settings.load()) as store:
        key, text = store.rotate(options.which, current_user(), timedelta(hours=options.overlap_hours))
    _show(key, text)
    sys.stderr.write(f"the old key holds for another {options.overlap_hours:g} h\n")


def revoke(options: argparse.Namespace) -> None:
    """End a key, or all keys of a name."""
    with _opened(Settings.load()) as store:
        for key in store.revoke(options.which):
            sys.stdout.write(f"revoked: {key.id} {key.name}\n")


def _show(key: ApiKey, text: str) -> None:
    """The key alone to standard output, so that it can go straight into a file."""
    until = "until it is revoked" if key.expires is None else f"until {_time(key.expires)}"
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    sys.stderr.write(
        f"{key.id} {key.name}: {_scopes(key)}, {until}. "
        "Only a hash of it is kept: it cannot be shown again.\n"
    )


def _row(key: ApiKey, now: datetime) -> tuple[str, ...]:
    end = key.revoked or key.expires
    return (
        key.id,
        key.name,
        _scopes(key),
        key.state(now),
        _time(key.created),
        key.created_by,
        "" if end is None else _time(end),
    )


def _scopes(key: ApiKey) -> str:
    return " ".join(scope for scope in SCOPES if scope in key.scopes)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def _opened(settings: Settings, *, make: bool = True) -> Iterator[ApiKeys]:
    store = ApiKeys(settings.ledger_database_url)
    with closing(store), answering():
        if make:
            settings.data_folder.mkdir(parents=True, exist_ok=True)
            store.open()
        yield store
