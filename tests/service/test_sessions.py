"""Signing in to the page, and what the cookie allows."""

from __future__ import annotations

from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path

import pytest

from service.sessions import COOKIE, credentials
from tests.service.sample_service import ServiceClient, problem, running


@pytest.fixture(scope="module")
def client(service_folder: Path) -> Iterator[ServiceClient]:
    with running(service_folder, access="protected", reading="protected") as client:
        yield client


@pytest.fixture(scope="module")
def key(client: ServiceClient) -> str:
    return client.runtime.keys.create("desk", ["read", "submit", "admin"], "ops")[1]


@pytest.fixture(autouse=True)
def no_cookies(client: ServiceClient) -> None:
    client.cookies.clear()


def test_the_header_goes_before_the_cookie_which_allows_no_change() -> None:
    cookies = {COOKIE: "rainpost_x"}
    assert credentials("GET", None, cookies) == credentials("HEAD", None, cookies) == "Bearer rainpost_x"
    assert credentials("GET", "Bearer y", cookies) == "Bearer y"
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert credentials(method, None, cookies) is None
    assert credentials("GET", None, {}) is credentials("GET", None, {COOKIE: ""}) is None


def test_who_signs_in_reads_and_changes_nothing(client: ServiceClient, key: str) -> None:
    problem(client.get("/cycles"), 401, "unauthenticated")
    answer = client.post("/session", json={"key": key})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["cache-control"] == "no-store"
    for path in ("/cycles", "/collections", "/metrics"):
        assert client.get(path).status_code == 200, path
    with client.stream("GET", "/events") as events:
        assert events.status_code == 200
    problem(client.post("/ingest", params={"reference_time": "2026112200"}), 401, "unauthenticated")
    problem(client.delete("/models/active"), 401, "unauthenticated")


def test_the_cookie_is_for_no_script_and_no_other_site(client: ServiceClient, key: str) -> None:
    cookie = SimpleCookie(client.post("/session", json={"key": key}).headers["set-cookie"])[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    assert (cookie["domain"], cookie["max-age"], cookie["expires"]) == ("", "", "")
    assert not cookie["secure"], "plain HTTP, on this machine"
    client.cookies.clear()
    answer = client.post("/session", json={"key": key}, headers={"X-Forwarded-Proto": "https"})
    assert SimpleCookie(answer.headers["set-cookie"])[COOKIE]["secure"]


def test_signing_out_takes_the_cookie_and_what_was_kept(client: ServiceClient, key: str) -> None:
    client.post("/session", json={"key": key})
    answer = client.delete("/session")
    assert answer.status_code == 204
    assert answer.headers["clear-site-data"] == '"cache"'
    problem(client.get("/cycles"), 401, "unauthenticated")


@pytest.mark.parametrize("text", ["rainpost_wrong", "rainpost_" + "0" * 55])
def test_a_wrong_key_sets_no_cookie(client: ServiceClient, text: str) -> None:
    answer = client.post("/session", json={"key": text})
    problem(answer, 401, "unauthenticated")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("text", ["", "a b", "a\r\nSet-Cookie: x=y", "a;b", "ä", "x" * 3001])
def test_what_no_key_looks_like_goes_into_no_header(client: ServiceClient, text: str) -> None:
    answer = client.post("/session", json={"key": text})
    problem(answer, 400, "bad-request")
    assert "set-cookie" not in answer.headers


def test_another_site_signs_nobody_in(client: ServiceClient, key: str) -> None:
    answer = client.post("/session", json={"key": key}, headers={"Sec-Fetch-Site": "cross-site"})
    problem(answer, 403, "cross-site")


def test_a_revoked_key_ends_its_sessions(client: ServiceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    text = client.runtime.keys.create("leaver", ["read"], "ops")[1]
    client.post("/session", json={"key": text})
    assert client.get("/cycles").status_code == 200
    client.runtime.keys.revoke("leaver")
    monkeypatch.setattr("service.access._KNOWN_SECONDS", 0.0)
    problem(client.get("/cycles"), 401, "unauthenticated")


def test_guessing_by_this_way_is_stopped_too(client: ServiceClient, key: str) -> None:
    headers = {"X-Forwarded-For": "192.0.2.77"}

    def sign_in(text: str) -> int:
        return client.post("/session", json={"key": text}, headers=headers).status_code

    statuses = [sign_in(f"rainpost_{number}") for number in range(32)]
    assert statuses[:30] == [401] * 30
    assert statuses[-1] == sign_in(key) == 429
    assert client.post("/session", json={"key": key}).status_code == 204, "another client may"
