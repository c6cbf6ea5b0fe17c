"""The service processes that share a data folder, and whether each of them is still there.

::

    .lock               held by all processes together, or by one alone
    .leads-<duty>       held by the one process that does what only one has to do
    processes/<id>      held by the process of that name

These are locked files: the kernel lets go of them when their holder ends, however it ends, and tells the
others at once. On SQLite a process is alone; on PostgreSQL any number share the work and the folder.
"""

from __future__ import annotations

import fcntl
import uuid
from pathlib import Path
from typing import BinaryIO, Final

from service.errors import SettingsError

_ALONE: Final = "local"


class Presence:
    """This process among those of a data folder. id: under which the job database knows it."""

    def __init__(self, data_folder: Path, *, shared: bool) -> None:
        self.id = uuid.uuid4().hex if shared else _ALONE
        self._shared = shared
        self._data_folder = data_folder
        self._processes = data_folder / "processes"
        self._held: list[BinaryIO] = []
        self._duties: dict[str, BinaryIO] = {}

    def enter(self) -> None:
        """Raises ``SettingsError`` when a process that does not share holds the folder, or this one does
        not."""
        self._processes.mkdir(parents=True, exist_ok=True)
        kind = fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX
        if (file := _lock(self._data_folder / ".lock", kind)) is None:
            raise SettingsError(
                "another service process uses this data folder",
                where="RAINPOST_DATA_FOLDER",
                got=str(self._data_folder),
                advice="stop the other process or give this one a folder of its own; only on PostgreSQL "
                "(RAINPOST_DATABASE_URL) several processes may share a folder",
            )
        self._held.append(file)
        if self._shared:
            # Under its name it is seen only when it is locked: unlocked files are those of the dead.
            entering = self._processes / f".{self.id}"
            if (own := _lock(entering, fcntl.LOCK_EX)) is None:
                raise AssertionError("nobody else knows this name")
            self._held.append(own)
            entering.rename(self._processes / self.id)

    def leave(self) -> None:
        """Let go; may be called at any time."""
        if self._shared:
            (self._processes / self.id).unlink(missing_ok=True)
        for duty in list(self._duties):
            self._duties.pop(duty).close()
        while self._held:
            self._held.pop().close()

    def leads(self, duty: str) -> bool:
        """Whether this process is the one for a duty: the first that asks, until it ends."""
        if duty not in self._duties and (file := _lock(self._data_folder / f".leads-{duty}", fcntl.LOCK_EX)):
            self._duties[duty] = file
        return duty in self._duties

    def is_alive(self, process_id: str) -> bool:
        """Whether the process of this name is there; the file of one that is not is removed."""
        if process_id == self.id:
            return True
        path = self._processes / process_id
        if not path.exists():
            return False
        if (file := _lock(path, fcntl.LOCK_EX)) is None:
            return True
        path.unlink(missing_ok=True)
        file.close()
        return False


def _lock(path: Path, kind: int) -> BinaryIO | None:
    """The open file with the lock, None where somebody else holds it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
