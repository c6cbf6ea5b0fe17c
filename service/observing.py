"""Observations on their way in: read in a worker process, stored and compared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.errors import RainpostError
from service.metrics import Metrics
from service.observation import read_observation
from service.observation_store import ObservationRecord
from service.specification import CycleSpecification
from service.submission import InputFile
from service.verification import MatchedProduct, Verification
from service.worker import Workers

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TakenObservation:
    """An observation that came in. new: whether it was not stored before."""

    record: ObservationRecord
    new: bool
    matched: list[MatchedProduct]


class Observing:
    """Reads observations in worker processes and hands them to the verification.

    specification: of the model that is active when an observation comes in.
    """

    def __init__(
        self,
        verification: Verification,
        metrics: Metrics,
        workers: Workers,
        specification: Callable[[], CycleSpecification],
        weights_folder: Path,
    ) -> None:
        self._verification = verification
        self._metrics = metrics
        self._workers = workers
        self._specification = specification
        self._weights_folder = weights_folder

    def take(
        self, files: Sequence[tuple[InputFile, Path]], valid_time: np.datetime64 | None = None
    ) -> list[TakenObservation]:
        """Read all files, then store and compare each; one that cannot be read keeps out the others.

        Raises the errors of ``read_observation`` and ``WorkerDied``.
        """
        specification = self._specification()
        try:
            with self._metrics.time_stage("observe"):
                read = [
                    self._workers.run(
                        read_observation,
                        path,
                        specification,
                        valid_time=valid_time,
                        weights_folder=self._weights_folder,
                    )
                    for _, path in files
                ]
        except RainpostError as error:
            self._metrics.count_observation("refused", error.reason)
            raise
        with self._metrics.time_stage("verify"):
            taken = [
                TakenObservation(*self._verification.take(observation, file, path, specification))
                for observation, (file, path) in zip(read, files, strict=True)
            ]
        for one in taken:
            self._metrics.count_observation("new" if one.new else "known")
            if one.new:
                _logger.info(
                    "observation of %s, revision %d: compared with %d products",
                    one.record.valid_time,
                    one.record.revision,
                    len(one.matched),
                )
        return taken
