"""What a disk without room makes of writes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sql
from sqlalchemy.exc import OperationalError


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of its own, where this user may mount one."""
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("no mount")
    if subprocess.run(["mount", *options, folder], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Without a free byte on the file system of a folder."""
    ballast = folder / "ballast"
    try:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        assert shutil.disk_usage(folder).free == 0
        yield
    finally:
        ballast.unlink()


def full_database(folder: Path) -> OperationalError:
    """What SQLAlchemy raises where SQLite finds no room for one more page."""
    engine = sql.create_engine(f"sqlite:///{folder / 'full.sqlite'}")
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=1")
            connection.exec_driver_sql("CREATE TABLE numbers (number INTEGER)")
    except OperationalError as error:
        return error
    finally:
        engine.dispose()
    raise AssertionError("it had room")
