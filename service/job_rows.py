"""What the job database and the index of cycles know of jobs that nobody will ask for again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dbos import DBOS, WorkflowStatus

from service.cycle_index import CycleIndex
from service.durability import exclusive
from service.job import CYCLE, UNFINISHED, WORKFLOW
from service.times import iso_time

_AT_ONCE: Final = 500
"""Rows that one round of the database removes: it holds up submissions for so long."""


class JobRows:
    """Forgets jobs. work: the folder of jobs at work. Only where DBOS runs."""

    def __init__(self, work: Path) -> None:
        self._submission_lock = work / ".submission"
        self._index = CycleIndex(work / "cycles")

    def forget_cycles_before(self, horizon: str, before: datetime) -> int:
        """Forget the cycles whose reference time lies before the horizon (in ISO 8601); how many.

        A cycle stays while one of its jobs, or of its shadows, is not finished or came in after ``before``.
        """
        forgotten = 0
        for cycle in self._index.all_cycles():
            name = iso_time(cycle)
            if name >= horizon:
                continue
            # What is submitted in between is either known here, or comes after the cycle is forgotten.
            with exclusive(self._submission_lock):
                rows = _rows(self._index.jobs(name))
                if all(_is_over(row, before) for row in rows):
                    _delete([row.workflow_id for row in rows])
                    # Last: after a kill in between the next round finds the cycle again, without rows.
                    self._index.forget(name)
                    forgotten += 1
        return forgotten

    def forget_strays(self, before: datetime) -> int:
        """Forget jobs that ended before a moment and never came to have a cycle; how many."""
        with exclusive(self._submission_lock):
            rows = DBOS.list_workflows(
                name=WORKFLOW,
                completed_before=before.isoformat(),
                load_input=False,
                load_output=False,
                limit=_AT_ONCE,
            )
            strays = [
                row.workflow_id
                for row in rows
                if row.status not in UNFINISHED and (row.attributes or {}).get(CYCLE) is None
            ]
            _delete(strays)
        return len(strays)


def _rows(job_ids: Sequence[str]) -> list[WorkflowStatus]:
    """Of the jobs and of the shadows that followed them, whose identities begin with those of the jobs."""
    if not job_ids:
        return []
    return DBOS.list_workflows(workflow_id_prefix=list(job_ids), load_input=False, load_output=False)


def _is_over(row: WorkflowStatus, before: datetime) -> bool:
    created = datetime.fromtimestamp((row.created_at or 0) / 1000, UTC)
    return row.status not in UNFINISHED and created < before


def _delete(workflow_ids: list[str]) -> None:
    if workflow_ids:
        DBOS.delete_workflows(workflow_ids)
