"""Delivery to receivers that take events, fail, hang, send elsewhere or do not want them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks import Webhook

from service import deliveries as module
from service.deliveries import Deliveries, Receiver, Terms, pause_seconds
from service.metrics import Metrics
from service.outbox import Outbox
from service.signatures import key_of
from tests.service.sample_receiver import (
    DRIP,
    HANG,
    SIGNING,
    SampleReceiver,
    free_port,
    receiving,
    seconds_ago,
)
from tests.service.sample_service import reach


class Desk:
    """An outbox, and deliveries from it."""

    def __init__(self, folder: Path) -> None:
        self.outbox = Outbox(f"sqlite:///{folder / 'outbox.sqlite'}")
        self.outbox.open()
        self.metrics = Metrics()
        self.leads = True

    @contextmanager
    def delivering(
        self, urls: Sequence[str], timeout_seconds: float = 60.0, give_up_seconds: float = 3600.0
    ) -> Iterator[Deliveries]:
        """Deliver within the block."""
        found = Deliveries(
            self.outbox,
            [Receiver.of(SecretStr(url)) for url in urls],
            Terms((key_of(SIGNING),), timeout_seconds, give_up_seconds),
            self.metrics,
            lambda: self.leads,
        )
        found.start()
        try:
            yield found
        finally:
            found.stop()
            found.join(60)

    def record(self, event_id: str, *urls: str, recorded: float | None = None) -> None:
        """An event for receivers."""
        keys = [Receiver.of(SecretStr(url)).key for url in urls]
        moment = time.time() if recorded is None else recorded
        assert self.outbox.record(event_id, f'{{"id": "{event_id}"}}', keys, moment)

    def counted(self, receiver: SampleReceiver, outcome: str) -> float:
        """How many deliveries ended so."""
        labels = {"receiver": receiver.name, "outcome": outcome}
        return self.metrics.registry.get_sample_value("rainpost_webhook_deliveries_total", labels) or 0.0

    def is_empty(self) -> bool:
        """Whether nobody waits for anything."""
        return self.outbox.oldest() == {}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(module, "pause_seconds", lambda _: 0.02)
    found = Desk(tmp_path)
    yield found
    found.outbox.close()


def names(receiver: SampleReceiver) -> list[str]:
    """Identities of the events that came, in their order."""
    return [request.headers["webhook-id"] for request in receiver.requests]


def test_an_event_arrives_as_it_was_recorded_and_signed(desk: Desk) -> None:
    with receiving() as receiver:
        desk.record("a", receiver.url("/events?token=hidden"))
        with desk.delivering([receiver.url("/events?token=hidden")]):
            (request,) = receiver.await_requests(1)
            reach(desk.is_empty)
        assert desk.counted(receiver, "delivered") == 1
    assert (request.path, request.body) == ("/events?token=hidden", b'{"id": "a"}')
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert request.headers["user-agent"].startswith("rainpost/")
    assert Webhook(SIGNING).verify(request.body, request.headers) == {"id": "a"}


def test_events_arrive_in_their_order_at_every_receiver(desk: Desk) -> None:
    with receiving() as one, receiving() as two:
        for name in ("c", "a", "b"):
            desk.record(name, one.url(), two.url())
        with desk.delivering([one.url(), two.url()]):
            reach(desk.is_empty)
        assert names(one) == names(two) == ["c", "a", "b"]


@pytest.mark.parametrize("status", [302, 307, 400, 401, 404, 429, 500, 503])
def test_a_receiver_that_fails_gets_it_again_until_it_takes_it(desk: Desk, status: int) -> None:
    with receiving(status, status, status) as receiver:
        desk.record("a", receiver.url())
        with desk.delivering([receiver.url()]):
            requests = receiver.await_requests(4)
            reach(desk.is_empty)
        assert names(receiver) == ["a"] * 4
        assert {request.body for request in requests} == {b'{"id": "a"}'}
        assert {request.path for request in requests} == {"/events"}, "nobody is followed elsewhere"
        assert (desk.counted(receiver, "failed"), desk.counted(receiver, "delivered")) == (3, 1)


def test_every_attempt_is_signed_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pause_seconds", lambda _: 1.0)
    with receiving(500) as receiver:
        desk.record("a", receiver.url())
        with desk.delivering([receiver.url()]):
            first, second = receiver.await_requests(2)
    assert int(first.headers["webhook-timestamp"]) < int(second.headers["webhook-timestamp"])
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert Webhook(SIGNING).verify(second.body, second.headers) == {"id": "a"}


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_every_success_is_one(desk: Desk, status: int) -> None:
    with receiving(status) as receiver:
        desk.record("a", receiver.url())
        with desk.delivering([receiver.url()]):
            reach(desk.is_empty)
        assert names(receiver) == ["a"]


def test_gone_ends_this_event_for_this_receiver_alone(desk: Desk) -> None:
    with receiving(410) as unwilling, receiving() as willing:
        desk.record("a", unwilling.url(), willing.url())
        desk.record("b", unwilling.url(), willing.url())
        with desk.delivering([unwilling.url(), willing.url()]):
            reach(desk.is_empty)
        assert names(unwilling) == ["a", "b"]
        assert names(willing) == ["a", "b"]
        assert [desk.counted(unwilling, outcome) for outcome in ("gone", "delivered")] == [1, 1]
        assert desk.counted(unwilling, "failed") == 0


@pytest.mark.parametrize("answer", [HANG, DRIP])
def test_a_receiver_that_hangs_is_left_and_holds_up_nobody(
    desk: Desk, answer: int, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving(answer) as hanging, receiving() as other:
        desk.record("a", hanging.url(), other.url())
        with desk.delivering([hanging.url(), other.url()], timeout_seconds=0.5):
            reach(desk.is_empty)
        assert names(hanging) == ["a", "a"], "it answered the second time"
        assert names(other) == ["a"]
        assert desk.counted(hanging, "failed") == 1
    assert "Timeout" in caplog.text, "the wait was ended from here"


def test_an_event_that_fails_lets_others_pass(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pause_seconds", lambda _: 3600.0)
    with receiving(500) as receiver:
        for name in ("a", "b"):
            desk.record(name, receiver.url())
        with desk.delivering([receiver.url()], give_up_seconds=1e9):
            receiver.await_requests(2)
        assert names(receiver) == ["a", "b"]
        assert not desk.is_empty()


def test_there_is_an_end_of_it(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    address = f"http://127.0.0.1:{free_port()}/secret-path"
    desk.record("old", address, recorded=seconds_ago(7200))
    with caplog.at_level(logging.INFO), desk.delivering([address], give_up_seconds=3600):
        reach(desk.is_empty)
    (record,) = [one for one in caplog.records if one.name == "service.deliveries"]
    assert record.levelname == "ERROR"
    assert "given up after 1 attempts" in record.getMessage()
    assert "ConnectError" in record.getMessage()


def test_only_the_one_that_leads_delivers(desk: Desk) -> None:
    desk.leads = False
    with receiving() as receiver:
        desk.record("a", receiver.url())
        with desk.delivering([receiver.url()]):
            assert receiver.requests == []
        assert receiver.requests == []
        assert not desk.is_empty()


def test_what_is_due_is_delivered_at_a_stop(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL_SECONDS", 3600.0)
    looks: list[bool] = []
    due = desk.outbox.due

    def watched(receiver: str, now: float) -> object:
        looks.append(True)
        return due(receiver, now)

    monkeypatch.setattr(desk.outbox, "due", watched)
    with receiving() as receiver:
        with desk.delivering([receiver.url()]):
            reach(lambda: bool(looks))
            for name in ("a", "b"):
                desk.record(name, receiver.url())
        assert names(receiver) == ["a", "b"]


def test_a_stop_does_not_wait_for_who_fails(desk: Desk) -> None:
    with receiving(*[500] * 1000) as receiver:
        for number in range(50):
            desk.record(str(number), receiver.url())
        with desk.delivering([receiver.url()]) as found:
            receiver.await_requests(1)
            found.stop()
        assert len(receiver.requests) < 1000


def test_neither_secret_nor_path_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    key = SIGNING.removeprefix("whsec_")
    with caplog.at_level(logging.DEBUG), receiving(500, HANG, 302) as receiver:
        path = "/services/hidden-path?token=hidden-query"
        desk.record("a", receiver.url(path))
        with desk.delivering([receiver.url(path)], timeout_seconds=0.5):
            reach(desk.is_empty)
        ours = [one for one in caplog.records if one.name.startswith("service")]
        assert len(ours) == 4
        assert all(receiver.name in one.getMessage() for one in ours)
        text = "\n".join(one.getMessage() for one in ours)
    assert "hidden" not in text
    assert key not in text
    assert key not in repr(Receiver.of(SecretStr(f"http://host/{key}")))


@given(attempts=st.integers(0, 10_000))
def test_pauses_grow_to_an_hour_and_no_further(attempts: int) -> None:
    longest = min(5.0 * 2.0 ** min(attempts, 20), 3600.0)
    assert longest / 2 <= pause_seconds(attempts) <= longest


def test_pauses_differ_by_chance() -> None:
    assert len({pause_seconds(3) for _ in range(20)}) > 10


def test_a_database_that_does_not_answer_for_a_while(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[bool] = []
    due: Callable[[str, float], object] = desk.outbox.due

    def broken(receiver: str, now: float) -> object:
        if len(failures) < 3:
            failures.append(True)
            raise OSError("no connection")
        return due(receiver, now)

    monkeypatch.setattr(desk.outbox, "due", broken)
    with receiving() as receiver:
        desk.record("a", receiver.url())
        with desk.delivering([receiver.url()]):
            receiver.await_requests(1)
            reach(desk.is_empty)
        assert len(failures) == 3
