"""Events: what they say, who can read them, and that the same change has the same identity."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from service.cycle_events import MEDIA_TYPE, CycleEvent, CycleEvents
from service.errors import GateRefused
from service.problems import problem_of
from service.stages import Task
from service.store import InputIdentity, ModelIdentity, Origin, Record
from service.submission import InputFile, Submission

TIME = "2026-11-22T00:00:00Z"
CREATED = datetime(2026, 11, 22, 5, 30, tzinfo=UTC)
MODEL = ModelIdentity(name="sample", version="0.1.0", sha256="0" * 64, manifest_sha256="1" * 64)
INPUT = InputIdentity(name="h002.gb2", sha256="2" * 64, size_bytes=7)
EVENTS = CycleEvents("urn:rainpost:seoul", lambda: (2, 3))
TASK = Task(
    submission=Submission(
        reference_time=TIME, inputs=(InputFile(name=INPUT.name, sha256=INPUT.sha256, size_bytes=7),)
    ),
    model=MODEL,
)
PROBLEM = problem_of(GateRefused("not published", where="lead 2 h", advice="look at it"))


def record(**changes: Any) -> Record:
    origin = Origin(key="key", model=MODEL, inputs=(INPUT,), leads_hours=changes.pop("leads_hours", (2, 3)))
    values = {
        "reference_time": TIME,
        "revision": 1,
        "created": CREATED,
        "file": "r1.nc",
        "sha256": "3" * 64,
        "size_bytes": 9,
        "origin": origin,
    }
    return Record.model_validate(values | changes)


def read(event: CycleEvent) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(event.body())
    return document


def test_a_published_cycle() -> None:
    event = read(EVENTS.published(record()))
    assert event.pop("id")
    assert event == {
        "specversion": "1.0",
        "source": "urn:rainpost:seoul",
        "type": "org.rainpost.cycle.published",
        "subject": TIME,
        "time": "2026-11-22T05:30:00Z",
        "datacontenttype": "application/json",
        "data": {
            "reference_time": TIME,
            "state": "published",
            "leads": {"expected": [2, 3], "present": [2, 3], "missing": []},
            "revision": 1,
            "product": {
                "path": f"/cycles/{TIME}/product?revision=1",
                "sha256": "3" * 64,
                "size_bytes": 9,
            },
            "inputs": [INPUT.model_dump()],
            "model": MODEL.model_dump(),
        },
    }


def test_a_partial_cycle_names_what_it_lacks() -> None:
    event = read(EVENTS.published(record(leads_hours=(3,))))
    assert event["type"] == "org.rainpost.cycle.partial"
    assert event["data"]["state"] == "partial"
    assert event["data"]["leads"] == {"expected": [2, 3], "present": [3], "missing": [2]}


def test_a_failed_cycle_says_why() -> None:
    event = read(EVENTS.failed(TIME, "0123", "run", TASK, PROBLEM))
    assert (event["type"], event["subject"]) == ("org.rainpost.cycle.failed", TIME)
    assert abs(datetime.fromisoformat(event["time"]) - datetime.now(UTC)) < timedelta(minutes=5)
    data = event["data"]
    assert data["problem"] == PROBLEM.model_dump(exclude_defaults=True)
    assert data["problem"]["reason"] == "gate-refused"
    assert (data["job"], data["inputs"]) == ("/jobs/0123", [INPUT.model_dump()])
    assert data["leads"]["missing"] == [2, 3]
    assert "product" not in data


def test_a_late_cycle_says_when_it_was_due() -> None:
    event = read(EVENTS.late(TIME, "2026-11-22T06:00:00Z"))
    assert event["type"] == "org.rainpost.cycle.late"
    assert event["data"]["deadline"] == "2026-11-22T06:00:00Z"
    assert event["data"]["leads"] == {"expected": [2, 3], "present": [], "missing": [2, 3]}


@pytest.mark.parametrize(
    "event",
    [
        EVENTS.published(record()),
        EVENTS.failed(TIME, "0123", "run", TASK, PROBLEM),
        EVENTS.late(TIME, "2026-11-22T06:00:00Z"),
    ],
    ids=lambda event: event.data.state,
)
def test_the_library_of_cloudevents_reads_it(event: CycleEvent) -> None:
    found = from_http_event(HTTPMessage({"content-type": MEDIA_TYPE}, event.body().encode()))
    assert (found.get_id(), found.get_type()) == (event.id, event.type)
    assert (found.get_subject(), found.get_time()) == (TIME, event.time)
    assert found.get_source() == "urn:rainpost:seoul"
    assert found.get_data() == read(event)["data"]


def test_what_is_the_same_has_the_same_identity_and_nothing_else_has() -> None:
    def published(**changes: Any) -> CycleEvent:
        return EVENTS.published(record(**changes))

    def failed(job: str = "0123", run: str = "run") -> CycleEvent:
        return EVENTS.failed(TIME, job, run, TASK, PROBLEM)

    assert published().id == published().id
    assert failed().id == failed().id
    assert EVENTS.late(TIME, "a").id == EVENTS.late(TIME, "b").id, "also when the deadline is moved"
    others = [
        published(),
        published(revision=2),
        published(created=CREATED + timedelta(seconds=1)),
        published(leads_hours=(3,)),
        published(reference_time="2026-11-22T06:00:00Z"),
        failed(),
        failed(job="4567"),
        failed(run="again"),
        EVENTS.late(TIME, "a"),
        EVENTS.late("2026-11-22T06:00:00Z", "a"),
    ]
    assert len({event.id for event in others}) == len(others)
