"""A whole service that tells receivers of its cycles."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.gate import GateLimits
from service.schedule import now_utc
from service.times import iso_time
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_receiver import SIGNING, Request, SampleReceiver, receiving
from tests.service.sample_service import ServiceClient, problem, reach, running, submit

HOUR = np.timedelta64(1, "h")
PATH = "/hidden-path?token=hidden-query"


def is_signed_by(secret: str, request: Request) -> bool:
    """As a receiver sees it, which has nothing but the specification."""
    headers = request.headers
    content = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), request.body])
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = f"v1,{base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()}"
    return expected in headers["webhook-signature"].split(" ")


@dataclass(frozen=True)
class Told:
    """A service and who hears of it."""

    client: ServiceClient
    receiver: SampleReceiver

    def await_event(self, state: str, reference_time: np.datetime64) -> dict[str, Any]:
        """The one event of a cycle in a state, once it is there."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            events = [json.loads(request.body) for request in self.receiver.requests]
            found[:] = [
                event
                for event in events
                if (event["data"]["state"], event["subject"]) == (state, iso_time(reference_time))
            ]
            return bool(found)

        reach(look)
        (event,) = found
        return event


@pytest.fixture(scope="module")
def told(service_folder: Path) -> Iterator[Told]:
    """With nobody at its second address."""
    with receiving() as absent:
        pass
    with (
        receiving() as receiver,
        running(
            service_folder,
            minimum_leads=1,
            inbox=str(service_folder / "inbox"),
            webhook_urls=f"{absent.url()} {receiver.url(PATH)}",
            webhook_secret=SIGNING,
            webhook_source="https://rain.example.org",
        ) as client,
    ):
        yield Told(client, receiver)


def test_a_cycle_is_told_with_what_its_product_is(told: Told, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path)
    assert submit(told.client, paths).status_code == 200, "whatever becomes of the first receiver"
    event = told.await_event("published", REFERENCE_TIME)
    assert (event["specversion"], event["source"]) == ("1.0", "https://rain.example.org")
    data = event["data"]
    product = told.client.get(data["product"]["path"]).content
    assert hashlib.sha256(product).hexdigest() == data["product"]["sha256"]
    assert len(product) == data["product"]["size_bytes"]
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    assert {one["sha256"] for one in data["inputs"]} == digests
    shown = told.client.get(f"/cycles/{event['subject']}").json()
    assert (shown["state"], shown["leads"]) == (data["state"], data["leads"])
    assert shown["revisions"][0]["model"] == data["model"]


def test_a_partial_cycle_and_its_rest(told: Told, tmp_path: Path) -> None:
    time = REFERENCE_TIME + 6 * HOUR
    paths = write_cycle(tmp_path, replaced(reference_time=time))
    assert submit(told.client, paths[:2]).status_code == 200
    event = told.await_event("partial", time)
    assert event["data"]["leads"] == {"expected": [2, 3], "present": [2], "missing": [3]}
    assert submit(told.client, paths).status_code == 200
    event = told.await_event("published", time)
    assert (event["data"]["revision"], event["data"]["leads"]["missing"]) == (2, [])


def test_what_the_gate_keeps_aside_failed(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = REFERENCE_TIME + 12 * HOUR
    paths = write_cycle(tmp_path, replaced(reference_time=time))
    stages = told.client.runtime.jobs._stages
    monkeypatch.setattr(stages, "_limits", GateLimits(z_mean=1e-9, heaviest_share=1.0))
    refused = problem(submit(told.client, paths), 422, "gate-refused")
    event = told.await_event("failed", time)
    assert event["data"]["problem"]["reason"] == "gate-refused"
    assert event["data"]["problem"]["got"] == refused["got"]
    assert told.client.get(event["data"]["job"]).json()["state"] == "failed"
    assert "product" not in event["data"]


def test_a_fault_of_the_service_failed(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time = REFERENCE_TIME + 18 * HOUR

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("service.store.write_durably", full)
    problem(submit(told.client, write_cycle(tmp_path, replaced(reference_time=time))), 500, "internal-error")
    event = told.await_event("failed", time)
    assert event["data"]["problem"]["reason"] == "internal-error"
    assert "No space" not in json.dumps(event)


def test_a_cycle_that_does_not_come_is_late(told: Told) -> None:
    now = now_utc()
    today = now.astype("datetime64[D]")
    time = today + (now - today) // (6 * HOUR) * (6 * HOUR) - 12 * HOUR
    event = told.await_event("late", time)
    assert event["data"]["deadline"] == iso_time(time + 6 * HOUR)
    assert told.client.get(f"/cycles/{event['subject']}").json()["state"] == "late"


def test_all_that_comes_is_signed(told: Told) -> None:
    assert len(told.receiver.requests) >= 5
    other = f"whsec_{base64.b64encode(b'the bytes of another key').decode()}"
    for request in told.receiver.requests:
        assert is_signed_by(SIGNING, request)
        assert not is_signed_by(other, request)
        assert request.path == PATH
    identities = [request.headers["webhook-id"] for request in told.receiver.requests]
    assert len(set(identities)) == len(identities)


def test_deliveries_are_counted_and_who_waits_is_known(told: Told) -> None:
    value = told.client.runtime.metrics.registry.get_sample_value
    labels = {"receiver": told.receiver.name}
    reach(
        lambda: (
            value("rainpost_webhook_deliveries_total", labels | {"outcome": "delivered"})
            == len(told.receiver.requests)
        )
    )
    assert value("rainpost_webhook_deliveries_total", labels | {"outcome": "failed"}) == 0.0
    assert value("rainpost_webhook_oldest_waiting_event_time_seconds", labels) == 0.0
    text = told.client.get("/metrics").text
    waiting = [
        line
        for line in text.splitlines()
        if line.startswith("rainpost_webhook_oldest") and told.receiver.name not in line
    ]
    (line,) = waiting
    assert float(line.split()[-1]) > 1.6e9, "the receiver that is not there"
    assert "hidden" not in text
