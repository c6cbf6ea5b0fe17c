"""Decoding, inference and the event loop: what waits for what. By events, never by the clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from service import artefact, grib, references
from service.decoding import decode_to_file
from service.fields import FieldHeader, Region
from service.inference import Inference
from service.jobs import Jobs
from service.models import Models
from service.worker import Workers
from tests.service.sample_cycle import encode, replaced, sample_fields
from tests.service.sample_service import ServiceClient, reach, running, submit

HOUR = np.timedelta64(1, "h")
INFERRED = "inferred"
"""A file beside the decoded cycle, as soon as a lead went through the network."""


def decode_last_lead_after_inference(*arguments: Any) -> str:
    """``decode_to_file`` of which the last lead waits until another was inferred; in a worker process."""
    read = grib.read
    inferred: Path = arguments[5].parent / INFERRED

    def held(header: FieldHeader, region: Region | None = None) -> NDArray[np.float32]:
        if header.lead_hours == 3:
            reach(inferred.exists)
        return read(header, region)

    try:
        grib.read = held
        return decode_to_file(*arguments)
    finally:
        grib.read = read


def one_file(folder: Path, hours: int) -> list[Path]:
    """A cycle as one file, lead after lead."""
    change = replaced(reference_time=np.datetime64("2026-11-01T00", "s") + hours * HOUR)
    fields = [change(field) for field in sample_fields()]
    path = folder / f"cycle{hours}.gb2"
    path.write_bytes(b"".join(encode(field) for field in fields if field is not None))
    return [path]


@pytest.fixture(scope="module")
def sessions() -> Iterator[list[str]]:
    """The graphs of all sessions that are made."""
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        make = onnxruntime.InferenceSession

        def counted(graph: str, *arguments: Any, **options: Any) -> Any:
            found.append(graph)
            return make(graph, *arguments, **options)

        patch.setattr(onnxruntime, "InferenceSession", counted)
        yield found


@pytest.fixture(scope="module")
def client(service_folder: Path, sessions: list[str]) -> Iterator[ServiceClient]:
    sessions.clear()
    inbox = {"inbox": str(service_folder / "inbox"), "inbox_pattern": "*", "inbox_settle_seconds": 0}
    with running(service_folder, input_folders=(service_folder / "inbox",), **inbox) as client:
        yield client


def test_a_lead_is_inferred_before_the_last_one_is_decoded(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = client.runtime.inference.infer

    def noted(values: NDArray[np.float32]) -> NDArray[np.float32]:
        probabilities = infer(values)
        for folder in client.runtime.jobs._stages.folders():
            (folder / INFERRED).touch()
        return probabilities

    monkeypatch.setattr(client.runtime.inference, "infer", noted)
    monkeypatch.setattr("service.stages.decode_to_file", decode_last_lead_after_inference)
    held = submit(client, one_file(tmp_path, 0), prefer="wait=170")
    assert held.status_code == 200, held.text
    assert not client.runtime.jobs._stages._ahead


def test_one_session_for_all_cycles(client: ServiceClient, sessions: list[str], tmp_path: Path) -> None:
    for hours in (6, 12):
        assert submit(client, one_file(tmp_path, hours)).status_code == 200
    assert len(sessions) == 1


WORK: list[tuple[Any, str]] = [
    (Inference, "infer"),
    (Workers, "run_told"),
    (Models, "for_new_job"),
    (Models, "refresh"),
    (Jobs, "submit"),
    (Jobs, "get"),
    (references, "digest_file"),
    (artefact, "digest_file"),
]
"""What takes its time: decoding, inference, databases, hashing."""


def test_the_event_loop_waits_for_none_of_it(
    client: ServiceClient, service_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, set[str]] = {}

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            threads.setdefault(name, set()).add(threading.current_thread().name)
            return function(*arguments, **options)

        return call

    for owner, name in WORK:
        label = f"{owner.__name__}.{name}"
        monkeypatch.setattr(owner, name, watched(label, getattr(owner, name)))
    assert submit(client, one_file(tmp_path, 18)).status_code == 200
    reference = {"inputs": [{"uri": str(path)} for path in one_file(service_folder / "inbox", 24)]}
    assert client.post("/correct", json=reference, headers={"Prefer": "wait=60"}).status_code == 200
    for outcome in ("unsettled", "known"):
        taken = client.post("/ingest", params={"reference_time": "2026-11-02T00"})
        assert taken.json()["outcome"] == outcome, taken.text
    active = client.get("/models/active")
    changed = client.put(
        "/models/active", json={"model": "sample-0.1.0"}, headers={"If-Match": active.headers["etag"]}
    )
    assert changed.status_code == 200, changed.text
    for path in ("/cycles", "/cycles/latest", "/verification", "/readyz", "/metrics", "/models"):
        assert client.get(path).status_code == 200, path
    assert set(threads) == {f"{owner.__name__}.{name}" for owner, name in WORK}
    # The thread in which ``running`` has the event loop.
    assert [name for name, names in threads.items() if "server" in names] == []
