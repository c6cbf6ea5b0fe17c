"""By which names the service may be called."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from service.errors import UnknownHost
from service.hosts import refuse_other_names
from service.settings import Settings
from tests.service.sample_service import ServiceClient, problem, running


def is_refused(header: str | None, **settings: Any) -> bool:
    try:
        refuse_other_names(header, Settings.model_validate(settings))
    except UnknownHost:
        return True
    return False


@pytest.mark.parametrize(
    "header", ["localhost", "localhost:8000", "LocalHost:1", "127.0.0.1:8000", "[::1]", "[::1]:8000"]
)
def test_names_of_this_machine_are_taken(header: str) -> None:
    assert not is_refused(header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "evil.example.org",
        "evil.example.org:8000",
        "localhost.evil.example.org",
        "127.0.0.1.evil.example.org",
        "evil.example.org@localhost",
        "localhost@evil.example.org",
        "localhost/",
        "localhost, evil.example.org",
        "[::1",
        "192.168.0.7",
    ],
)
def test_other_names_are_not(header: str | None) -> None:
    assert is_refused(header)


def test_settings_add_names_and_limit_those_of_a_protected_service() -> None:
    assert not is_refused("rain.example.org:8000", hosts="Rain.example.org, other.example.org")
    assert is_refused("third.example.org", hosts="rain.example.org, other.example.org")
    assert not is_refused("any.example.org", hosts="*")
    assert not is_refused("127.0.0.2", host="127.0.0.2")
    for access in ("protected", "open"):
        assert not is_refused("any.example.org", access=access)
        assert is_refused("any.example.org", access=access, hosts="rain.example.org")
        assert not is_refused("rain.example.org", access=access, hosts="rain.example.org")


@pytest.fixture(scope="module")
def client(service_folder: Path) -> Iterator[ServiceClient]:
    with running(service_folder) as client:
        yield client


def test_the_page_of_a_site_that_takes_the_address_of_this_machine_gets_nothing(
    client: ServiceClient,
) -> None:
    evil = {"Host": f"evil.example.org:{client.base_url.port}", "Sec-Fetch-Site": "same-origin"}
    for method, path in (
        ("GET", "/"),
        ("GET", "/cycles"),
        ("GET", "/collections"),
        ("GET", "/wms?REQUEST=GetCapabilities"),
        ("GET", "/metrics"),
        ("POST", "/correct"),
        ("PUT", "/models/active"),
    ):
        answer = client.request(method, path, headers=evil, json={} if method != "GET" else None)
        document = problem(answer, 421, "unknown-host")
        assert "RAINPOST_HOSTS" in document["advice"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "421" in client.get("/openapi.json").json()["paths"]["/cycles"]["get"]["responses"]


def test_a_request_without_a_name_is_refused(client: ServiceClient) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", client.base_url.port)) as connection:
        connection.putrequest("GET", "/cycles", skip_host=True)
        connection.endheaders()
        assert connection.getresponse().status in {400, 421}
