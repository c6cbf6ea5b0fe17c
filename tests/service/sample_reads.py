"""What a reader of GRIB files takes from them: every read of a file, by counting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from unittest.mock import patch

from service.grib_messages import DATA, Extent, Octets, messages


@dataclass
class Reads:
    """extents: what was read, by the name of the file, in order."""

    extents: dict[str, list[Extent]] = field(default_factory=dict)

    def bytes_of(self, path: Path) -> int:
        """All that was read of a file; what was read twice counts twice."""
        return sum(one.length for one in self.extents.get(path.name, []))

    def within(self, path: Path, part: Extent) -> list[Extent]:
        """What was read of a part of a file."""
        found = []
        for one in self.extents.get(path.name, []):
            start, stop = max(one.start, part.start), min(one.start + one.length, part.start + part.length)
            if start < stop:
                found.append(Extent(start, stop - start))
        return found


@contextmanager
def counted_reads() -> Iterator[Reads]:
    """Counts while the context lasts, in all threads."""
    reads, lock, read = Reads(), Lock(), os.pread

    def counted(descriptor: int, length: int, start: int) -> bytes:
        octets = read(descriptor, length, start)
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        with lock:
            reads.extents.setdefault(name, []).append(Extent(start, len(octets)))
        return octets

    with patch.object(os, "pread", counted):
        yield reads


def packed_values(path: Path) -> list[Extent]:
    """Section 7 of every field, in file order."""
    with path.open("rb") as file:
        return [one[DATA] for message in messages(Octets(file), path.name) for one in message.fields]
