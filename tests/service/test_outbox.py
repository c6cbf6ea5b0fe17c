"""The outbox, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from service.outbox import Outbox


@pytest.fixture
def outbox(url: str) -> Iterator[Outbox]:
    found = Outbox(url)
    found.open()
    yield found
    found.close()


def drain(outbox: Outbox, receiver: str, now: float = 1e9) -> list[str]:
    """Deliver all that is due; the identities in their order."""
    taken = []
    while (delivery := outbox.due(receiver, now)) is not None:
        taken.append(delivery.event_id)
        outbox.end(delivery, "delivered")
    return taken


def test_each_receiver_gets_every_event_in_the_order_of_the_records(outbox: Outbox) -> None:
    for number, name in enumerate(("c", "a", "b")):
        assert outbox.record(name, f"body of {name}", ["one", "two"], float(number))
    assert drain(outbox, "one") == ["c", "a", "b"]
    assert drain(outbox, "two") == ["c", "a", "b"]
    assert drain(outbox, "three") == []


def test_an_event_is_recorded_once(outbox: Outbox) -> None:
    assert outbox.record("a", "first", ["one"], 1.0)
    assert not outbox.record("a", "second", ["one", "two"], 2.0)
    delivery = outbox.due("one", 3.0)
    assert delivery is not None
    assert (delivery.body, delivery.recorded, delivery.attempts) == ("first", 1.0, 0)
    assert drain(outbox, "one") == ["a"]
    assert not outbox.record("a", "third", ["one"], 4.0), "also once it was delivered"
    assert drain(outbox, "one") == drain(outbox, "two") == []


def test_many_that_record_the_same_at_once_record_it_once(outbox: Outbox) -> None:
    results: list[bool] = []
    together = threading.Barrier(6)

    def record() -> None:
        together.wait()
        results.append(outbox.record("a", "body", ["one"], 1.0))

    threads = [threading.Thread(target=record) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 5 + [True]
    assert drain(outbox, "one") == ["a"]


def test_what_is_postponed_lets_others_pass(outbox: Outbox) -> None:
    outbox.record("a", "body", ["one", "two"], 1.0)
    outbox.record("b", "body", ["one", "two"], 2.0)
    first = outbox.due("one", 3.0)
    assert first is not None
    outbox.postpone(first, 100.0)
    assert drain(outbox, "one", now=99.0) == ["b"]
    again = outbox.due("one", 100.0)
    assert again is not None
    assert (again.event_id, again.attempts) == ("a", 1)
    assert drain(outbox, "two", now=3.0) == ["a", "b"], "the other receiver knows nothing of it"


@pytest.mark.parametrize("state", ["delivered", "gone", "given_up"])
def test_an_end_is_an_end(outbox: Outbox, state: str) -> None:
    outbox.record("a", "body", ["one"], 1.0)
    delivery = outbox.due("one", 1.0)
    assert delivery is not None
    outbox.end(delivery, state)  # type: ignore[arg-type]
    assert outbox.due("one", 1e9) is None
    assert outbox.oldest() == {}


def test_the_oldest_that_waits(outbox: Outbox) -> None:
    assert outbox.oldest() == {}
    outbox.record("a", "body", ["one", "two"], 10.0)
    outbox.record("b", "body", ["one", "two"], 20.0)
    delivery = outbox.due("one", 20.0)
    assert delivery is not None
    outbox.end(delivery, "delivered")
    assert outbox.oldest() == {"one": 20.0, "two": 10.0}


def test_old_events_are_forgotten_with_their_deliveries(outbox: Outbox) -> None:
    outbox.record("a", "body", ["one"], 10.0)
    outbox.record("b", "body", ["one"], 20.0)
    outbox.forget(20.0)
    assert drain(outbox, "one") == ["b"]
    assert outbox.record("a", "body", ["one"], 30.0)
