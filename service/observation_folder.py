"""The observation folder: what others put there is taken, and left where it is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from service.artefact import digest_file
from service.durability import TEMPORARY_SUFFIX
from service.errors import InputError, WorkerDied
from service.observation_store import ObservationStore
from service.observing import Observing
from service.submission import InputFile
from service.uploads import safe_name
from service.verification import Verification

_logger = logging.getLogger(__name__)


class ObservationFolder:
    """A folder into which observations are put by others; its files are left as they are."""

    def __init__(self, folder: Path, observing: Observing, observations: ObservationStore) -> None:
        self._folder = folder
        self._observing = observing
        self._observations = observations
        self._stored: set[tuple[str, str]] | None = None
        self._seen: dict[str, tuple[int, int]] = {}
        self._done: dict[str, tuple[int, int]] = {}

    def look(self, stopping: threading.Event) -> None:
        """Take every file that has not changed since the last look and has not been taken as it is."""
        seen: dict[str, tuple[int, int]] = {}
        for path in sorted(self._folder.iterdir()):
            if stopping.is_set():
                return
            if path.name.startswith(".") or path.name.endswith(TEMPORARY_SUFFIX) or not path.is_file():
                continue
            status = path.stat()
            seen[path.name] = (status.st_size, status.st_mtime_ns)
            settled = self._seen.get(path.name) == seen[path.name]
            if settled and self._done.get(path.name) != seen[path.name] and self._take(path, stopping):
                self._done[path.name] = seen[path.name]
        self._seen = seen
        self._done = {name: self._done[name] for name in self._done.keys() & seen.keys()}

    def _take(self, path: Path, stopping: threading.Event) -> bool:
        """Whether the file needs no further look: it was taken or will never be."""
        file = InputFile(name=safe_name(path.name), sha256=digest_file(path), size_bytes=path.stat().st_size)
        if self._stored is None:
            times = self._observations.times()
            records = [record for time in times for record in self._observations.revisions(time)]
            self._stored = {(record.name, record.sha256) for record in records}
        if (file.name, file.sha256) in self._stored:
            return True
        try:
            self._observing.take([(file, path)])
        except Exception as error:
            if stopping.is_set():
                return False
            if isinstance(error, InputError | WorkerDied):
                _logger.warning("the observation %s cannot be used: %s", path.name, error)
                return True
            # The fault lies with the service or its database: the next look tries again.
            _logger.exception("the observation %s could not be taken", path.name)
            return False
        return True


class ObservationWatch:
    """A thread that first catches up with what a kill left undone, then looks into the folder, if any.

    leads: asked before every look whether it is this process that has to look.
    """

    def __init__(
        self,
        verification: Verification,
        folder: ObservationFolder | None,
        poll_seconds: float,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._verification = verification
        self._folder = folder
        self._poll_seconds = poll_seconds
        self._leads = leads
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observation-watch", daemon=True)

    def start(self) -> None:
        """Begin, once."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """End after the file or the hour at hand; does not wait."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the end."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            if self._leads():
                self._verification.catch_up(self._stopping)
        except Exception:
            _logger.exception("observations could not all be compared; the next start tries again")
        while self._folder is not None and not self._stopping.is_set():
            try:
                if self._leads():
                    self._folder.look(self._stopping)
            except OSError:
                _logger.exception("the observation folder cannot be read")
            self._stopping.wait(self._poll_seconds)
