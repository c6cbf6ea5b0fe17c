"""`rainpost keys`, and the key that other commands make themselves."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from service.__main__ import main
from service.api_keys import ApiKeys, parse_key
from service.own_key import own_key
from service.scopes import SCOPES
from service.settings import Settings
from tests.service.sample_service import ServiceClient, problem, running


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for setting in Settings.describe():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.setenv("RAINPOST_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("RAINPOST_ACCESS", "protected")
    monkeypatch.setenv("COLUMNS", "200")
    return Settings.load()


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main(["keys", *arguments]) == status
    said = capsys.readouterr()
    return said.err if status else said.out


def test_create_list_rotate_revoke(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert "scopes" in run(capsys)
    key = run(
        capsys, "create", "model room", "--scope", "submit", "--scope", "observe", "--days", "90"
    ).strip()
    assert parse_key(key)
    listed = run(capsys)
    assert key.rpartition("_")[2] not in listed
    (row,) = [line for line in listed.splitlines() if "model room" in line]
    assert ("submit observe" in row, "valid" in row) == (True, True)
    new = run(capsys, "rotate", "model room", "--overlap-hours", "0").strip()
    assert parse_key(new)
    assert new != key
    assert [line.split()[0] for line in run(capsys).splitlines() if "expired" in line] == [key[9:21]]
    assert run(capsys, "revoke", new[9:21]) == f"revoked: {new[9:21]} model room\n"
    assert "revoked" in run(capsys)


def test_what_cannot_be_is_refused(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a name" in run(capsys, "create", "a\nb", "--scope", "read", status=2)
    assert "not an overlap" in run(capsys, "rotate", "a", "--overlap-hours", "-1", status=2)
    assert "no valid key" in run(capsys, "revoke", "nobody", status=1)
    run(capsys, "create", "one", "--scope", "read")
    assert "has this name" in run(capsys, "create", "one", "--scope", "read", status=1)
    with pytest.raises(SystemExit):
        main(["keys", "create", "two", "--scope", "everything"])


def test_listing_makes_no_database(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys)
    assert not settings.data_folder.exists()


def test_a_running_service_goes_by_the_command(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with running(tmp_path, access="protected") as client:
        key = run(capsys, "create", "feed", "--scope", "submit").strip()
        answer = ask(client, key)
        problem(answer, 409, "conflict")


def ask(client: ServiceClient, key: str) -> httpx.Response:
    return client.post(
        "/ingest", params={"reference_time": "2026112200"}, headers={"Authorization": f"Bearer {key}"}
    )


def test_commands_make_themselves_a_key_for_as_long_as_they_run(settings: Settings) -> None:
    settings.data_folder.mkdir()
    keys = ApiKeys(settings.ledger_database_url)
    with own_key(settings) as text:
        assert text is not None
        ((one, parts),) = [(key, parse_key(text)) for key in keys.all()]
        assert parts == (one.id, text[22:])
        assert one.scopes == set(SCOPES)
        assert one.expires is not None
    assert keys.all() == []
    keys.close()


def test_where_none_is_needed_none_is_made(tmp_path: Path) -> None:
    folder = {"data_folder": tmp_path / "data"}
    with own_key(Settings.model_validate(folder)) as text:
        assert text is None
    with own_key(Settings.model_validate(folder | {"access": "protected"}), only_reads=True) as text:
        assert text is None
    with own_key(Settings.model_validate(folder | {"access": "protected", "key": "rainpost_given"})) as text:
        assert text == "rainpost_given"
    assert not (tmp_path / "data").exists()
