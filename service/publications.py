"""What is published while somebody listens: products and observations, by whichever process.

The folders of the stores are the one thing that all processes share, so they are looked at: one listing
of each store every few seconds while there is a listener, and of a cycle's or an hour's own folder only where
its time of change has moved.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from service.expiry import is_expired
from service.times import iso_time, parse_time

_logger = logging.getLogger(__name__)

Kind = Literal["published", "observed"]

_FOLDER: Final = re.compile(r"\d{8}T\d{6}Z")

_SETTLED_NS: Final = 3_000_000_000
"""File systems count time in steps: a folder that changed so lately may change again within the same step."""

_WAITING_LIMIT: Final = 256
"""A listener that lets more pile up is let go; it comes back and reads the lists anew."""


@dataclass(frozen=True)
class Publication:
    """A new revision. time: the reference time of a product, the valid time of an observation."""

    kind: Kind
    time: str
    revision: int


@dataclass
class _FolderLook:
    """The revisions below a store's folder, and which of them are new since the last look."""

    kind: Kind
    folder: Path
    _changed: dict[str, int] = field(default_factory=dict)
    _revisions: dict[str, frozenset[int]] = field(default_factory=dict)

    def look(self) -> list[Publication]:
        """What is new, in the order of time and revision."""
        found: list[Publication] = []
        with os.scandir(self.folder) as entries:
            folders = {
                entry.name: entry.stat().st_mtime_ns for entry in entries if _FOLDER.fullmatch(entry.name)
            }
        for name in self._revisions.keys() - folders.keys():
            # Removed for its age; published again it is new.
            del self._revisions[name]
            self._changed.pop(name, None)
        for name in sorted(folders):
            if self._changed.get(name) == folders[name]:
                continue
            revisions = _revisions(self.folder / name)
            new = revisions - self._revisions.get(name, frozenset())
            found += [Publication(self.kind, iso_time(parse_time(name)), one) for one in sorted(new)]
            self._revisions[name] = revisions
            if time.time_ns() - folders[name] > _SETTLED_NS:
                self._changed[name] = folders[name]
        return found


class Publications:
    """Tells listeners what is published. All methods belong to one event loop.

    folders: of the stores. poll_seconds: how often they are looked at.
    """

    def __init__(self, folders: Mapping[Kind, Path], poll_seconds: float) -> None:
        self._folders = folders
        self._poll_seconds = poll_seconds
        self._listeners: set[asyncio.Queue[Publication | None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._closed = False

    @asynccontextmanager
    async def listener(self) -> AsyncIterator[asyncio.Queue[Publication | None]]:
        """A queue of all that is published from now on; None in it is the end."""
        queue: asyncio.Queue[Publication | None] = asyncio.Queue(_WAITING_LIMIT)
        if self._closed:
            _end(queue)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        self._listeners.add(queue)
        try:
            await self._begun.wait()
            yield queue
        finally:
            self._listeners.discard(queue)
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = None
                self._begun.clear()

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def close(self) -> None:
        """Let all listeners go, those that are still to come too."""
        self._closed = True
        for queue in self._listeners:
            _end(queue)

    async def _look(self) -> None:
        """What is there already is not new."""
        looks = [_FolderLook(kind, folder) for kind, folder in self._folders.items()]
        while True:
            try:
                found = [one for look in looks for one in await asyncio.to_thread(look.look)]
            except OSError:
                _logger.exception("the stores cannot be looked at")
                found = []
            if self._begun.is_set():
                for one in found:
                    self._tell(one)
            self._begun.set()
            await asyncio.sleep(self._poll_seconds)

    def _tell(self, publication: Publication) -> None:
        for queue in tuple(self._listeners):
            if queue.full():
                self._listeners.discard(queue)
                _end(queue)
            else:
                queue.put_nowait(publication)


def _end(queue: asyncio.Queue[Publication | None]) -> None:
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)


def _revisions(folder: Path) -> frozenset[int]:
    """Of which there is a record: what has none is not published."""
    if is_expired(folder):
        return frozenset()
    names = (path.stem.removeprefix("r") for path in folder.glob("r*.json"))
    return frozenset(int(name) for name in names if name.isdigit())
