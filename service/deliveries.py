"""Delivers the events of the outbox to their receivers, by HTTP POST, until each has taken it or time is up.

Each receiver has a thread of its own: one that hangs holds up nobody else. Events go to it in the order in
which they were recorded; one that fails is tried again later and lets the others pass.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import httpx
from pydantic import SecretStr

from service.cycle_events import MEDIA_TYPE
from service.metrics import Metrics
from service.outbox import Delivery, Outbox
from service.signatures import signed_headers
from service.versions import rainpost_version

_logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 5.0
_FIRST_PAUSE_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 3600.0
_GONE: Final = 410


@dataclass(frozen=True)
class Receiver:
    """Who gets events. key: in the outbox. name: host and port, for logs: a path may be secret."""

    key: str
    name: str
    url: SecretStr

    @classmethod
    def of(cls, url: SecretStr) -> Self:
        """The receiver at an address."""
        text = url.get_secret_value()
        return cls(hashlib.sha256(text.encode()).hexdigest(), httpx.URL(text).netloc.decode(), url)


@dataclass(frozen=True)
class Terms:
    """How events are delivered. keys: they sign. give_up_seconds: from the record to the last attempt."""

    keys: tuple[bytes, ...]
    timeout_seconds: float
    give_up_seconds: float


class Deliveries:
    """The threads that deliver. leads: asked before every look whether it is this process that has to."""

    def __init__(
        self,
        outbox: Outbox,
        receivers: Sequence[Receiver],
        terms: Terms,
        metrics: Metrics,
        leads: Callable[[], bool],
    ) -> None:
        self._outbox = outbox
        self._terms = terms
        self._metrics = metrics
        self._leads = leads
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._run, args=(receiver,), name=f"delivery-{receiver.name}", daemon=True
            )
            for receiver in receivers
        ]

    def start(self) -> None:
        """Begin, once."""
        for thread in self._threads:
            if thread.ident is None:
                thread.start()

    def stop(self) -> None:
        """End when nothing more is due, or a receiver does not take it; does not wait."""
        self._stopping.set()

    def join(self, seconds: float) -> None:
        """Wait for the end, so long at most: what is cut off is delivered after the next start."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(deadline - time.monotonic(), 0))

    def _run(self, receiver: Receiver) -> None:
        while True:
            # A command that ends with its cycle looks once more on its way out.
            is_last = self._stopping.is_set()
            try:
                taken = not self._leads() or self._deliver_due(receiver)
            except Exception:
                # Above all a database that does not answer for a while.
                _logger.exception("events for %s cannot be read; the next look tries again", receiver.name)
                taken = False
            if is_last or (self._stopping.is_set() and not taken):
                return
            self._stopping.wait(_POLL_SECONDS)

    def _deliver_due(self, receiver: Receiver) -> bool:
        """Whether all went well, as far as there was time for it."""
        taken = True
        while (delivery := self._outbox.due(receiver.key, time.time())) is not None:
            taken = self._deliver(receiver, delivery) and taken
            if self._stopping.is_set() and not taken:
                break
        return taken

    def _deliver(self, receiver: Receiver, delivery: Delivery) -> bool:
        """One attempt; whether the receiver answered as it should."""
        status, answer = self._attempt(receiver, delivery)
        if 200 <= status < 300:
            self._outbox.end(delivery, "delivered")
            _logger.info("event %s was delivered to %s", delivery.event_id, receiver.name)
            self._metrics.count_delivery(receiver.name, "delivered")
            return True
        if status == _GONE:
            self._outbox.end(delivery, "gone")
            _logger.warning("%s does not want event %s (410)", receiver.name, delivery.event_id)
            self._metrics.count_delivery(receiver.name, "gone")
            return True
        self._put_off(receiver, delivery, answer)
        return False

    def _attempt(self, receiver: Receiver, delivery: Delivery) -> tuple[int, str]:
        """Status and what came, for the log; status 0 where no answer came."""
        body = delivery.body.encode()
        headers = signed_headers(self._terms.keys, delivery.event_id, int(time.time()), body)
        try:
            status = asyncio.run(_post(receiver.url, body, headers, self._terms.timeout_seconds))
        except Exception as error:  # noqa: BLE001
            # Whatever goes wrong on the way means the same. Its text may show the address.
            return 0, type(error).__name__
        return status, f"status {status}"

    def _put_off(self, receiver: Receiver, delivery: Delivery, answer: str) -> None:
        pause = pause_seconds(delivery.attempts)
        due = time.time() + pause
        event = f"event {delivery.event_id} was not taken by {receiver.name} ({answer})"
        if due > delivery.recorded + self._terms.give_up_seconds:
            self._outbox.end(delivery, "given_up")
            _logger.error("%s; given up after %d attempts", event, delivery.attempts + 1)
            self._metrics.count_delivery(receiver.name, "given_up")
            return
        self._outbox.postpone(delivery, due)
        _logger.warning("%s; attempt %d follows in %.0f s", event, delivery.attempts + 2, pause)
        self._metrics.count_delivery(receiver.name, "failed")


def pause_seconds(attempts: int) -> float:
    """Until the next attempt, after so many before the one that failed.

    5 s, doubled each time up to an hour, and half to all of that by chance: those who failed together do not
    come again together.
    """
    longest = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(attempts, 16), _LONGEST_PAUSE_SECONDS)
    return random.uniform(0.5, 1.0) * longest


async def _post(url: SecretStr, body: bytes, headers: dict[str, str], seconds: float) -> int:
    """The status of the answer, whose body is not read. A redirect is an answer like others."""
    headers = headers | {
        "Content-Type": f"{MEDIA_TYPE}; charset=utf-8",
        "User-Agent": f"rainpost/{rainpost_version()}",
    }
    limits = httpx.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds))
    # httpx limits each read and write; this limits all of them together.
    async with (
        asyncio.timeout(seconds),
        httpx.AsyncClient(timeout=limits, follow_redirects=False) as client,
        client.stream("POST", url.get_secret_value(), content=body, headers=headers) as answer,
    ):
        return answer.status_code
