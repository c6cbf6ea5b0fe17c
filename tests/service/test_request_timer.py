"""Requests are counted by route, and no client can invent a series."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import ServiceClient, submit

NAME = "rainpost_http_request_duration_seconds"


def requests(client: ServiceClient) -> dict[tuple[str, str, str], float]:
    """Number of requests by method, route and status, without those for this."""
    return {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == f"{NAME}_count" and sample.labels["route"] != "/metrics"
    }


def test_the_route_is_the_template(client: ServiceClient) -> None:
    for job in ("one", "two"):
        client.get(f"/jobs/{job}")
    client.get("/livez")
    found = requests(client)
    assert found["GET", "/jobs/{job_id}", "404"] == 2
    assert found["GET", "/livez", "200"] == 1


def test_what_is_not_of_the_service_is_one_series(client: ServiceClient) -> None:
    for path in ("/a", "/b", "/cycles/2026112200/x"):
        client.get(path)
    for method in ("BREW", "PROPFIND"):
        client.request(method, "/livez")
    found = requests(client)
    assert found["GET", "other", "404"] == 3
    assert {method for method, _, _ in found} <= {"GET", "POST", "other"}


def test_a_fault_is_counted_as_one(client: ServiceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyError

    monkeypatch.setattr(client.runtime.store, "newest_first", fail)
    client.get("/cycles")
    assert requests(client)["GET", "/cycles", "500"] == 1


def test_submissions_are_timed_to_their_end(client: ServiceClient, tmp_path: Path) -> None:
    submit(client, write_cycle(tmp_path))
    assert requests(client)["POST", "/correct", "200"] == 1
