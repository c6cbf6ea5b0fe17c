"""Notes of jobs that are about to be queued anew, so that none is lost between its end and its new beginning.

DBOS queues a workflow under an identity only once: the old one has to be deleted first, and a kill may come
in between. The note is written before and removed after.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from service.durability import write_durably
from service.stages import Task

_NOTE: Final = ".json"


class Renewal(BaseModel):
    """What a job is queued with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task
    attributes: dict[str, Any]
    priority: int


class Renewals:
    """The notes, one file a job; under the lock of submissions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self, job_id: str, renewal: Renewal) -> None:
        """Keeps what a job is to be queued with."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_durably(self._path(job_id), lambda path: path.write_text(renewal.model_dump_json()))

    def left(self) -> Iterator[tuple[str, Renewal]]:
        """Jobs whose renewal did not come to its end."""
        for path in sorted(self._folder.glob(f"*{_NOTE}")):
            yield path.stem, Renewal.model_validate_json(path.read_text())

    def done(self, job_id: str) -> None:
        """The job is in the queue."""
        self._path(job_id).unlink()

    def _path(self, job_id: str) -> Path:
        return self._folder / f"{job_id}{_NOTE}"
