"""Keys in a database: only hashes are there, and all that share it agree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sql

from service.api_keys import KEY_PATTERN, ApiKey, ApiKeys, parse_key
from service.databases import open_engine
from service.errors import Conflict, NotFound

HOUR = timedelta(hours=1)


@pytest.fixture
def keys(url: str) -> Iterator[ApiKeys]:
    with closing(ApiKeys(url)) as keys:
        keys.open()
        yield keys


def found(keys: ApiKeys, text: str) -> ApiKey:
    """The key of a text, as another process finds it."""
    parts = parse_key(text)
    assert parts is not None
    key = keys.find(parts[0])
    assert key is not None
    assert key.is_of(parts[1])
    return key


def test_a_key_is_found_by_all_and_only_its_hash_is_stored(keys: ApiKeys, url: str) -> None:
    made, text = keys.create("model room", ["submit", "read"], "ops@room")
    assert KEY_PATTERN.fullmatch(text)
    with closing(ApiKeys(url)) as other:
        assert found(other, text) == made
    assert made.scopes == {"read", "submit"}
    assert not made.is_of("x" * 43)
    assert made.holds(datetime.now(UTC))
    engine = open_engine(url)
    with engine.connect() as connection:
        stored = str(connection.execute(sql.text("SELECT * FROM api_key")).all())
    engine.dispose()
    assert "model room" in stored
    assert text.rpartition("_")[2] not in stored
    assert text[22:] not in stored


def test_no_two_keys_are_alike(keys: ApiKeys) -> None:
    texts = {keys.create(f"key {number}", ["read"], "ops")[1] for number in range(20)}
    assert len({text[:21] for text in texts}) == len({text[22:] for text in texts}) == 20


def test_rotation_lets_the_old_key_go_on_for_a_while(keys: ApiKeys) -> None:
    _, old = keys.create("feed", ["observe"], "ops", lifetime=240 * HOUR)
    made, new = keys.rotate("feed", "other", HOUR)
    now = datetime.now(UTC)
    before = found(keys, old)
    assert before.holds(now)
    assert not before.holds(now + HOUR)
    assert (made.name, made.scopes, made.created_by) == ("feed", frozenset(["observe"]), "other")
    assert found(keys, new).holds(now + 239 * HOUR)
    assert not found(keys, new).holds(now + 241 * HOUR)
    # Again, within the overlap: the end of the oldest one is not put off.
    keys.rotate("feed", "ops", 5 * HOUR)
    assert found(keys, old).expires == before.expires
    keys.rotate(found(keys, new).id, "ops", 0 * HOUR)
    assert not found(keys, new).holds(datetime.now(UTC))


def test_revocation_ends_all_keys_of_a_name(keys: ApiKeys) -> None:
    _, old = keys.create("feed", ["observe"], "ops")
    _, new = keys.rotate("feed", "ops", HOUR)
    _, other = keys.create("other", ["observe"], "ops")
    assert len(keys.revoke("feed")) == 2
    states = {text: found(keys, text).state(datetime.now(UTC)) for text in (old, new, other)}
    assert states == {old: "revoked", new: "revoked", other: "valid"}
    for action in (lambda: keys.revoke("feed"), lambda: keys.rotate("feed", "ops", HOUR)):
        with pytest.raises(NotFound, match="feed"):
            action()
    # The name is free again, and the list keeps what was.
    keys.create("feed", ["observe"], "ops")
    assert [key.name for key in keys.all()] == ["feed", "feed", "other", "feed"]


def test_a_name_is_used_once(keys: ApiKeys) -> None:
    keys.create("feed", ["read"], "ops", lifetime=-HOUR)
    keys.create("feed", ["read"], "ops")
    with pytest.raises(Conflict, match="feed"):
        keys.create("feed", ["submit"], "ops")


def test_a_forgotten_key_was_never_there(keys: ApiKeys) -> None:
    key, _ = keys.create("feed", ["read"], "ops")
    keys.forget(key.id)
    assert keys.all() == []
    assert keys.find(key.id) is None


@pytest.mark.parametrize(
    "text", ["", "rainpost_", "rainpost_0123456789ab_short", "rainpost_" + "z" * 56, "a.b.c"]
)
def test_other_texts_are_no_keys(text: str) -> None:
    assert parse_key(text) is None


def test_without_a_database_there_are_no_keys(tmp_path: object) -> None:
    with closing(ApiKeys(f"sqlite:///{tmp_path}/none.sqlite")) as keys:
        assert keys.all() == []
        assert not keys.is_there()
