"""The jobs of a database, read and never changed: beside a service, after it, and by the service itself.

DBOS waits for a database that is away until it is back, and may then wait for as long again. Whoever reads
here is told at once instead: nobody holds a thread, or a lock, for an answer that does not come.
"""

from __future__ import annotations

from typing import Any, Final

from dbos import DBOSClient, DBOSPortableJSONSerializer, WorkflowStatus

from service.cycle_index import CycleIndex
from service.databases import open_engine
from service.job import WORKFLOW, Job, job_of, jobs_since

_MOST_JOBS_OF_A_CYCLE: Final = 20


class JobReader:
    """A client of the job database of a URL, which a service has made. Raises what the database raises."""

    def __init__(self, url: str, index: CycleIndex) -> None:
        # DBOS has settings of its own for SQLite; a server is waited for as by the rest of the service.
        self._engine = open_engine(url) if url.startswith("postgresql") else None
        self._client = DBOSClient(
            system_database_url=url,
            system_database_engine=self._engine,
            serializer=DBOSPortableJSONSerializer(),
            retry_connection_errors=False,
        )
        self._index = index

    def find(self, job_id: str, *, with_stages: bool = False) -> Job | None:
        """As ``Jobs.find``."""
        return next(iter(self._jobs([job_id], with_stages=with_stages)), None)

    def of_cycle(self, reference_time: str, *, with_stages: bool = False) -> list[Job]:
        """As ``Jobs.of_cycle``; the times of the stages are there where they are asked for."""
        ids = self._index.jobs(reference_time)[:_MOST_JOBS_OF_A_CYCLE]
        return self._jobs(ids, with_stages=with_stages) if ids else []

    def since(self, moment: str) -> list[Job]:
        """As ``Jobs.since``."""
        return jobs_since(self.workflows, moment)

    def workflows(self, **selection: Any) -> list[WorkflowStatus]:
        """Those of jobs, by DBOS's names of what to look for."""
        return self.all_workflows(name=WORKFLOW, **selection)

    def all_workflows(self, **selection: Any) -> list[WorkflowStatus]:
        """Those of the shadow too."""
        return self._client.list_workflows(**selection)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.destroy()
        if self._engine is not None:
            self._engine.dispose()

    def _jobs(self, ids: list[str], *, with_stages: bool) -> list[Job]:
        """Those of them that are there, newest first."""
        found = [
            job_of(status, self._client.list_workflow_steps(status.workflow_id) if with_stages else None)
            for status in self.workflows(workflow_ids=ids)
            if status.input is not None
        ]
        return sorted(found, key=lambda job: job.created, reverse=True)
