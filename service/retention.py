"""Removes what is older than ``RAINPOST_KEEP_DAYS``: a duty that one process has.

Age is counted back from the newest cycle that is published, or from now if that is earlier: a clock that
jumps ahead removes nothing, and neither does a service to which no cycle comes any more. Whatever was
published less than a day ago stays, however old its cycle: somebody asked for it.

Removed are products and those of the shadow, observations, explanations, and jobs with their rows in the
database. The ledger stays: its counts are small, and a score is worth more the longer it reaches back.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from service.durability import TEMPORARY_SUFFIX
from service.expiry import clear
from service.job_rows import JobRows
from service.observation_store import ObservationStore
from service.rounds import Rounds
from service.schedule import now_utc
from service.store import FOLDER_PATTERN, Store
from service.times import compact_time, iso_time

_logger = logging.getLogger(__name__)

_ROUND_SECONDS: Final = 600.0
_GRACE_SECONDS: Final = 600.0
"""From out of sight to gone: longer than anybody is between a record and its file."""
_AT_LEAST: Final = timedelta(days=1)
"""How long what was published stays, whatever its reference time."""
_DAY_SECONDS: Final = 86400.0


class Retention(Rounds):
    """keep_days: None keeps everything. leads: asked before each round whether this process has to."""

    def __init__(
        self,
        data_folder: Path,
        keep_days: float | None,
        stores: tuple[Store, Store],
        observations: ObservationStore,
        leads: Callable[[], bool] = lambda: True,
        now: Callable[[], np.datetime64] = now_utc,
    ) -> None:
        """stores: of products and of those of the shadow."""
        super().__init__(
            "retention",
            _ROUND_SECONDS,
            leads,
            "what is too old could not be removed; the next round tries again",
        )
        self._keep_days = keep_days
        self._stores = stores
        self._observations = observations
        self._explanations = data_folder / "explanations"
        self._weights = data_folder / "weights"
        self._rows = JobRows(data_folder / "work")
        self._now = now

    @property
    def is_needed(self) -> bool:
        """Where everything is kept there is nothing to begin."""
        return self._keep_days is not None

    def horizon(self) -> np.datetime64 | None:
        """Before it nothing is kept; None where nothing goes."""
        newest = self._stores[0].newest()
        if self._keep_days is None or newest is None:
            return None
        return min(newest, self._now()) - np.timedelta64(round(_DAY_SECONDS * self._keep_days), "s")

    def round(self) -> None:
        """Remove what is too old; may be broken off at any moment and begun again."""
        if (horizon := self.horizon()) is None:
            return
        before = datetime.now(UTC) - _AT_LEAST
        gone = 0
        for store in (*self._stores, self._observations):
            gone += sum(store.expire(time_of, before) for time_of in store.folders() if time_of < horizon)
            clear(store.folder, FOLDER_PATTERN, _GRACE_SECONDS)
        if gone:
            _logger.info("%d cycles and hours of before %s are too old", gone, iso_time(horizon))
        self._remove_explanations(horizon)
        self._rows.forget_cycles_before(iso_time(horizon), before)
        oldest = datetime.now(UTC) - max(timedelta(days=self._keep_days or 0), _AT_LEAST)
        self._rows.forget_strays(oldest)
        self._remove_weights(oldest.timestamp())

    def _remove_explanations(self, horizon: np.datetime64) -> None:
        """Of cycles that are gone; an explanation is nothing without its product."""
        for folder in self._explanations.glob(FOLDER_PATTERN):
            if folder.name < compact_time(horizon) and not (self._stores[0].folder / folder.name).exists():
                shutil.rmtree(folder, ignore_errors=True)

    def _remove_weights(self, oldest: float) -> None:
        """Of grids that have not been met for long, and what a kill left; they are made anew if need be."""
        for path in self._weights.glob("*"):
            with suppress(FileNotFoundError):
                limit = time.time() - _DAY_SECONDS if path.suffix == TEMPORARY_SUFFIX else oldest
                if path.stat().st_mtime < limit:
                    path.unlink()
