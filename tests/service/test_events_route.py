"""The stream of what is published, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.publications import Publications
from service.routes.events import stream
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_service import ServiceClient, reach, running, submit

DAY = np.timedelta64(1, "D")
HOUR = np.timedelta64(1, "h")


@pytest.fixture(scope="module")
def listened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceClient]:
    """A service that looks often."""
    with running(tmp_path_factory.mktemp("events"), events_poll_seconds=0.02, max_wait_seconds=60) as client:
        yield client


def next_event(lines: Iterator[str]) -> tuple[str, dict[str, object]]:
    kind = next(line for line in lines if line.startswith("event: "))
    return kind.removeprefix("event: "), json.loads(next(lines).removeprefix("data: "))


def test_products_and_observations_are_told(listened: ServiceClient, tmp_path: Path) -> None:
    reference_time = REFERENCE_TIME + DAY
    with listened.stream("GET", "/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        lines = answer.iter_lines()
        assert next(lines).startswith("retry: ")
        cycle = write_cycle(tmp_path, replaced(reference_time=reference_time))
        with httpx.Client(base_url=listened.base_url, timeout=120) as other:
            files = [("files", (path.name, path.read_bytes())) for path in cycle]
            assert other.post("/correct", files=files, headers={"Prefer": "wait=60"}).status_code == 200
            kind, data = next_event(lines)
            assert kind == "published"
            assert (data["reference_time"], data["revision"]) == (f"{reference_time}Z", 1)
            assert other.get(str(data["product"])).status_code == 200
            assert other.get(str(data["cycle"])).json()["revision"] == 1
            path = write_dfs(tmp_path / "qpe", reference_time + 2 * HOUR, sample_rain_mm(1))
            other.post("/observations", files=[("files", (path.name, path.read_bytes()))])
            assert next_event(lines) == (
                "observed",
                {"valid_time": f"{reference_time + 2 * HOUR}Z", "revision": 1},
            )


def test_a_listener_that_goes_is_forgotten(listened: ServiceClient) -> None:
    publications = listened.runtime.publications
    with listened.stream("GET", "/events") as answer:
        lines = answer.iter_lines()  # to be kept: the stream ends with it
        next(lines)
        reach(lambda: publications.listeners == 1)
    reach(lambda: publications.listeners == 0)


def test_silence_is_broken_by_heartbeats(tmp_path: Path) -> None:
    async def listen() -> list[str]:
        publications = Publications({"published": tmp_path}, 60)
        texts = stream(publications, heartbeat_seconds=0.01)
        heard = [await anext(texts) for _ in range(4)]
        await texts.aclose()  # type: ignore[attr-defined]
        assert publications.listeners == 0
        return heard

    first, *others = asyncio.run(listen())
    assert first.startswith("retry: ")
    assert all(text.startswith(":") and text.endswith("\n\n") for text in others), (
        "comments, which no client sees"
    )


def test_listeners_do_not_hold_up_others(listened: ServiceClient, tmp_path: Path) -> None:
    with httpx.Client(base_url=listened.base_url, limits=httpx.Limits(max_connections=None)) as many:
        streams = [many.send(many.build_request("GET", "/events"), stream=True) for _ in range(30)]
        reach(lambda: listened.runtime.publications.listeners == 30)
        cycle = write_cycle(tmp_path, replaced(reference_time=REFERENCE_TIME + 2 * DAY))
        assert submit(listened, cycle).status_code == 200
        for one in streams:
            assert next_event(one.iter_lines())[0] == "published"
            one.close()
    reach(lambda: listened.runtime.publications.listeners == 0)
