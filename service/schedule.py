"""Which cycles are to come, and by when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

import numpy as np

from service.settings import Settings

_HOUR: Final = np.timedelta64(1, "h")


@dataclass(frozen=True)
class Schedule:
    """Cycles at these hours of every day, UTC.

    deadline, catch_up: time after the reference time by which a cycle is due, and until which it is looked
    for.
    expects: whether anybody looks for cycles; a service without an inbox expects none.
    """

    hours: tuple[int, ...]
    deadline: np.timedelta64
    catch_up: np.timedelta64
    expects: bool

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The schedule of the settings."""
        return cls(
            hours=settings.cycle_hours,
            deadline=_seconds(settings.cycle_deadline_hours),
            catch_up=_seconds(settings.catch_up_hours),
            expects=settings.inbox is not None,
        )

    def holds(self, reference_time: np.datetime64) -> bool:
        """Whether this is the time of a cycle."""
        since_midnight = reference_time - reference_time.astype("datetime64[D]")
        return any(since_midnight == hour * _HOUR for hour in self.hours)

    def cycles(self, first: np.datetime64, last: np.datetime64) -> Iterator[np.datetime64]:
        """Reference times from the last back to the first, both included where they are such."""
        day = last.astype("datetime64[D]")
        while day >= first.astype("datetime64[D]"):
            for hour in sorted(self.hours, reverse=True):
                time = (day + hour * _HOUR).astype("datetime64[s]")
                if first <= time <= last:
                    yield time
            day -= np.timedelta64(1, "D")

    def open_cycles(self, now: np.datetime64) -> Iterator[np.datetime64]:
        """Those that have begun and are still looked for, newest first."""
        yield from self.cycles(now - self.catch_up, now)

    def is_expected(self, reference_time: np.datetime64, now: np.datetime64) -> bool:
        """Whether somebody looks for the cycle, or will from its reference time on, within the next day."""
        begun = now - self.catch_up <= reference_time
        soon = reference_time <= now + np.timedelta64(1, "D")
        return bool(self.expects and begun and soon and self.holds(reference_time))

    def is_late(self, reference_time: np.datetime64, now: np.datetime64) -> bool:
        """Whether the deadline is over."""
        return bool(now > reference_time + self.deadline)


def now_utc() -> np.datetime64:
    """The present, in seconds."""
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "s")


def _seconds(hours: float) -> np.timedelta64:
    return np.timedelta64(round(3600 * hours), "s")
