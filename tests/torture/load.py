"""Reads by many clients at once, while one cycle after another is computed.

``rainpost serve`` with its default settings and the model that is shipped; simulated cycles on the full grid
are handed in one after another by reference, so that always one is at work. Each client has a connection of
its own and asks again as soon as it has its answer. What for is drawn anew each time: of 20 requests 8 are
for a point, 3 for the NetCDF file, 4 for the picture of a lead, 3 for a point by EDR and 2 for a map by WMS,
all of the newest cycle. The lag of the event loop is what ``/livez`` takes, which it answers by itself: a
process of its own asks every 20 ms. The campaign runs on the same cores as the service, and takes its part of
them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from tests.bench.publication import Cycles
from tests.conftest import ROOT
from tests.service.sample_server import Server
from tests.torture.campaign import report
from tests.torture.liveness import answer_times
from training.cycle_files import write_grib2
from training.progress import Progress
from training.simulate import FULL, simulate_cycle

SIZES: Final = (10, 100, 500)
_FIRST_TIME: Final = np.datetime64("2022-08-09T18", "s")
_INTERVAL: Final = np.timedelta64(6, "h")
_LIVENESS: Final = "event loop"
_REFUSED: Final = 503
"""With Retry-After: too many connections, RAINPOST_MAX_CONNECTIONS. Promised, and no fault."""

NextCycle = Callable[[], Sequence[Path]]
"""Makes the files of the next cycle, once the last one is done."""


@dataclass(frozen=True)
class Place:
    """Where clients look. box: west, south, east, north in degrees. leads_hours: of the model."""

    box: tuple[float, float, float, float]
    leads_hours: tuple[int, ...]


KOREA: Final = Place((124.5, 34.0, 130.0, 38.5), tuple(range(25, 31)))


@dataclass
class Answers:
    """seconds: by kind of request. errors: statuses but 200, failures by name. cycles: seconds of each."""

    clients: int
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    cycles: list[float] = field(default_factory=list)
    duration_seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many of clients were answered."""
        return sum(len(taken) for kind, taken in self.seconds.items() if kind != _LIVENESS)


def requests(place: Place, draw: random.Random) -> Iterator[tuple[str, str, str]]:
    """Kind, address and media type of one request after another."""
    west, south, east, north = place.box
    while True:
        lon, lat = draw.uniform(west, east), draw.uniform(south, north)
        lead = draw.choice(place.leads_hours)
        width, height = (east - west) / 4, (north - south) / 4
        # Some of the views that maps in tiles would ask for: others have asked for the same.
        left, lower = west + draw.randrange(4) * width, south + draw.randrange(4) * height
        kinds = {
            "point": (8, f"/cycles/latest/product?lat={lat:.3f}&lon={lon:.3f}", "application/json"),
            "NetCDF": (3, "/cycles/latest/product", "application/x-netcdf"),
            "PNG": (4, f"/cycles/latest/product?lead={lead}", "image/png"),
            "EDR position": (
                3,
                f"/collections/precipitation/position?coords=POINT({lon:.3f} {lat:.3f})",
                "*/*",
            ),
            "WMS GetMap": (
                2,
                "/wms?SERVICE=WMS&VERSION=1.3.0&REQUEST=GetMap&LAYERS=probability-10&STYLES=&CRS=CRS:84&BBOX="
                f"{left:g},{lower:g},{left + width:g},{lower + height:g}&WIDTH=256&HEIGHT=256"
                "&FORMAT=image/png",
                "*/*",
            ),
        }
        kind = draw.choices(list(kinds), [weight for weight, _, _ in kinds.values()])[0]
        yield kind, *kinds[kind][1:]


async def ask(address: str, place: Place, clients: int, seconds: float, seed: int) -> Answers:
    """So many clients at once, for so long."""
    answers = Answers(clients)
    started = time.monotonic()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        address, connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(120)
    ) as session:

        async def client(number: int) -> None:
            for kind, path, accepted in requests(place, random.Random(f"{seed} {clients} {number}")):
                if time.monotonic() - started > seconds:
                    return
                await _ask_once(session, kind, path, accepted, answers)

        await asyncio.gather(*(client(number) for number in range(clients)))
    answers.duration_seconds = time.monotonic() - started
    return answers


async def _ask_once(
    session: aiohttp.ClientSession, kind: str, path: str, accepted: str, answers: Answers
) -> None:
    began = time.monotonic()
    try:
        async with session.get(path, headers={"Accept": accepted}) as answer:
            content = await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        answers.errors[type(error).__name__] += 1
        answers.broken.append(f"{answers.clients} clients, {kind}: {error!r}"[:300])
        return
    answers.seconds[kind].append(time.monotonic() - began)
    if answer.status != 200:
        answers.errors[str(answer.status)] += 1
    if answer.status not in {200, _REFUSED} or b"ServiceException" in content[:200]:
        answers.broken.append(f"{answers.clients} clients, {path}: {answer.status} {content[:200]!r}")


class Feeder:
    """A thread that hands in one cycle after another. seconds: what each took."""

    def __init__(self, server: Server, next_cycle: NextCycle) -> None:
        self._server = server
        self._next_cycle = next_cycle
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder")
        self._client = httpx.Client(base_url=server.client.base_url, timeout=300)
        self.seconds: list[float] = []
        self.broken: list[str] = []

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def hand_in(self) -> None:
        """The next cycle, and wait for its product."""
        inputs = [{"uri": str(path)} for path in self._next_cycle()]
        began = time.monotonic()
        answer = self._client.post("/correct", json={"inputs": inputs}, headers={"Prefer": "wait=240"})
        self.seconds.append(time.monotonic() - began)
        if answer.status_code != 200:
            self.broken.append(f"a cycle: {answer.status_code} {answer.text[:300]}")

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.hand_in()
            except httpx.TransportError as error:
                self.broken.append(f"a cycle: {error!r}")


def run(
    server: Server, place: Place, next_cycle: NextCycle, sizes: Sequence[int], seconds: float, seed: int = 1
) -> list[Answers]:
    """Answers for each number of clients, of a server that has started; the first cycle comes before."""
    found = []
    progress = Progress("load", len(sizes), "sizes")
    with Feeder(server, next_cycle) as feeder:
        while not feeder.seconds:
            time.sleep(0.05)
        for clients in sizes:
            cycles = len(feeder.seconds)
            with answer_times(server.port) as lag:
                if clients:
                    answers = asyncio.run(ask(str(server.client.base_url), place, clients, seconds, seed))
                else:
                    time.sleep(seconds)
                    answers = Answers(0, duration_seconds=seconds)
            answers.seconds[_LIVENESS] = lag
            # The one at work belongs to it too, and is the only one where none ends meanwhile.
            while len(feeder.seconds) == cycles:
                time.sleep(0.05)
            answers.cycles = feeder.seconds[cycles:]
            found.append(answers)
            progress.advance(note=f"{clients} clients, {answers.requests} requests")
    found[-1].broken += feeder.broken
    return found


def table(found: Sequence[Answers]) -> Table:
    """Milliseconds by clients and kind of request."""
    made = Table(title="milliseconds, with a cycle at work")
    for column in ("clients", "", "requests", "a second", "p50", "p99", "longest"):
        made.add_column(column, justify="right")
    for answers in found:
        for kind, taken in sorted(answers.seconds.items()):
            p50, p99 = 1000 * np.percentile(taken, [50, 99])
            rate = "" if kind == _LIVENESS else f"{len(taken) / answers.duration_seconds:.1f}"
            shown = (f"{p50:,.1f}", f"{p99:,.1f}", f"{1000 * max(taken):,.1f}")
            made.add_row(str(answers.clients), kind, str(len(taken)), rate, *shown)
    return made


def simulated_cycles(folder: Path) -> NextCycle:
    """One cycle of the full grid in 14 files, dated anew each time."""
    cycle = simulate_cycle(1, _FIRST_TIME, tuple(range(24, 31)), FULL)
    files = Cycles(write_grib2(cycle, folder))
    numbers = itertools.count()

    def next_cycle() -> Sequence[Path]:
        files.date(_FIRST_TIME + next(numbers) * _INTERVAL)
        return files.paths

    return next_cycle


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.load", description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=list(SIZES), help="default: 10 100 500")
    parser.add_argument("--seconds", type=float, default=20, help="for each number of clients (default: 20)")
    parser.add_argument("--seed", type=int, default=1, help="of what clients ask for (default: 1)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cycle").mkdir()
        next_cycle = simulated_cycles(folder / "cycle")
        server = Server(
            folder,
            RAINPOST_MODELS_FOLDER=str(ROOT / "models"),
            RAINPOST_THREADS="0",
            RAINPOST_INPUT_FOLDERS=str(folder / "cycle"),
        )
        server.start()
        try:
            # Without clients first: what a cycle alone does to the event loop.
            found = run(server, KOREA, next_cycle, [0, *options.clients], options.seconds, options.seed)
        finally:
            server.stop(signal.SIGTERM)
        tracebacks = server.log.read_text().count("Traceback")
    Console(width=100).print(table(found))
    figures = {
        f"{one.clients} clients": {
            "requests a second": round(one.requests / one.duration_seconds, 1),
            "errors": dict(one.errors),
            "cycles": len(one.cycles),
            "seconds of a cycle": round(float(np.median(one.cycles)), 1),
        }
        for one in found
    }
    broken = [one for answers in found for one in answers.broken]
    if tracebacks:
        broken.append(f"{tracebacks} tracebacks in the log")
    return report(figures, broken)


if __name__ == "__main__":
    sys.exit(main())
