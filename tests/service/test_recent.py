"""What is kept, and what leaves."""

from __future__ import annotations

import threading

import pytest

from service.recent import Recent


def test_a_value_is_made_once() -> None:
    recent = Recent[str, int](2)
    assert recent.get("a", lambda: 1) == 1
    assert recent.get("a", lambda: pytest.fail("made again")) == 1


def test_the_least_recently_used_leaves() -> None:
    recent = Recent[str, int](2)
    recent.get("a", lambda: 1)
    recent.get("b", lambda: 2)
    recent.get("a", lambda: pytest.fail("made again"))
    recent.get("c", lambda: 3)
    assert recent.get("a", lambda: pytest.fail("made again")) == 1
    assert recent.get("b", lambda: 20) == 20


def test_what_fails_is_not_kept() -> None:
    recent = Recent[str, int](2)

    def fail() -> int:
        raise OSError("not now")

    with pytest.raises(OSError, match="not now"):
        recent.get("a", fail)
    assert recent.get("a", lambda: 1) == 1


def test_a_value_that_many_ask_for_at_once_is_made_by_one() -> None:
    recent, made = Recent[str, int](2), []
    all_ask = threading.Barrier(5)

    def make() -> int:
        made.append(threading.current_thread().name)
        # Long enough for the others to come, and no test hangs on it.
        event.wait(0.2)
        return 1

    def ask() -> None:
        all_ask.wait()
        found.append(recent.get("a", make))

    event, found = threading.Event(), list[int]()
    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, len(made)) == ([1] * 5, 1)
    assert recent._making == {}
