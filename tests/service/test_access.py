"""Who may do what, without HTTP: keys, what is known of them, and limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from service import access as access_module
from service.access import Access, Principal, check_exposure
from service.api_keys import ApiKey, ApiKeys
from service.errors import (
    MissingScope,
    RainpostError,
    SettingsError,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from service.scopes import Scope
from service.settings import Settings

HOST = "192.0.2.7"


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[ApiKeys]:
    with closing(ApiKeys(f"sqlite:///{tmp_path}/keys.sqlite")) as keys:
        keys.open()
        yield keys


def access(keys: ApiKeys, **settings: Any) -> Access:
    return Access(Settings.model_validate({"access": "protected"} | settings), keys)


def ask(one: Access, key: str | None, needed: Scope | None, host: str = HOST) -> Principal:
    header = None if key is None else f"Bearer {key}"
    return asyncio.run(one.authorise(header, host, needed))


def refusal(one: Access, key: str | None, needed: Scope | None, host: str = HOST) -> RainpostError:
    with pytest.raises(RainpostError) as caught:
        ask(one, key, needed, host)
    return caught.value


def test_an_open_service_asks_nobody(keys: ApiKeys) -> None:
    principal = ask(access(keys, access=None), "rainpost_nonsense", "admin")
    assert principal.scopes == {"read", "submit", "observe", "admin"}


def test_reading_is_public_unless_it_is_protected(keys: ApiKeys) -> None:
    assert ask(access(keys), None, "read").scopes == frozenset()
    closed = access(keys, reading="protected")
    assert isinstance(refusal(closed, None, "read"), Unauthenticated)
    assert ask(closed, None, None).scopes == frozenset()
    _, text = keys.create("feed", ["observe"], "ops")
    assert ask(closed, text, "read").name.startswith("feed (")


def test_a_key_allows_its_scopes_and_no_more(keys: ApiKeys) -> None:
    one = access(keys)
    _, text = keys.create("feed", ["observe"], "ops")
    assert ask(one, text, "observe").scopes == {"observe"}
    error = refusal(one, text, "submit")
    assert isinstance(error, MissingScope)
    assert error.challenge == 'Bearer realm="rainpost", error="insufficient_scope", scope="submit"'
    missing = refusal(one, None, "submit")
    assert missing.challenge == 'Bearer realm="rainpost"', "RFC 6750: no error where nothing was sent"


@pytest.mark.parametrize(
    "header", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer  ", "", "Bearer a b", "rainpost_x"]
)
def test_what_is_no_key_is_refused(keys: ApiKeys, header: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        asyncio.run(access(keys).authorise(header, HOST, "submit"))
    assert caught.value.challenge is not None
    assert "invalid_token" in caught.value.challenge


def test_a_wrong_secret_of_a_known_key_is_refused(keys: ApiKeys) -> None:
    one = access(keys)
    _, text = keys.create("feed", ["submit"], "ops")
    assert ask(one, text, "submit")
    assert isinstance(refusal(one, text[:-1] + ("A" if text[-1] != "A" else "B"), "submit"), Unauthenticated)
    unknown = "rainpost_" + "0" * 12 + text[21:]
    assert refusal(one, unknown, "submit").what == "the key is not known"


def test_a_revoked_or_expired_key_is_refused_by_all_after_two_seconds(
    keys: ApiKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = access(keys), access(keys)
    _, text = keys.create("feed", ["submit"], "ops")
    for one in (first, second):
        ask(one, text, "submit")
    keys.revoke("feed")
    monkeypatch.setattr(access_module, "_KNOWN_SECONDS", 0.0)
    for one in (first, second):
        assert refusal(one, text, "submit").what == "the key was revoked"
    _, short = keys.create("short", ["submit"], "ops", timedelta(seconds=-1))
    assert refusal(first, short, "submit").what == "the key has expired"


def test_a_key_that_expires_is_not_held_by_what_is_known_of_it(
    keys: ApiKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = access(keys)
    _, text = keys.create("feed", ["submit"], "ops", timedelta(hours=1))
    ask(one, text, "submit")
    monkeypatch.setattr(ApiKey, "holds", lambda self, _: False)
    assert refusal(one, text, "submit").what == "the key has expired"


def test_known_keys_outlive_an_outage_of_the_database(keys: ApiKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    one = access(keys)
    _, text = keys.create("feed", ["submit"], "ops")
    _, other = keys.create("other", ["submit"], "ops")
    ask(one, text, "submit")

    def fail(_: str) -> None:
        raise OperationalError("select", None, Exception("gone"))

    monkeypatch.setattr(access_module, "_KNOWN_SECONDS", 0.0)
    monkeypatch.setattr(keys, "find", fail)
    assert ask(one, text, "submit").scopes == {"submit"}
    assert isinstance(refusal(one, other, "submit"), Unavailable)
    monkeypatch.setattr(access_module, "_OUTAGE_SECONDS", 0.0)
    assert isinstance(refusal(one, text, "submit"), Unavailable)


def test_who_guesses_is_stopped_before_the_database_is_asked(
    keys: ApiKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = access(keys)
    _, text = keys.create("feed", ["submit"], "ops")
    looked: list[str] = []
    find = keys.find

    def look(key_id: str) -> ApiKey | None:
        looked.append(key_id)
        return find(key_id)

    monkeypatch.setattr(keys, "find", look)
    wrong = "rainpost_" + "0" * 12 + "_" + "A" * 43
    kinds = [type(refusal(one, wrong, "submit")) for _ in range(40)]
    assert kinds == [Unauthenticated] * 30 + [TooManyRequests] * 10
    assert len(looked) == 30
    assert isinstance(refusal(one, text, "submit"), TooManyRequests), "from that address nobody gets in"
    assert ask(one, text, "submit", "192.0.2.8").scopes == {"submit"}


def test_requests_are_counted_by_key_and_without_one_by_address(keys: ApiKeys) -> None:
    one = access(keys, requests_per_minute=3)
    _, text = keys.create("feed", ["submit"], "ops")
    for _ in range(3):
        ask(one, None, "read")
        ask(one, text, "submit")
    by_address, by_key = refusal(one, None, "read"), refusal(one, text, "submit", "192.0.2.99")
    assert isinstance(by_address, TooManyRequests)
    assert isinstance(by_key, TooManyRequests)
    assert by_address.retry_after_seconds == 20
    assert ask(one, None, "read", "192.0.2.8").scopes == frozenset()
    free = access(keys, requests_per_minute=0)
    assert all(ask(free, None, "read") for _ in range(2000))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_an_open_service_stays_on_its_machine(host: str) -> None:
    check_exposure(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "rain.example.org", ""])  # noqa: S104 - not listened on
def test_on_another_address_it_has_to_be_told_who_may(host: str) -> None:
    with pytest.raises(SettingsError, match="RAINPOST_ACCESS=protected") as caught:
        check_exposure(Settings(host=host))
    assert "proxy" in caught.value.expected
    for access_setting in ("open", "protected"):
        check_exposure(Settings.model_validate({"host": host, "access": access_setting}))
