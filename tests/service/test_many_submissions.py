"""Very many submissions: a job is known by its content, so each other content is another key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import Gate, ServiceClient, problem, reach, running, submit_held
from tests.torture.submissions import QUEUED, flood

SUBMISSIONS = 500
"""``python -m tests.torture.requests`` makes 2,000."""


@pytest.fixture(scope="module")
def client(service_folder: Path) -> Iterator[ServiceClient]:
    with running(service_folder, max_queued_jobs=QUEUED) as client:
        yield client


def test_any_number_of_keys_fills_the_queue_and_nothing_else(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(client, monkeypatch)
    held = submit_held(client, write_cycle(tmp_path))
    first = [client.post("/correct", content=b"GRIB, repeated") for _ in range(5)]
    assert {answer.headers["location"] for answer in first} == {first[0].headers["location"]}
    assert client.delete(first[0].headers["location"]).is_success

    # The service runs in this process.
    found = flood(client, client.runtime.settings.data_folder, os.getpid(), SUBMISSIONS)
    assert found.broken == []
    assert len(set(found.waiting)) == QUEUED
    assert found.last is not None
    problem(found.last, 429, "queue-full")
    documented = client.get("/openapi.json").json()["paths"]["/correct"]["post"]["responses"]["429"]
    assert "Retry-After" in documented["headers"]

    gate.open()
    reach(lambda: client.get(held).json()["state"] == "succeeded")
    reach(lambda: {client.get(location).json()["state"] for location in found.waiting} == {"failed"})
