"""Requests that the OpenAPI document makes possible, and such as break it: schemathesis on a real service.

Every answer has to be below 500, documented, with security headers, and a problem document from 400 on; at
the end the service has to be alive, ready, and of about the size that it was. Then very many submissions meet
a service with a full queue (``tests.torture.submissions``).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from service.problems import MEDIA_TYPE
from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import write_cycle
from tests.service.sample_server import Server
from tests.service.sample_service import reach
from tests.torture.campaign import parser, report
from tests.torture.submissions import QUEUED, Flood, flood
from training.progress import Progress

_ENDLESS: Final = "/events"
"""Its answer has no end; its own tests listen to it."""

_GROWTH_MIB: Final = 200

_SOUND: Final[Mapping[str, str]] = {
    "reference_time": "2026112200",
    "revision": "1",
    "layer": "raw",
    "key": "zarr.json",
    "coords": "POINT(126.0 38.0)",
    "bbox": "125.9,37.9,126.1,38.1",
    "f": "CoverageJSON",
    "name": "none",
    "model": "sample-0.1.0",
}
"""What means something to a service with the sample cycle; chance does not find it."""

_SERVICE_OF_MAPS: Final = (
    "REQUEST=GetCapabilities",
    "REQUEST=GetLegendGraphic&LAYER=raw",
    "REQUEST=GetMap&LAYERS=raw&STYLES=&CRS=CRS:84&BBOX=125,37,127,39&WIDTH=64&HEIGHT=64&FORMAT=image/png",
    "REQUEST=GetFeatureInfo&LAYERS=raw&QUERY_LAYERS=raw&STYLES=&CRS=CRS:84&BBOX=125,37,127,39&WIDTH=64"
    "&HEIGHT=64&FORMAT=image/png&I=1&J=1",
)
"""WMS says in its own document, not in OpenAPI's, what it takes."""
_ROUND: Final = 10
_SPOILED: Final = (
    "",
    "0",
    "-1",
    "nan",
    "1e400",
    "9" * 400,
    "a,b",
    "\x00",
    "EPSG:4326",
    "\u2028",
    "text/html",
    "'",
)
_MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@dataclass
class Findings:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0

    @property
    def requests(self) -> int:
        """How many were answered."""
        return self.statuses.total()

    def take(self, case: Any, response: Any) -> None:
        """Judge one answer."""
        self.statuses[response.status_code] += 1
        self.slowest_seconds = max(self.slowest_seconds, response.elapsed)
        for fault in faults(case, response):
            self.broken.append(f"{case.method} {response.request.url}: {fault}"[:500])

    def take_head(self, whole: Any, head: httpx.Response) -> None:
        """Judge an answer to HEAD by that to GET."""
        self.statuses[head.status_code] += 1
        if head.status_code != whole.status_code or head.content:
            self.broken.append(f"HEAD {head.url}: {head.status_code}, {len(head.content)} bytes")


def faults(case: Any, response: Any) -> Iterator[str]:
    """What is wrong with an answer."""
    status = response.status_code
    headers = {name.lower(): values[0] for name, values in response.headers.items()}
    if status >= 500:
        yield f"{status}: {response.text}"
    documented = {str(one) for one in case.operation.definition.raw["responses"]}
    # An impossible path is of no route, and an impossible head of no request: nothing documents these.
    if str(status) not in documented | {"404", "405"}:
        yield f"status {status} is not documented ({sorted(documented)}): {response.text[:200]}"
    if status >= 400 and headers.get("content-type") != MEDIA_TYPE:
        yield f"{status} without a problem document: {headers.get('content-type')}"
    if headers.get("x-content-type-options") != "nosniff":
        yield "no security headers"


def ask_everything(
    address: str, count: int, seed_number: int, *, minutes: float = float("inf"), quiet: bool = False
) -> Findings:
    """Up to ``count`` requests of each operation and mode to the service there, always the same for a seed.

    They go in rounds over all operations, so that an end by time leaves none out.
    """
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json", timeout=120)
    results: Iterator[Any] = schema.get_all_operations()
    operations = [one.ok() for one in results]
    asked = [
        (one, mode) for one in operations if one.path != _ENDLESS for mode in _MODES if _can_ask(one, mode)
    ]
    found = Findings()
    until = time.monotonic() + 60 * minutes
    rounds = -(-count // _ROUND)
    progress = Progress("requests", rounds * len(asked), "operations", quiet=quiet)
    for number in range(rounds):
        for operation, mode in asked:
            if time.monotonic() > until:
                return found
            _ask(operation, mode, found, min(count, _ROUND), seed_number + number)
            progress.advance(note=f"{found.requests} answers, {len(found.broken)} broken promises")
        _ask_for_maps(address, seed_number + number, min(count, _ROUND), found)
    return found


def _can_ask(operation: Any, mode: GenerationMode) -> bool:
    """Nothing can be wrong about an operation that takes texts in its path alone, or nothing."""
    return mode is GenerationMode.POSITIVE or bool(operation.query or operation.headers or operation.body)


def _ask(operation: Any, mode: GenerationMode, found: Findings, count: int, number: int) -> None:
    # Faults are collected, not raised: nothing is shrunk, and the next request is sent.
    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        _make_sound(case)
        response = case.call(timeout=120)
        found.take(case, response)
        if case.method.upper() == "GET" and _draw(case, "HEAD") % 4 == 0:
            # As it was sent: what the framework makes of a case is not what a client would.
            found.take_head(response, httpx.head(response.request.url, headers=_sent(response), timeout=120))

    with contextlib.suppress(Unsatisfiable):
        ask()


def _sent(response: Any) -> dict[str, str]:
    return {name: value for name, value in response.request.headers.items() if value is not None}


def _make_sound(case: Any) -> None:
    """Put what means something in the place of two values of three."""
    for values in (case.path_parameters, case.query):
        if not isinstance(values, dict):
            continue
        for name in values.keys() & _SOUND.keys():
            if _draw(case, name) % 3:
                values[name] = _SOUND[name]


def _draw(case: Any, name: str) -> int:
    """Always the same for a case."""
    return zlib.crc32(f"{name} {case.path_parameters} {case.query} {case.headers}".encode("utf-8", "replace"))


def _ask_for_maps(address: str, number: int, count: int, found: Findings) -> None:
    """Requests of WMS, each with one parameter spoiled."""
    draw = random.Random(number)
    for query in _SERVICE_OF_MAPS:
        for turn in range(count):
            pairs = [part.partition("=")[::2] for part in query.split("&")]
            if turn:
                spoiled = draw.randrange(len(pairs))
                pairs[spoiled] = (pairs[spoiled][0], draw.choice(_SPOILED))
            answer = httpx.get(f"{address}/wms", params=[("SERVICE", "WMS"), *pairs], timeout=120)
            found.statuses[answer.status_code] += 1
            if answer.status_code != 200:
                found.broken.append(f"GET {answer.url}: {answer.status_code}"[:500])


def resident_mib(process: int) -> int:
    """Memory of a process that is there, not that it asked for."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) // 1024


def submit_many_keys(folder: Path, count: int) -> Flood:
    """So many submissions to a service whose queue is full, with the one job at work held."""
    write_artefact(folder / "models")
    server = Server(folder, RAINPOST_MAX_QUEUED_JOBS=str(QUEUED))
    server.start()
    try:
        (worker,), (job,) = server.post_held(write_cycle(folder / "cycle"))
        found = flood(server.client, folder / "data", server.process.pid, count)
        os.kill(worker, signal.SIGCONT)
        ends = dict.fromkeys(found.waiting, "failed") | {job: "succeeded"}
        reach(lambda: {path: server.client.get(path).json()["state"] for path in ends} == ends)
    finally:
        server.stop(signal.SIGKILL)
    return found


def main() -> int:
    """The long form."""
    arguments = parser("requests", __doc__, count=200, unit="requests of each operation and kind")
    arguments.add_argument(
        "--keys", type=int, default=2000, help="submissions on a full queue, at the end (default: 2000)"
    )
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_artefact(folder / "models")
        (folder / "inbox").mkdir()
        server = Server(folder, RAINPOST_INPUT_FOLDERS=str(folder / "inbox"))
        server.start()
        try:
            server.post(write_cycle(folder / "cycle"), "wait=120").raise_for_status()
            before = resident_mib(server.process.pid)
            began = time.monotonic()
            address = f"http://127.0.0.1:{server.port}"
            found = ask_everything(address, options.count, options.seed, minutes=options.minutes)
            seconds = time.monotonic() - began
            after = resident_mib(server.process.pid)
            if not server.client.get("/readyz").is_success:
                found.broken.append("the service is not ready any more")
        finally:
            server.stop(signal.SIGTERM)
        errors = server.log.read_text().count("Traceback")
    if after - before > _GROWTH_MIB:
        found.broken.append(f"memory grew from {before} to {after} MiB")
    if errors:
        found.broken.append(f"{errors} tracebacks in the log")
    with tempfile.TemporaryDirectory() as name:
        flooded = submit_many_keys(Path(name), options.keys)
    figures = {
        "requests": found.requests,
        "by status": dict(sorted(found.statuses.items())),
        "slowest answer, s": round(found.slowest_seconds, 2),
        "memory before and after, MiB": (before, after),
        "seconds": round(seconds),
        "submissions on a full queue": dict(flooded.statuses),
        "more on disk and in memory after them, bytes": (
            flooded.disk_growth_bytes,
            flooded.memory_growth_bytes,
        ),
        "seconds of them": round(flooded.seconds, 1),
    }
    return report(figures, found.broken + flooded.broken)


if __name__ == "__main__":
    sys.exit(main())
