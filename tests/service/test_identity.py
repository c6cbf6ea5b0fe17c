"""A database and the data folder that it belongs to, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sql

from service import identity as identity_module
from service.databases import with_driver
from service.errors import SettingsError
from service.identity import IDENTITY, bind
from service.runtime import Runtime
from service.settings import Settings
from tests.service.sample_postgresql import new_database
from tests.service.sample_service import running


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in ("first", "second", "third", "fourth")]
    for folder in found:
        folder.mkdir()
    return found


def identities(url: str) -> list[str]:
    """What the database holds."""
    engine = sql.create_engine(with_driver(url))
    with engine.connect() as connection:
        found = list(connection.execute(sql.text("SELECT identity FROM rainpost_data_folder")).scalars())
    engine.dispose()
    return found


def test_a_folder_and_a_database_know_each_other_from_the_first_start(url: str, folders: list[Path]) -> None:
    for _ in range(2):
        bind(folders[0], url)
    assert identities(url) == [(folders[0] / IDENTITY).read_text().strip()]


def test_another_folder_is_refused_and_told_what_to_do(url: str, folders: list[Path]) -> None:
    bind(folders[0], url)
    with pytest.raises(SettingsError, match="belongs to another data folder") as without:
        bind(folders[1], url)
    assert without.value.got == "no such file"
    assert not list(folders[1].iterdir()), "nothing is left in the folder that was refused"
    (known,) = identities(url)
    assert known in without.value.expected
    (folders[1] / IDENTITY).write_text("another")
    with pytest.raises(SettingsError, match="share the data folder") as mismatch:
        bind(folders[1], url)
    assert mismatch.value.got == "another"
    (folders[1] / IDENTITY).write_text(known)
    bind(folders[1], url)


def test_a_new_database_takes_the_folder_as_it_is(url: str, folders: list[Path]) -> None:
    """As after a change to PostgreSQL, or a kill before the database knew."""
    (folders[0] / IDENTITY).write_text("old\n")
    bind(folders[0], url)
    assert identities(url) == ["old"]
    assert (folders[0] / IDENTITY).read_text() == "old\n"


def test_of_folders_that_start_at_once_one_is_taken(url: str, folders: list[Path]) -> None:
    def attempt(folder: Path) -> bool:
        try:
            bind(folder, url)
        except SettingsError:
            return False
        return True

    with ThreadPoolExecutor(len(folders)) as pool:
        taken = list(pool.map(attempt, folders))
    assert sum(taken) == 1
    assert identities(url) == [(folders[taken.index(True)] / IDENTITY).read_text().strip()]


def test_a_kill_between_folder_and_database_harms_nothing(
    url: str, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = identity_module._make

    def make_and_fail(folder: Path) -> str:
        make(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(identity_module, "_make", make_and_fail)
    with pytest.raises(KeyboardInterrupt):
        bind(folders[0], url)
    monkeypatch.undo()
    bind(folders[0], url)
    assert identities(url) == [(folders[0] / IDENTITY).read_text().strip()]


def test_a_service_on_the_database_of_another_folder_does_not_start(server: str, tmp_path: Path) -> None:
    url = new_database(server)
    with running(tmp_path, database_url=url) as client:
        assert client.get("/readyz").is_success
        other = {"models_folder": tmp_path / "models", "data_folder": tmp_path / "other", "database_url": url}
        runtime = Runtime(Settings.model_validate(other | {"threads": 1}))
        with pytest.raises(SettingsError, match="belongs to another data folder"):
            runtime.start()
        runtime.stop()
        assert client.get("/readyz").is_success
