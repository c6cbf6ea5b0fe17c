"""What a running service takes up: memory, threads and open files of its processes, and room on the disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.service.sample_server import children

_LEDGER: Final = "ledger.sqlite"
_BLOCK_BYTES: Final = 512
"""Of st_blocks, whatever the file system has."""


@dataclass(frozen=True)
class Footprint:
    """At one moment. resident_bytes: memory that is there. disk_entries: files and folders.

    ledger_bytes: of the counts of verification, which are kept for ever and are no part of disk_bytes.
    """

    resident_bytes: int
    threads: int
    open_files: int
    worker_resident_bytes: int
    worker_threads: int
    worker_open_files: int
    disk_bytes: int
    disk_entries: int
    ledger_bytes: int


def footprint(process: int, data_folder: Path) -> Footprint:
    """Of a service, of all processes that it started, and of its data folder."""
    workers = _descendants(process)
    sizes = disk_use(data_folder)
    ledger_bytes = sum(size for path, size in sizes.items() if path.name.startswith(_LEDGER))
    return Footprint(
        resident_bytes([process]),
        _entries(process, "task"),
        _entries(process, "fd"),
        resident_bytes(workers),
        sum(_entries(worker, "task") for worker in workers),
        sum(_entries(worker, "fd") for worker in workers),
        sum(sizes.values()) - ledger_bytes,
        len(sizes),
        ledger_bytes,
    )


def resident_bytes(processes: Sequence[int]) -> int:
    """Memory that is there of processes, shared memory once for each; 0 of those that are gone."""
    total = 0
    for process in processes:
        with suppress(OSError):
            text = Path(f"/proc/{process}/status").read_text()
            total += 1024 * int(text.partition("VmRSS:")[2].split()[0])
    return total


def disk_use(folder: Path) -> dict[Path, int]:
    """Blocks, in bytes, of each file and folder below a folder."""
    sizes: dict[Path, int] = {}
    for place, folders, files in os.walk(folder):
        for path in (Path(place) / name for name in (*folders, *files)):
            # Gone is what was removed, or got its final name, in between.
            with suppress(FileNotFoundError):
                sizes[path] = _BLOCK_BYTES * path.lstat().st_blocks
    return sizes


def _entries(process: int, what: str) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{process}/{what}").iterdir())
    except OSError:
        return 0


def _descendants(process: int) -> list[int]:
    found = children(process)
    return found + [one for child in found for one in _descendants(child)]
