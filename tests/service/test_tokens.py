"""Tokens that a provider signed, and all that is not one."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from service.errors import Unauthenticated, Unavailable
from service.settings import Settings
from service.tokens import OidcTokens, scopes_in
from tests.service.sample_provider import AUDIENCE, Provider, provider
from tests.service.sample_service import problem, running


@pytest.fixture(scope="module")
def issuer() -> Iterator[Provider]:
    with provider() as one:
        yield one


class Clock:
    """Stands still until it is moved."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def tokens(issuer: Provider, clock: Callable[[], float] = time.monotonic) -> OidcTokens:
    return OidcTokens(issuer.issuer, AUDIENCE, "scope", clock)


def test_a_token_says_who_it_is_and_what_it_may(issuer: Provider) -> None:
    assert tokens(issuer).verify(issuer.token("openid rainpost:submit rainpost:observe profile")) == (
        "feeder",
        frozenset(["submit", "observe"]),
    )


def unsigned(claims: dict[str, Any]) -> str:
    parts = (json.dumps({"alg": "none", "kid": "one"}), json.dumps(claims))
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts) + "."


def with_public_key_as_secret(issuer: Provider) -> str:
    """The oldest trick: the published key, taken for a shared one."""
    document = issuer.document("/jwks")
    assert document is not None
    return issuer.token(key=json.dumps(document["keys"][0]) * 2, algorithm="HS256")


HOUR = 3600
WRONG: dict[str, Callable[[Provider], str]] = {
    "expired": lambda one: one.token(exp=int(time.time()) - HOUR),
    "without an end": lambda one: one.token(exp=None),
    "not yet": lambda one: one.token(nbf=int(time.time()) + HOUR),
    "for somebody else": lambda one: one.token(aud="other"),
    "for nobody": lambda one: one.token(aud=None),
    "of another issuer": lambda one: one.token(iss="https://other.example.org"),
    "of nobody": lambda one: one.token(sub=None),
    "of another key": lambda one: one.token(key=ec.generate_private_key(ec.SECP256R1())),
    "shared secret": with_public_key_as_secret,
    "unsigned": lambda one: unsigned(
        {"iss": one.issuer, "aud": AUDIENCE, "sub": "x", "exp": time.time() + HOUR}
    ),
    "changed": lambda one: one.token()[:-4] + "AAAA",
    "no token": lambda _: "abc",
    "long": lambda _: "a" * 100_000,
}


@pytest.mark.parametrize("kind", list(WRONG))
def test_other_tokens_are_refused_and_not_shown(issuer: Provider, kind: str) -> None:
    token = WRONG[kind](issuer)
    with pytest.raises(Unauthenticated) as caught:
        tokens(issuer).verify(token)
    assert token not in str(caught.value) or token == "abc"  # noqa: S105 - a word of the list above
    assert "invalid_token" in str(caught.value.challenge)


def test_a_new_key_of_the_provider_is_found_but_not_looked_for_all_the_time() -> None:
    with provider() as one:
        clock = Clock()
        reader = tokens(one, clock)
        reader.verify(one.token())
        one.change_key("two")
        with pytest.raises(Unauthenticated):
            reader.verify(one.token())
        clock.seconds = 11
        reader.verify(one.token())
        asked = one.asked
        one.change_key("three")
        for _ in range(20):
            with pytest.raises(Unauthenticated):
                reader.verify(one.token())
        assert one.asked == asked == 2


def test_known_keys_outlive_an_outage_of_the_provider() -> None:
    with provider() as one:
        clock = Clock()
        reader = tokens(one, clock)
        one.is_down = True
        with pytest.raises(Unavailable):
            reader.verify(one.token())
        one.is_down = False
        clock.seconds = 11
        reader.verify(one.token())
        one.is_down = True
        clock.seconds = 1000
        assert reader.verify(one.token())[0] == "feeder"


def test_who_calls_itself_otherwise_is_not_the_provider() -> None:
    with provider() as one:
        one.says_issuer = "https://other.example.org"
        with pytest.raises(Unavailable):
            tokens(one).verify(one.token())


@pytest.mark.parametrize(
    ("value", "scopes"),
    [
        ("rainpost:read", {"read"}),
        (["rainpost:admin", "other"], {"admin"}),
        ("submit admin", set()),
        (None, set()),
        ({"rainpost:admin": True}, set()),
        (7, set()),
    ],
)
def test_scopes_are_ours_only_with_our_name(value: Any, scopes: set[str]) -> None:
    assert scopes_in({"roles": value}, "roles") == scopes
    assert scopes_in({}, "roles") == set()


def test_a_service_takes_tokens_beside_keys(issuer: Provider, tmp_path: Path) -> None:
    settings = {"access": "protected", "oidc_issuer": issuer.issuer, "oidc_audience": AUDIENCE}
    with running(tmp_path, **settings) as client:
        _, key = client.runtime.keys.create("feed", ["submit"], "ops")

        def ask(token: str) -> Any:
            headers = {"Authorization": f"Bearer {token}"}
            return client.post("/ingest", params={"reference_time": "2026112200"}, headers=headers)

        problem(ask(key), 409, "conflict")
        problem(ask(issuer.token()), 409, "conflict")
        problem(ask(issuer.token("rainpost:admin")), 403, "missing-scope")
        problem(ask(issuer.token(aud="other")), 401, "unauthenticated")
        schemes = client.get("/openapi.json").json()["components"]["securitySchemes"]
        assert schemes["token"]["openIdConnectUrl"].startswith(issuer.issuer)


@pytest.mark.parametrize(
    "settings",
    [
        {"oidc_issuer": "https://login.example.org"},
        {"oidc_issuer": "http://login.example.org", "oidc_audience": "a"},
        {"oidc_issuer": "file:///etc", "oidc_audience": "a"},
        {"oidc_issuer": "http://localhost.example.org", "oidc_audience": "a"},
    ],
)
def test_a_provider_is_reached_safely_and_asked_for_somebody(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(settings)
