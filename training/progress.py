"""Progress of a long run: done, rate and time left, on a terminal in place and elsewhere line by line."""

import sys
import time
from typing import TextIO


class Progress:
    """Counts steps of a known total.

    Args:
        label: what is being done.
        total: steps until the end.
        unit: what a step is.
        done: steps that an earlier run had finished; they do not count for the rate.
        interval_s: seconds between reports; None for 1 on a terminal and 20 elsewhere.
        stream: where to report, standard error if None.
        quiet: never report.
    """

    def __init__(
        self,
        label: str,
        total: int,
        unit: str,
        *,
        done: int = 0,
        interval_s: float | None = None,
        stream: TextIO | None = None,
        quiet: bool = False,
    ) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._first = self._done = done
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._quiet = quiet
        self._interval_s = interval_s if interval_s is not None else (1.0 if self._terminal else 20.0)
        self._start = time.monotonic()
        self._reported = self._start

    @property
    def rate(self) -> float:
        """Steps per second of this run."""
        return (self._done - self._first) / max(time.monotonic() - self._start, 1e-9)

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Counts steps and reports if the interval has passed or the end is reached."""
        self._done += steps
        now = time.monotonic()
        finished = self._done >= self._total
        if self._quiet or (not finished and now - self._reported < self._interval_s):
            return
        self._reported = now
        line = self.line(note)
        if self._terminal:
            self._stream.write(f"\r\033[K{line}" + ("\n" if finished else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def line(self, note: str = "") -> str:
        """The report as text."""
        left_s = (self._total - self._done) / self.rate if self.rate > 0 else float("inf")
        left = f"{left_s / 60:.1f} min left" if left_s < 1e6 else "time left unknown"
        parts = [
            f"{self._label}: {self._done}/{self._total} {self._unit}",
            f"{self.rate:.2f} {self._unit}/s",
            left,
            note,
        ]
        return ", ".join(part for part in parts if part)
