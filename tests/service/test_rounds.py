"""Rounds go on whatever happens in one of them, and only where this process has to."""

from __future__ import annotations

import threading

import pytest

from service.rounds import Rounds


class Sample(Rounds):
    """Fails in its first round. needed: whether there is anything to begin."""

    def __init__(self, *, leads: bool = True, needed: bool = True) -> None:
        self.asked = threading.Event()
        self.done = 0
        self.enough = threading.Event()
        self._needed = needed
        super().__init__("sample", 0.01, lambda: self._ask(leads), "the sample failed")

    @property
    def is_needed(self) -> bool:
        return self._needed

    def round(self) -> None:
        self.done += 1
        if self.done == 1:
            raise OSError("gone for a while")
        if self.done == 3:
            self.enough.set()

    def _ask(self, answer: bool) -> bool:
        self.asked.set()
        return answer


def test_a_round_that_fails_is_logged_and_the_next_comes(caplog: pytest.LogCaptureFixture) -> None:
    rounds = Sample()
    rounds.start()
    rounds.start()
    assert rounds.enough.wait(30)
    rounds.stop()
    rounds.join()
    assert caplog.text.count("the sample failed") == 1


def test_who_does_not_lead_does_nothing() -> None:
    rounds = Sample(leads=False)
    rounds.start()
    assert rounds.asked.wait(30)
    rounds.stop()
    rounds.join()
    assert rounds.done == 0


def test_what_is_not_needed_does_not_begin() -> None:
    rounds = Sample(needed=False)
    rounds.start()
    rounds.stop()
    rounds.join()
    assert not rounds.asked.is_set()
