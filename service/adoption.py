"""Jobs that nobody works on any more, put back into their queues."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from dbos import DBOS, WorkflowStatus

from service.presence import Presence

_logger = logging.getLogger(__name__)


class Adoption:
    """What one process does for them.

    version: of its workflows. at_work: ids of those that run in it. workflows: by DBOS's names of what to
    look for; raises where the database does not answer.
    """

    def __init__(
        self,
        presence: Presence,
        version: str,
        at_work: Callable[[], Collection[str]],
        workflows: Callable[..., list[WorkflowStatus]],
    ) -> None:
        self._presence = presence
        self._version = version
        self._at_work = at_work
        self._workflows = workflows
        self._suspects: set[str] = set()

    def look(self) -> None:
        """Put back what was found. Whoever cancels jobs must not do so meanwhile."""
        pending = self._workflows(status="PENDING", load_input=False, load_output=False)
        self._of_the_gone(pending)
        self._of_this_process(pending)

    def _of_the_gone(self, pending: Sequence[WorkflowStatus]) -> None:
        owners = {status.executor_id for status in pending}
        gone = [owner for owner in owners if owner is not None and not self._presence.is_alive(owner)]
        if gone:
            _logger.warning("going on with the jobs of %d processes that are gone", len(gone))
            # DBOS has no public way to say which executors are dead. The hand-over is atomic: of several
            # processes that do this one gets the job, and the steps of whoever had it are no longer kept.
            DBOS._recover_pending_workflows(gone)

    def _of_this_process(self, pending: Sequence[WorkflowStatus]) -> None:
        """Those whose end could not be written down, as on a full disk: the database has them at work."""
        own = {
            status.workflow_id: status
            for status in pending
            if status.executor_id == self._presence.id and status.app_version == self._version
        }
        found = own.keys() - set(self._at_work())
        # What was just taken from a queue, or just ended, looks the same for a moment, but not twice.
        for workflow_id in found & self._suspects:
            _logger.warning("going on with job %s, whose end was not kept", workflow_id[:12])
            DBOS.resume_workflow(workflow_id, queue_name=own[workflow_id].queue_name)
        self._suspects = found - self._suspects
