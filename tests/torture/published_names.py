"""What happens to files under a published name, as the kernel tells it: nothing may but a rename.

Whoever writes a file in place, or copies one there, has it for a moment under its name without its content.
A reader meets that moment by luck alone; the kernel (inotify, of Linux) keeps every event until it is asked.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

PUBLISHED: Final = re.compile(r"r\d+\.(nc|json|npy|original)")
"""Names of the files of a revision (``service.store``, ``service.observation_store``)."""

_MODIFY: Final = 0x2
_CLOSE_WRITE: Final = 0x8
_MOVED_TO: Final = 0x80
_CREATE: Final = 0x100
_OVERFLOW: Final = 0x4000
_BREACHES: Final = {
    _CREATE: "appeared without a rename",
    _MODIFY: "was written to under its name",
    _CLOSE_WRITE: "was open for writing under its name",
}
_EVENT: Final = struct.Struct("iIII")
_BUFFER_BYTES: Final = 1 << 20


class PublishedNames:
    """Watches folders; to be closed. renames: how many files got a published name as they should.

    broken: the others, and all that was done to files which have their name already.
    """

    def __init__(self) -> None:
        self.renames = 0
        self.broken: list[str] = []
        library = ctypes.CDLL(None, use_errno=True)
        self._add: Callable[..., int] = library.inotify_add_watch
        self._descriptor = _valid(library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._folders: dict[int, Path] = {}

    def watch(self, folder: Path) -> None:
        """From now on; the folder is made if need be, so that nothing comes to be in it unseen."""
        folder.mkdir(parents=True, exist_ok=True)
        mask = _MODIFY | _CLOSE_WRITE | _MOVED_TO | _CREATE
        self._folders[_valid(self._add(self._descriptor, os.fsencode(folder), mask))] = folder

    def look(self) -> None:
        """Take in what happened since the last look."""
        while True:
            try:
                events = os.read(self._descriptor, _BUFFER_BYTES)
            except BlockingIOError:
                return
            while events:
                number, mask, _, length = _EVENT.unpack_from(events)
                name = os.fsdecode(events[_EVENT.size : _EVENT.size + length].rstrip(b"\0"))
                events = events[_EVENT.size + length :]
                self._take(number, mask, name)

    def close(self) -> None:
        """End all watches."""
        os.close(self._descriptor)

    def _take(self, number: int, mask: int, name: str) -> None:
        if mask & _OVERFLOW:
            self.broken.append("more happened than the kernel keeps: look more often")
        if PUBLISHED.fullmatch(name) is None:
            return
        self.renames += bool(mask & _MOVED_TO)
        for bit, breach in _BREACHES.items():
            text = f"{self._folders[number] / name} {breach}"
            if mask & bit and text not in self.broken:
                self.broken.append(text)


def watching() -> closing[PublishedNames]:
    """For the length of a block."""
    return closing(PublishedNames())


def _valid(number: int) -> int:
    if number < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), "inotify")
    return number
