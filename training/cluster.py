"""The same function over many inputs in worker processes, with the results in the order of the inputs.

Dask (``distributed``) starts the processes here, or uses those of a scheduler elsewhere. A process that dies
costs its input and nothing else: libraries that decode files can be brought down by a malformed one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, wait

from service.errors import WorkerDied

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_AHEAD: Final = 4
"""Per thread of the cluster: enough that nobody waits, few enough that results do not pile up."""


@contextmanager
def connected(workers: int, scheduler: str | None = None) -> Iterator[Client | None]:
    """A client of the scheduler at this address or, without one, of as many processes here as ``workers``.

    None for 0 workers: ``in_order`` then works in this process.
    """
    if scheduler is not None:
        with Client(scheduler) as client:
            yield client
        return
    if not workers:
        yield None
        return
    # One death may be the fault of another task of the same process; ``in_order`` gives a second chance.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def in_order(
    client: Client | None, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[Result | WorkerDied]:
    """``function`` of every task, in the order of the tasks.

    Where the processes that worked on a task died, the error stands in its place. Exceptions of the function
    are raised.
    """
    if client is None:
        yield from map(function, tasks)
        return
    limit = TASKS_AHEAD * max(sum(client.nthreads().values()), 1)
    pending: deque[tuple[Task, Future[Result]]] = deque()
    for task in tasks:
        pending.append((task, client.submit(function, task, pure=False)))
        if len(pending) >= limit:
            result = _result(client, function, pending)
            yield result
    while pending:
        result = _result(client, function, pending)
        yield result


def _result(
    client: Client, function: Callable[[Task], Result], pending: deque[tuple[Task, Future[Result]]]
) -> Result | WorkerDied:
    """Result of the first task; one under suspicion runs again alone, so that only the guilty is blamed."""
    task, future = pending.popleft()
    try:
        result: Result = future.result()
    except KilledWorker:
        wait([other for _, other in pending])
    else:
        return result
    try:
        result = client.submit(function, task, pure=False).result()
    except KilledWorker as error:
        return WorkerDied(
            "The processes that worked on this died",
            where=str(task),
            got=str(error),
            advice="the input brings the decoding library down, or needs more memory than a worker has",
        )
    return result
