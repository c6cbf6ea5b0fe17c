"""Work that one thread does again and again beside the rest."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

_logger = logging.getLogger(__name__)


class Rounds(ABC):
    """A thread that does a round, waits, and does the next, until it is told to stop.

    name: of the thread. seconds: between two rounds. leads: asked before each whether it is this process that
    has to. failure: logged when a round fails, which ends nothing but that round.
    """

    def __init__(self, name: str, seconds: float, leads: Callable[[], bool], failure: str) -> None:
        self._seconds = seconds
        self._leads = leads
        self._failure = failure
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def round(self) -> None:
        """What is done; may be broken off at any moment and begun again."""

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to begin."""
        return True

    def start(self) -> None:
        """Begin, once, where there is anything to begin."""
        if self.is_needed and self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """End after the round at hand; does not wait."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the end."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._leads():
                    self.round()
            except Exception:
                # Above all a database that does not answer for a while.
                _logger.exception(self._failure)
            self._stopping.wait(self._seconds)
