"""What is recorded of the roles of models: by role, in order, and one change at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.model_choices import Change, Choices, ModelChoices

ACTIVE = Change("active", "sample-0.1.0", "a" * 64, "someone", chosen=True)


@pytest.fixture
def choices(url: str) -> Iterator[ModelChoices]:
    found = ModelChoices(url)
    found.open()
    yield found
    found.close()


def numbers(choices: Choices) -> dict[str, int]:
    return {role: choice.number for role, choice in choices.items()}


def test_the_newest_change_of_a_role_holds(choices: ModelChoices) -> None:
    assert choices.current() == {}
    before = datetime.now(UTC).replace(microsecond=0)
    first = choices.change(lambda _: [ACTIVE])["active"]
    assert (first.model, first.before, first.by, first.chosen) == ("sample-0.1.0", None, "someone", True)
    assert before <= first.changed <= datetime.now(UTC)
    shadow = Change("shadow", "sample-0.2.0", "b" * 64, "someone", chosen=True)
    assert choices.change(lambda _: [shadow])["active"] == first, "the roles are apart"
    later = Change("active", "sample-0.2.0", "b" * 64, "another", chosen=False)
    choices.change(lambda _: [later, Change("shadow", None, None, "another", chosen=True)])
    current = choices.current()
    assert (current["active"].model, current["active"].before) == ("sample-0.2.0", "sample-0.1.0")
    assert (current["shadow"].model, current["shadow"].before) == (None, "sample-0.2.0")
    history = choices.history(3)
    assert [one.model for one in history] == [None, "sample-0.2.0", "sample-0.2.0"]
    assert [one.number for one in history] == sorted((one.number for one in history), reverse=True)


def test_what_is_recorded_is_seen_by_others(choices: ModelChoices, url: str) -> None:
    other = ModelChoices(url)
    choices.change(lambda _: [ACTIVE])
    assert other.current() == choices.current()
    assert other.history(10) == choices.history(10)
    other.close()


def test_a_refusal_changes_nothing(choices: ModelChoices) -> None:
    choices.change(lambda _: [ACTIVE])

    def refuse(current: Choices) -> list[Change]:
        raise ValueError(current["active"].model)

    with pytest.raises(ValueError, match=r"sample-0\.1\.0"):
        choices.change(refuse)
    assert len(choices.history(10)) == 1


def test_nothing_changes_between_the_look_and_the_record(choices: ModelChoices) -> None:
    """Many at once, each of which changes only what it saw: all but one find it changed."""
    seen = numbers(choices.change(lambda _: [ACTIVE]))
    outcomes: list[bool] = []
    barrier = threading.Barrier(8)

    def compete() -> None:
        barrier.wait()

        def decide(current: Choices) -> list[Change]:
            outcomes.append(numbers(current) == seen)
            return [ACTIVE] if outcomes[-1] else []

        choices.change(decide)

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count(True), outcomes.count(False)) == (1, 7)
    assert len(choices.history(10)) == 2


def test_a_look_makes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    choices = ModelChoices(f"sqlite:///{path}")
    assert (choices.current(), choices.history(1)) == ({}, [])
    assert not path.exists()
    path.touch()
    assert (choices.current(), choices.history(1)) == ({}, []), "a database without the table"
    choices.close()
