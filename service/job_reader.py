"""The jobs of a database, read without being a service: nothing is begun, resumed or changed."""

from __future__ import annotations

from typing import Any

from dbos import DBOSClient, DBOSPortableJSONSerializer, WorkflowStatus

from service.cycle_index import CycleIndex
from service.job import WORKFLOW, Job, job_of, jobs_since


class JobReader:
    """A client of the job database of a URL, which a service has made. Raises what the database raises."""

    def __init__(self, url: str, index: CycleIndex) -> None:
        self._client = DBOSClient(
            system_database_url=url, serializer=DBOSPortableJSONSerializer(), retry_connection_errors=False
        )
        self._index = index

    def of_cycle(self, reference_time: str) -> list[Job]:
        """As ``Jobs.of_cycle``, without the times of the stages."""
        ids = self._index.jobs(reference_time)
        found = [job_of(status) for status in self._list(workflow_ids=ids)] if ids else []
        return sorted(found, key=lambda job: job.created, reverse=True)

    def since(self, moment: str) -> list[Job]:
        """As ``Jobs.since``."""
        return jobs_since(self._list, moment)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.destroy()

    def _list(self, **selection: Any) -> list[WorkflowStatus]:
        return self._client.list_workflows(name=WORKFLOW, **selection)
