"""Settings: unknown names are refused, every field is described."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.databases import with_patience
from service.errors import SettingsError
from service.settings import Settings
from service.signatures import key_of
from tests.service.sample_receiver import SIGNING


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in Settings.describe():
        monkeypatch.delenv(setting.variable, raising=False)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAINPOST_PORT", "8123")
    monkeypatch.setenv("RAINPOST_DATA_FOLDER", str(tmp_path))
    settings = Settings.load()
    assert settings.port == 8123
    assert settings.job_database_url == f"sqlite:///{tmp_path}/jobs.sqlite"


def test_an_unknown_setting_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAINPOST_PROT", "8123")
    with pytest.raises(SettingsError, match=r"RAINPOST_PROT;.*did you mean RAINPOST_PORT\?"):
        Settings.load()


def test_case_does_not_hide_an_unknown_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("rainpost_prot", "8123")
    with pytest.raises(SettingsError, match="did you mean RAINPOST_PORT"):
        Settings.load()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RAINPOST_PORT", "eighty"),
        ("RAINPOST_PORT", "70000"),
        ("RAINPOST_PROVIDER", "tpu"),
        ("RAINPOST_MAX_BODY_BYTES", "0"),
        ("RAINPOST_INPUT_FOLDERS", "/no/such/folder"),
        ("RAINPOST_OBSERVATION_FOLDER", "/no/such/folder"),
        ("RAINPOST_OBSERVATION_POLL_SECONDS", "0"),
    ],
)
def test_an_invalid_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        Settings.load()


def test_input_folders_are_split_and_resolved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    monkeypatch.setenv("RAINPOST_INPUT_FOLDERS", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    assert Settings.load().input_folders == ((tmp_path / "a").resolve(),) * 2


def test_settings_do_not_change() -> None:
    settings = Settings.load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_a_database_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAINPOST_DATABASE_URL", "postgresql://rain:hidden@host/jobs")
    settings = Settings.load()
    assert "hidden" not in repr(settings)
    assert settings.job_database_url == with_patience("postgresql://rain:hidden@host/jobs")


@pytest.mark.parametrize(
    "url",
    ["hidden", "mysql://rain:hidden@host/jobs", "postgresql://rain:hidden@host:port/jobs", "sqlite:hidden"],
)
def test_what_is_no_address_of_a_database_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("RAINPOST_DATABASE_URL", url)
    with pytest.raises(SettingsError, match="RAINPOST_DATABASE_URL") as caught:
        Settings.load()
    assert "hidden" not in str(caught.value)


def test_receivers_are_split_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "RAINPOST_WEBHOOK_URLS", " https://one/hidden  http://two:8080/hidden https://one/hidden "
    )
    monkeypatch.setenv("RAINPOST_WEBHOOK_SECRET", f"{SIGNING} {SIGNING}")
    settings = Settings.load()
    found = [url.get_secret_value() for url in settings.webhook_urls]
    assert found == ["https://one/hidden", "http://two:8080/hidden"]
    assert settings.webhook_keys == (key_of(SIGNING),) * 2
    assert "hidden" not in repr(settings)
    assert SIGNING.removeprefix("whsec_") not in repr(settings)


@pytest.mark.parametrize(
    ("urls", "secret", "variable"),
    [
        ("https://one/hidden", None, "RAINPOST_WEBHOOK_SECRET"),
        ("https://one/hidden", "", "RAINPOST_WEBHOOK_SECRET"),
        ("https://one/hidden", "hidden", "RAINPOST_WEBHOOK_SECRET"),
        ("https://one/hidden", f"{SIGNING} hidden", "RAINPOST_WEBHOOK_SECRET"),
        ("one/hidden", SIGNING, "RAINPOST_WEBHOOK_URLS"),
        ("ftp://one/hidden", SIGNING, "RAINPOST_WEBHOOK_URLS"),
        ("https:///hidden", SIGNING, "RAINPOST_WEBHOOK_URLS"),
        ("https://user:hidden@one/", SIGNING, "RAINPOST_WEBHOOK_URLS"),
    ],
)
def test_receivers_that_cannot_be_are_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, urls: str, secret: str | None, variable: str
) -> None:
    monkeypatch.setenv("RAINPOST_WEBHOOK_URLS", urls)
    if secret is not None:
        monkeypatch.setenv("RAINPOST_WEBHOOK_SECRET", secret)
    with pytest.raises(SettingsError, match=variable) as caught:
        Settings.load()
    assert "hidden" not in str(caught.value)


def test_the_ledger_is_in_the_database_of_the_jobs_where_that_is_postgresql(tmp_path: Path) -> None:
    url = "postgresql://rainpost@db/rainpost"
    shared = Settings.model_validate({"database_url": url})
    assert shared.ledger_database_url == shared.job_database_url
    assert shared.ledger_database_url.startswith(url)
    folder = {"data_folder": tmp_path}
    beside = f"sqlite:///{tmp_path}/ledger.sqlite"
    assert Settings.model_validate(folder).ledger_database_url == beside
    other = folder | {"database_url": "sqlite:////var/jobs.sqlite"}
    assert Settings.model_validate(other).ledger_database_url == beside


def test_every_setting_is_described() -> None:
    descriptions = Settings.describe()
    assert [one.variable for one in descriptions] == [
        f"RAINPOST_{name.upper()}" for name in Settings.model_fields
    ]
    assert all(one.meaning.endswith(".") for one in descriptions)
