"""What is kept, and what leaves."""

from __future__ import annotations

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
