"""Settings of access, each on a service of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings
from tests.service.sample_service import ServiceClient, problem, running


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_where_reading_is_protected_nothing_can_be_read_without_a_key(tmp_path: Path) -> None:
    with running(tmp_path, access="protected", reading="protected") as client:
        _, key = client.runtime.keys.create("reader", ["read"], "ops")
        for path in ("/cycles", "/metrics", "/models", "/verification", "/version", "/events", "/jobs/x"):
            problem(client.get(path), 401, "unauthenticated")
        for path in ("/cycles", "/metrics"):
            answer = client.get(path, headers=bearer(key))
            assert answer.status_code == 200
            assert "private" in answer.headers["cache-control"], "no cache may give it to others"
        for path in ("/", "/livez", "/readyz", "/docs"):
            assert client.get(path).status_code == 200


def test_too_many_requests_are_told_when_to_come_again(tmp_path: Path) -> None:
    with running(tmp_path, access="protected", requests_per_minute=20) as client:
        statuses = [client.get("/livez").status_code for _ in range(20)]
        answer = client.get("/cycles")
        assert statuses == [200] * 20
        problem(answer, 429, "too-many-requests")
        assert 1 <= int(answer.headers["retry-after"]) <= 3


def test_a_proxy_that_is_trusted_says_who_asks(tmp_path: Path) -> None:
    def use_up(client: ServiceClient) -> list[int]:
        return [
            client.get("/cycles", headers={"X-Forwarded-For": f"192.0.2.{number}"}).status_code
            for number in range(6)
        ]

    with running(tmp_path, access="protected", requests_per_minute=3) as client:
        assert use_up(client) == [200] * 6
    with running(
        tmp_path, access="protected", requests_per_minute=3, trusted_proxies="192.0.2.250"
    ) as client:
        assert use_up(client) == [200] * 3 + [429] * 3


@pytest.mark.parametrize("value", ["proxy.example.org", "192.0.2.0/33", "10.0.0.1, nonsense"])
def test_proxies_are_addresses_or_networks(value: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"trusted_proxies": value})
    assert Settings.model_validate({"trusted_proxies": "10.0.0.0/8, ::1"}).trusted_proxies == (
        "10.0.0.0/8",
        "::1",
    )
