"""Very many submissions on a full queue. A job is known by its content: each other content is another key."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from tests.torture.memory import peak_bytes

QUEUED: Final = 16
"""As many as may wait (RAINPOST_MAX_QUEUED_JOBS)."""

_MEBIBYTE: Final = 1024**2
MOST_DISK_BYTES: Final = _MEBIBYTE
MOST_MEMORY_BYTES: Final = 32 * _MEBIBYTE
_BODY: Final = b"x" * 10_000


@dataclass
class Flood:
    """What came of it. waiting: paths of the jobs in the queue. broken: promises that were not kept."""

    waiting: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    last: httpx.Response | None = None
    disk_growth_bytes: int = 0
    memory_growth_bytes: int = 0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)


def flood(client: httpx.Client, data_folder: Path, process: int, count: int) -> Flood:
    """Fill the queue of a service whose one job stands still, and submit so many times more.

    Every other submission is a new key, the others repeat one that waits. process: of the service.
    """
    found = Flood()
    for number in range(QUEUED):
        answer = client.post("/correct", content=_content(number))
        answer.raise_for_status()
        found.waiting.append(answer.headers["location"])
    if client.post("/correct", content=_content(0)).status_code != 429:
        found.broken.append("the queue is not full")
    disk, memory, began = size_bytes(data_folder), peak_bytes(process), time.monotonic()
    for number in range(count):
        found.last = client.post("/correct", content=_content(0 if number % 2 else QUEUED + number))
        found.statuses[found.last.status_code] += 1
    found.seconds = time.monotonic() - began
    found.disk_growth_bytes = size_bytes(data_folder) - disk
    found.memory_growth_bytes = peak_bytes(process) - memory
    found.broken += _breaches(found, data_folder, count)
    return found


def _breaches(found: Flood, data_folder: Path, count: int) -> list[str]:
    broken: list[str] = []
    if found.statuses != {429: count}:
        broken.append(f"answers other than 429: {dict(found.statuses)}")
    if found.last is None or int(found.last.headers.get("retry-after", 0)) <= 0:
        broken.append("no Retry-After")
    if found.disk_growth_bytes >= MOST_DISK_BYTES:
        broken.append(f"{found.disk_growth_bytes} bytes more on disk")
    if found.memory_growth_bytes >= MOST_MEMORY_BYTES:
        broken.append(f"{found.memory_growth_bytes} bytes more in memory")
    if left := list((data_folder / "work" / "uploads").iterdir()):
        broken.append(f"{len(left)} uploads were left")
    return broken


def size_bytes(folder: Path) -> int:
    """Of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _content(number: int) -> bytes:
    return f"GRIB {number}".encode() + _BODY
