"""Which cycles are to come, and by when."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.schedule import Schedule, now_utc
from service.settings import Settings

HOUR = np.timedelta64(1, "h")
NOON = np.datetime64("2026-11-22T12", "s")
SCHEDULE = Schedule(hours=(0, 6, 12, 18), deadline=6 * HOUR, catch_up=24 * HOUR, expects=True)


def texts(times: object) -> list[str]:
    return [str(time.astype("datetime64[h]")) for time in times]  # type: ignore[attr-defined]


def test_settings_make_the_schedule() -> None:
    values = {"cycle_hours": "12,0", "cycle_deadline_hours": 4.5, "catch_up_hours": 30}
    schedule = Schedule.of(Settings.model_validate(values))
    assert schedule == Schedule(
        (0, 12), np.timedelta64(16_200, "s"), np.timedelta64(108_000, "s"), expects=False
    )
    assert Schedule.of(Settings.model_validate({"inbox": "/tmp"})).expects  # noqa: S108 - not opened


def test_open_cycles_come_newest_first() -> None:
    found = texts(SCHEDULE.open_cycles(NOON + np.timedelta64(59, "m")))
    assert found == ["2026-11-22T12", "2026-11-22T06", "2026-11-22T00", "2026-11-21T18"]
    assert texts(SCHEDULE.open_cycles(NOON))[-1] == "2026-11-21T12"


def test_both_ends_of_a_span_are_in_it() -> None:
    assert texts(SCHEDULE.cycles(NOON - 12 * HOUR, NOON)) == [
        "2026-11-22T12",
        "2026-11-22T06",
        "2026-11-22T00",
    ]
    assert texts(SCHEDULE.cycles(NOON + HOUR, NOON + 2 * HOUR)) == []
    assert texts(SCHEDULE.cycles(NOON, NOON - HOUR)) == []


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 200), st.sets(st.integers(0, 23), min_size=1))
def test_a_span_holds_every_cycle_once(start: int, length: int, hours: set[int]) -> None:
    schedule = Schedule(tuple(sorted(hours)), 6 * HOUR, 24 * HOUR, expects=True)
    first = np.datetime64("2026-01-01T00", "s") + start * np.timedelta64(1, "m")
    last = first + length * HOUR
    found = list(schedule.cycles(first, last))
    minutes = np.arange(first, last + np.timedelta64(1, "s"), np.timedelta64(1, "m"))
    wanted = [time for time in minutes if schedule.holds(time)]
    assert found == wanted[::-1]


def test_what_is_expected_and_what_is_late() -> None:
    assert SCHEDULE.is_expected(NOON, NOON)
    assert SCHEDULE.is_expected(NOON + 24 * HOUR, NOON)
    assert not SCHEDULE.is_expected(NOON + 30 * HOUR, NOON)
    assert not SCHEDULE.is_expected(NOON - 30 * HOUR, NOON)
    assert not SCHEDULE.is_expected(NOON + HOUR, NOON), "no cycle begins then"
    assert not Schedule((12,), 6 * HOUR, 24 * HOUR, expects=False).is_expected(NOON, NOON)
    assert not SCHEDULE.is_late(NOON, NOON + 6 * HOUR)
    assert SCHEDULE.is_late(NOON, NOON + 6 * HOUR + np.timedelta64(1, "s"))


def test_the_present_is_in_utc() -> None:
    assert abs(now_utc() - np.datetime64("now", "s")) <= np.timedelta64(2, "s")
