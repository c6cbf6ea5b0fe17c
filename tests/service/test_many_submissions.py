"""Very many submissions: a job is known by its content, so each other content is another key."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import Gate, ServiceClient, problem, running, submit_held
from tests.torture.memory import peak_bytes

SUBMISSIONS = 500
QUEUED = 16
MEBIBYTE = 1024**2


@pytest.fixture(scope="module")
def client(service_folder: Path) -> Iterator[ServiceClient]:
    with running(service_folder, max_queued_jobs=QUEUED) as client:
        yield client


def size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_any_number_of_keys_fills_the_queue_and_nothing_else(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(client, monkeypatch)
    held = submit_held(client, write_cycle(tmp_path))
    first = [client.post("/correct", content=b"GRIB 0" + b"x" * 10_000) for _ in range(5)]
    assert {answer.headers["location"] for answer in first} == {first[0].headers["location"]}
    for number in range(1, QUEUED):
        assert client.post("/correct", content=f"GRIB {number}".encode()).status_code == 202

    work = client.runtime.settings.data_folder
    disk, memory = size_bytes(work), peak_bytes_of_this_process()
    statuses: Counter[int] = Counter()
    for number in range(SUBMISSIONS):
        # Every other one repeats what waits already.
        content = b"GRIB 0" + b"x" * 10_000 if number % 2 else f"GRIB {number}".encode() + b"x" * 10_000
        answer = client.post("/correct", content=content)
        statuses[answer.status_code] += 1
    assert statuses == {429: SUBMISSIONS}
    problem(answer, 429, "queue-full")
    assert int(answer.headers["retry-after"]) > 0
    assert size_bytes(work) - disk < MEBIBYTE
    assert peak_bytes_of_this_process() - memory < 32 * MEBIBYTE
    assert list((work / "work" / "uploads").iterdir()) == []
    documented = client.get("/openapi.json").json()["paths"]["/correct"]["post"]["responses"]["429"]
    assert "Retry-After" in documented["headers"]

    gate.open()
    for location in (held, first[0].headers["location"]):
        assert client.get(location).status_code == 200


def peak_bytes_of_this_process() -> int:
    """The service runs in it."""
    return peak_bytes(os.getpid())
