"""What is told of cycles, and that a cycle does not suffer from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.announcer import Announcer
from service.cycle_events import CycleEvents
from service.outbox import Outbox
from service.store import Store
from service.times import parse_time
from tests.service.test_cycle_events import MODEL, PROBLEM, TASK, TIME
from tests.service.test_cycle_states import Desk as Shelf


class Desk:
    """An announcer over a store and an outbox of its own."""

    def __init__(self, folder: Path, *receivers: str) -> None:
        self.shelf = Shelf(folder / "products")
        self.outbox = Outbox(f"sqlite:///{folder / 'outbox.sqlite'}")
        self.outbox.open()
        events = CycleEvents("urn:test", lambda: (2, 3))
        self.announcer = Announcer(events, Store(folder / "products"), self.outbox, receivers)

    def publish(self, *leads_hours: int) -> None:
        """A revision, and the news of it."""
        self.shelf.publish(leads_hours, parse_time(TIME))
        record = self.shelf.store.record(parse_time(TIME))
        self.announcer.published(record.reference_time, record.revision)

    def fail(self, run: str = "run") -> None:
        """A job that fails."""
        self.announcer.failed(TIME, "0123", run, TASK, PROBLEM)

    def told(self, receiver: str = "one") -> list[tuple[str, Any]]:
        """State and revision of all that is to be delivered, which it then is."""
        found = []
        while (delivery := self.outbox.due(receiver, 1e12)) is not None:
            data = json.loads(delivery.body)["data"]
            found.append((data["state"], data.get("revision")))
            self.outbox.end(delivery, "delivered")
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, "one", "two")


def test_every_change_is_told_once_in_its_order(desk: Desk) -> None:
    desk.announcer.late(TIME, "2026-11-22T06:00:00Z")
    desk.fail()
    desk.publish(3)
    desk.publish(2, 3)
    for _ in range(2):
        desk.announcer.published(TIME, 1)
        desk.announcer.late(TIME, "2026-11-22T06:00:00Z")
    expected = [("late", None), ("failed", None), ("partial", 1), ("published", 2)]
    assert desk.told("one") == expected
    assert desk.told("two") == expected


def test_each_run_of_a_job_that_fails_is_told(desk: Desk) -> None:
    for run in ("first", "first", "second"):
        desk.fail(run)
    assert desk.told() == [("failed", None)] * 2


def test_a_cycle_with_a_product_does_not_fail(desk: Desk) -> None:
    desk.publish(3)
    desk.fail()
    assert desk.told() == [("partial", 1)]


def test_without_receivers_nothing_is_recorded(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.announcer.is_silent
    desk.publish(2, 3)
    assert desk.outbox.record("other", "{}", ["one"], 1.0)
    delivery = desk.outbox.due("one", 2.0)
    assert delivery is not None
    assert delivery.number == 1


def test_trouble_stays_here(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> bool:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(desk.outbox, "record", fail)
        desk.publish(2, 3)
    desk.announcer.published("not a time", 1)
    desk.announcer.published(TIME, 7)
    assert [one.levelname for one in caplog.records] == ["ERROR"] * 3
    assert desk.told() == []


def test_the_model_is_that_of_the_product(desk: Desk) -> None:
    desk.publish(2, 3)
    delivery = desk.outbox.due("one", 1e12)
    assert delivery is not None
    assert json.loads(delivery.body)["data"]["model"] == MODEL.model_dump()
