"""Which jobs belong to which cycle: an empty file for each, ``cycles/<cycle>/<job>``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from service.times import compact_time, parse_time


class CycleIndex:
    """The folder of the index. Many processes may write to it at the same time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self, reference_time: str, job_id: str) -> None:
        """The files of the job are, or are said to be, of this cycle (in ISO 8601)."""
        folder = self._cycle_folder(reference_time)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / job_id).touch()

    def jobs(self, reference_time: str) -> list[str]:
        """Ids of the jobs of a cycle (in ISO 8601), those that were noted last first."""
        paths = list(self._cycle_folder(reference_time).glob("*"))
        return [path.name for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)]

    def cycles(self, job_id: str) -> Iterator[np.datetime64]:
        """Reference times of the cycles that a job was noted for. Goes through all cycles as it is asked."""
        for path in self._folder.glob(f"*/{job_id}"):
            yield parse_time(path.parent.name)

    def all_cycles(self) -> list[np.datetime64]:
        """Reference times of all cycles of which there is a job, oldest first."""
        return sorted(parse_time(path.name) for path in self._folder.glob("[0-9]*T*Z"))

    def forget(self, reference_time: str) -> None:
        """A cycle (in ISO 8601) has no jobs any more."""
        shutil.rmtree(self._cycle_folder(reference_time), ignore_errors=True)

    def _cycle_folder(self, reference_time: str) -> Path:
        return self._folder / compact_time(parse_time(reference_time))
