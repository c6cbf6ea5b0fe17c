"""Backups of a service that goes on working, and what comes back from them.

::

    TARGET/backup.json               what the backup holds, written last: without it there is no backup
           database-<time>/          jobs.sqlite and ledger.sqlite, or database.dump of PostgreSQL
           data/                     the data folder, without what is made anew
           models/                   the installed models

The order makes it sound: first the databases, then the files, which are then at least as new. What the
databases know of is there; what they do not know of yet is found done, or done again. A backup into the same
folder copies what is new.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal

import sqlalchemy as sql
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from service.artefact import digest_file, find_models
from service.databases import with_driver
from service.durability import exclusive, write_durably
from service.errors import SettingsError
from service.identity import IDENTITY
from service.mirror import mirror, replace_folder
from service.observation_store import ObservationStore
from service.settings import Settings
from service.store import Store
from service.versions import rainpost_version

_MANIFEST: Final = "backup.json"
_DATABASE: Final = "database"
_DUMP: Final = "database.dump"
_DATA: Final = "data"
_MODELS: Final = "models"
_AT_WORK: Final = (Path("work/jobs"), Path("work/shadows"))
"""Where every job has a folder until it is done."""
_RENEWALS: Final = Path("work/renewals")
_REMOVED: Final = ".removed"
_MADE_ANEW: Final = frozenset(
    map(Path, ("processes", "weights", "work/early", "work/inbox", "work/locks", "work/uploads"))
)
_DATABASES: Final = (".sqlite", ".sqlite-wal", ".sqlite-shm", ".sqlite-journal")


class Backup(BaseModel):
    """The manifest. database: its folder; kind: what lies in it. products, observations: revisions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backup_version: Literal[1] = 1
    created: datetime
    rainpost: str
    kind: Literal["sqlite", "postgresql"]
    database: str
    products: int
    observations: int
    models: tuple[str, ...]


def back_up(settings: Settings, target: Path, dump: Path | None = None) -> Backup:
    """Write a backup, or bring the one that is there up to date.

    dump: a dump of the PostgreSQL database that was made before, by pg_dump; without it one is made here.
    Raises ``SettingsError`` where that is not possible, or where there is nothing to back up.
    """
    source = settings.data_folder
    _refuse_inside(source, target)
    if not (source / "products").is_dir():
        raise SettingsError(
            "no service has run with this data folder", where="RAINPOST_DATA_FOLDER", got=str(source)
        )
    target.mkdir(parents=True, exist_ok=True)
    with exclusive(target / ".lock"):
        data = target / _DATA
        # Notes of jobs on their way from one entry of the database to the next, which has neither meanwhile.
        replace_folder(source / _RENEWALS, data / _RENEWALS)
        database = target / f"{_DATABASE}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
        database.mkdir()
        _copy_databases(settings, database, dump)
        _copy_files(settings, target)
        backup = Backup(
            created=datetime.now(UTC),
            rainpost=rainpost_version(),
            kind="postgresql" if settings.shares_work else "sqlite",
            database=database.name,
            models=tuple(path.name for path in find_models(target / _MODELS)),
            **_counts(data),
        )
        text = backup.model_dump_json(indent=1)
        write_durably(target / _MANIFEST, lambda path: path.write_text(text))
        for old in target.glob(f"{_DATABASE}-*"):
            if old.name != backup.database:
                shutil.rmtree(old)
    return backup


def restore(settings: Settings, source: Path, *, with_database: bool = True) -> Backup:
    """Put a backup into an empty data folder, with its databases, and models that are not installed.

    with_database: False where the PostgreSQL database was restored by other means.
    Raises ``SettingsError`` where there is something already, where the backup is none or of another kind of
    database, and where a file did not come back as it was published.
    """
    backup = _read_manifest(source)
    _refuse_other_kind(settings, backup)
    _refuse_used(settings)
    if with_database:
        _refuse_used_database(settings)
    mirror(source / _DATA, settings.data_folder)
    for name in backup.models:
        if not (settings.models_folder / name).exists():
            replace_folder(source / _MODELS / name, settings.models_folder / name)
    broken = list(_broken(settings.data_folder))
    if broken:
        raise SettingsError(
            "files of the backup are not what was published",
            where=", ".join(broken[:10]),
            got=f"{len(broken)} files with another digest than their record",
            advice="restore another backup, into an empty data folder",
        )
    if with_database:
        _restore_databases(settings, source / backup.database)
    return backup


def _copy_files(settings: Settings, target: Path) -> None:
    source, data = settings.data_folder, target / _DATA
    for place in _AT_WORK:
        found = [
            path.name for path in (source / place).glob("*") if path.is_dir() and path.suffix != _REMOVED
        ]
        for name in {*found, *(path.name for path in (data / place).glob("*"))}:
            replace_folder(source / place / name, data / place / name)
    mirror(
        source,
        data,
        leave_out=lambda path: path in {*_MADE_ANEW, *_AT_WORK, _RENEWALS} or path.name.endswith(_DATABASES),
    )
    for folder in find_models(settings.models_folder):
        mirror(folder, target / _MODELS / folder.name)


def _databases(settings: Settings) -> dict[str, Path]:
    """Files of SQLite by their names in a backup."""
    urls = {"jobs": settings.job_database_url, "ledger": settings.ledger_database_url}
    return {f"{name}.sqlite": Path(str(sql.make_url(url).database)) for name, url in urls.items()}


def _copy_databases(settings: Settings, target: Path, dump: Path | None) -> None:
    if settings.shares_work:
        if dump is not None:
            shutil.copyfile(dump, target / _DUMP)
        else:
            _run("pg_dump", settings, "--format=custom", "--no-owner", f"--file={target / _DUMP}")
        return
    if dump is not None:
        raise SettingsError("a dump is for PostgreSQL", where="--dump", got="a service on SQLite")
    for name, path in _databases(settings).items():
        if path.exists():
            with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(target / name)) as copy:
                live.backup(copy)


def _restore_databases(settings: Settings, source: Path) -> None:
    if settings.shares_work:
        _run("pg_restore", settings, "--no-owner", "--single-transaction", "--exit-on-error", source / _DUMP)
        return
    for name, path in _databases(settings).items():
        if (source / name).exists():
            write_durably(path, partial(shutil.copyfile, source / name))


def _run(program: str, settings: Settings, *arguments: str | Path) -> None:
    """One of PostgreSQL's programs on the database of the service. Raises ``SettingsError``."""
    url = sql.make_url(settings.job_database_url)
    place = url.set(password=None).render_as_string()
    # Others on this machine see the arguments of a process.
    environment = os.environ | ({"PGPASSWORD": str(url.password)} if url.password else {})
    try:
        done = subprocess.run(  # noqa: S603 - no part of it comes from outside
            [program, f"--dbname={place}", *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise SettingsError(
            f"{program} is not installed",
            where="PATH",
            advice="install PostgreSQL's client programs, of the version of the server or newer, or see "
            "OPERATIONS.md for a backup with a dump that was made elsewhere",
        ) from error
    if done.returncode != 0:
        raise SettingsError(
            f"{program} failed",
            where="RAINPOST_DATABASE_URL",
            got=done.stderr.strip()[-500:],
        )


def _read_manifest(source: Path) -> Backup:
    try:
        return Backup.model_validate_json((source / _MANIFEST).read_bytes())
    except (FileNotFoundError, ValidationError) as error:
        raise SettingsError(
            "not a backup, or one that did not come to its end",
            where=str(source / _MANIFEST),
            got=type(error).__name__,
        ) from error


def _refuse_inside(data_folder: Path, target: Path) -> None:
    if target.resolve().is_relative_to(data_folder.resolve()):
        raise SettingsError(
            "a backup cannot lie in the data folder", where=str(target), advice="use another disk"
        )


def _refuse_other_kind(settings: Settings, backup: Backup) -> None:
    kind = "postgresql" if settings.shares_work else "sqlite"
    if kind != backup.kind:
        raise SettingsError(
            "the backup is of a service on another kind of database",
            where="RAINPOST_DATABASE_URL",
            expected=backup.kind,
            got=kind,
        )


def _refuse_used(settings: Settings) -> None:
    folder = settings.data_folder
    if used := [path for path in (folder / "products", folder / "work", folder / IDENTITY) if path.exists()]:
        raise _not_empty("RAINPOST_DATA_FOLDER", ", ".join(map(str, used)))


def _refuse_used_database(settings: Settings) -> None:
    if not settings.shares_work:
        if used := [path for path in _databases(settings).values() if path.exists()]:
            raise _not_empty("RAINPOST_DATA_FOLDER, RAINPOST_DATABASE_URL", ", ".join(map(str, used)))
        return
    engine = sql.create_engine(with_driver(settings.job_database_url))
    try:
        inspector = sql.inspect(engine)
        if tables := [*inspector.get_table_names(), *inspector.get_table_names("dbos")]:
            raise _not_empty("RAINPOST_DATABASE_URL", f"{len(tables)} tables")
    except SQLAlchemyError as error:
        raise SettingsError(
            "the database does not answer", where="RAINPOST_DATABASE_URL", got=type(error).__name__
        ) from error
    finally:
        engine.dispose()


def _not_empty(where: str, got: str) -> SettingsError:
    return SettingsError(
        "a backup is restored into an empty data folder and an empty database",
        where=where,
        got=got,
        advice="move away what is there first; nothing is overwritten",
    )


def _counts(data: Path) -> dict[str, int]:
    return {name: sum(1 for _ in (data / name).glob("*/r*.json")) for name in ("products", "observations")}


def _broken(data_folder: Path) -> Iterator[str]:
    """Files with another digest than their record."""
    for products in (Store(data_folder / name) for name in ("products", "shadow")):
        for time in products.cycles():
            for record in products.revisions(time):
                if not _is_same(path := products.product_path(record), record.sha256):
                    yield str(path)
    observations = ObservationStore(data_folder / "observations")
    for time in observations.times():
        for observed in observations.revisions(time):
            if not _is_same(path := observations.original_path(observed), observed.sha256):
                yield str(path)


def _is_same(path: Path, sha256: str) -> bool:
    return path.is_file() and digest_file(path) == sha256
