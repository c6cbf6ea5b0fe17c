"""PostgreSQL goes away for a while and comes back: what clients of a running service see, and what is kept.

Cycles arrive all the while, in the inbox and by POST. A job is at work when the database goes, and several
clients ask for everything again and again, as they do when something is wrong.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import numpy as np

from service.problems import MEDIA_TYPE
from service.schedule import now_utc
from service.store import Store
from service.times import compact_time, iso_time
from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import replaced, write_cycle
from tests.service.sample_postgresql import new_database, over_network, postgresql, start_server, stop_server
from tests.service.sample_server import Server
from tests.service.sample_service import reach
from tests.service.sample_wire import laid
from tests.torture.campaign import parser, report

CLIENTS: Final = 8
"""More than a small machine has threads for requests."""
MOST_SECONDS: Final = 10.0
"""In which everything is answered, whatever the answer."""
_PAUSE_SECONDS: Final = 0.2
_HOUR: Final = np.timedelta64(1, "h")

_ALWAYS: Final = ("/livez", "/cycles/latest/product", "/cycles/latest/layers", "/openapi.json")
"""What needs no database."""
_READY: Final = "/readyz"


@dataclass
class Outcome:
    """answers: while the database was away, by path and status. slowest: of these, s.

    ready, done: after the database was back, s until the service was ready, and until all that had come was
    published. broken: promises that were not kept.
    """

    answers: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    slowest_seconds: float = 0.0
    cycles: int = 0
    ready_seconds: float = 0.0
    done_seconds: float = 0.0
    broken: list[str] = field(default_factory=list)


class Clients:
    """Threads that ask for paths, one after the other, until they are stopped."""

    def __init__(self, server: Server, paths: tuple[str, ...], outcome: Outcome) -> None:
        self._address = str(server.client.base_url)
        self._paths = paths
        self._outcome = outcome
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    @contextmanager
    def asking(self) -> Iterator[None]:
        """For the length of a block."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in self._threads:
                thread.join()

    def _run(self, number: int) -> None:
        with httpx.Client(base_url=self._address, timeout=MOST_SECONDS) as client:
            turn = number
            while not self._stopping.wait(_PAUSE_SECONDS):
                self._ask(client, self._paths[turn % len(self._paths)])
                turn += 1

    def _ask(self, client: httpx.Client, path: str) -> None:
        began = time.monotonic()
        try:
            answer = client.get(path)
        except httpx.HTTPError as error:
            with self._lock:
                self._outcome.broken.append(f"{path}: {type(error).__name__}")
            return
        with self._lock:
            self._outcome.slowest_seconds = max(self._outcome.slowest_seconds, time.monotonic() - began)
            judge(path, answer, self._outcome)


def judge(path: str, answer: httpx.Response, outcome: Outcome) -> None:
    """Count an answer that came while the database was away, and say what is wrong about it."""
    kind = "/jobs/" if path.startswith("/jobs/") else path
    outcome.answers[kind][answer.status_code] += 1
    if path in _ALWAYS and not answer.is_success:
        outcome.broken.append(f"{path} needs no database: {answer.status_code}")
    if path == _READY:
        if answer.status_code != 503:
            outcome.broken.append(f"{path}: {answer.status_code} without a database")
    elif answer.is_error:
        problem = answer.json() if answer.headers.get("content-type") == MEDIA_TYPE else {}
        found = (answer.status_code, problem.get("reason"), problem.get("where"))
        if found != (503, "unavailable", "RAINPOST_DATABASE_URL"):
            outcome.broken.append(f"{path}: {found}")
        elif int(answer.headers.get("retry-after", 0)) <= 0:
            outcome.broken.append(f"{path}: 503 without Retry-After")


@dataclass(frozen=True)
class Database:
    """An empty one, and how it goes away and comes back."""

    url: str
    lose: Callable[[], None]
    bring_back: Callable[[], None]


@contextmanager
def losing_power(database_server: str) -> Iterator[Database]:
    """The server is killed, connections are refused, and it starts again with what it has on its disk."""
    url = over_network(new_database(database_server))
    yield Database(url, lambda: stop_server(database_server), lambda: start_server(database_server))


@contextmanager
def losing_packets(database_server: str) -> Iterator[Database]:
    """The server works on, and nothing that it says arrives."""
    with laid(new_database(database_server)) as wire:
        yield Database(wire.url, wire.cut, wire.mend)


WAYS: Final[Mapping[str, Callable[[str], AbstractContextManager[Database]]]] = {
    "power": losing_power,
    "packets": losing_packets,
}


def stay_away(folder: Path, database: Database, seconds: float, count: int) -> Outcome:
    """An outage of so many seconds, in which so many cycles come into the inbox and as many are posted."""
    outcome = Outcome()
    write_artefact(folder / "models")
    (folder / "inbox").mkdir()
    server = Server(folder, **_settings(folder, database.url))
    server.start()
    try:
        _go_through(server, database, seconds, count, outcome)
    finally:
        server.process.kill()
        server.process.wait()
        server.client.close()
    return outcome


def _settings(folder: Path, database_url: str) -> Mapping[str, str]:
    return {
        "RAINPOST_DATABASE_URL": database_url,
        "RAINPOST_INBOX": str(folder / "inbox"),
        "RAINPOST_INBOX_PATTERN": "%Y%m%d%H/*",
        "RAINPOST_INBOX_POLL_SECONDS": "0.5",
        "RAINPOST_INBOX_SETTLE_SECONDS": "0",
        "RAINPOST_CYCLE_HOURS": ",".join(str(hour) for hour in range(24)),
        "RAINPOST_CATCH_UP_HOURS": "240",
        "RAINPOST_MAX_QUEUED_JOBS": "1000",
    }


def _go_through(server: Server, database: Database, seconds: float, count: int, outcome: Outcome) -> None:
    newest = now_utc().astype("datetime64[h]").astype("datetime64[s]")
    times = [newest - number * _HOUR for number in range(2 + 2 * count)]
    cycles = {
        time_of: write_cycle(
            server.folder / "cycles" / compact_time(time_of), replaced(reference_time=time_of)
        )
        for time_of in times
    }
    (first, at_work), arriving, posted = times[:2], times[2 : 2 + count], times[2 + count :]
    service = server.process.pid
    server.post(cycles[first], "wait=120").raise_for_status()
    (worker,), (job,) = server.post_held(cycles[at_work])

    database.lose()
    os.kill(worker, signal.SIGCONT)
    began = time.monotonic()
    paths = (job, "/cycles", "/cycles/latest", "/verification", "/metrics", "/models", _READY, *_ALWAYS)
    try:
        with Clients(server, paths, outcome).asking():
            for number in range(count):
                _put(server.folder / "inbox", arriving[number], cycles[arriving[number]])
                judge("POST /correct", server.post(cycles[posted[number]], "wait=0"), outcome)
                left = began + seconds * (number + 1) / count - time.monotonic()
                time.sleep(max(left, 0.0))
    finally:
        database.bring_back()
    back = time.monotonic()
    reach(lambda: server.client.get(_READY).is_success)
    outcome.ready_seconds = time.monotonic() - back
    for time_of in posted:
        server.post(cycles[time_of], "wait=0").raise_for_status()
    store = Store(server.folder / "data" / "products")
    reach(lambda: all(store.revisions(time_of) for time_of in times))
    outcome.done_seconds = time.monotonic() - back
    reach(lambda: bool(server.client.get(job).json()["state"] == "succeeded"))
    outcome.cycles = len(times)
    outcome.broken += [
        f"{iso_time(time_of)} was published {len(store.revisions(time_of))} times"
        for time_of in times
        if len(store.revisions(time_of)) != 1
    ]
    if (server.process.pid, server.process.poll()) != (service, None):
        outcome.broken.append("the service went down")


def _put(inbox: Path, time_of: np.datetime64, paths: list[Path]) -> None:
    place = inbox / compact_time(time_of)[:11].replace("T", "")
    place.mkdir()
    for path in paths:
        (place / path.name).write_bytes(path.read_bytes())


def main() -> int:
    """Run the campaign."""
    arguments = parser("outages", __doc__, count=6, unit="cycles of the inbox, and as many posted")
    arguments.add_argument(
        "--seconds", type=float, default=60.0, help="how long the database is away (default: 60)"
    )
    arguments.add_argument(
        "--losing", choices=sorted(WAYS), default="power", help="how it goes away (default: power)"
    )
    options = arguments.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        postgresql() as database_server,
        WAYS[options.losing](database_server) as database,
    ):
        outcome = stay_away(Path(name), database, options.seconds, options.count)
    figures = {
        "seconds without a database": options.seconds,
        "answers meanwhile": {path: dict(statuses) for path, statuses in sorted(outcome.answers.items())},
        "slowest answer, s": round(outcome.slowest_seconds, 2),
        "ready again after, s": round(outcome.ready_seconds, 1),
        "all published after, s": round(outcome.done_seconds, 1),
        "cycles": outcome.cycles,
    }
    return report(figures, outcome.broken)


if __name__ == "__main__":
    sys.exit(main())
