"""What can be done of the cycles of an inbox whose files are still arriving: hash, read, infer.

Done in small steps by whoever looks at the inbox, between two looks, newest cycle first. A job takes over
what it finds (``service.early_reading``, ``service.early_inference``); that something is not there costs
nothing but its work. A cycle keeps no more than its files are good for at present, and nothing once it is
done.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service.early_inference import EarlyInference
from service.early_reading import EarlyReading, read_early
from service.early_results import EarlyResults
from service.errors import InferenceError, InputError, WorkerDied
from service.inference import Inference
from service.references import hash_file
from service.submission import InputFile
from service.times import compact_time, iso_time, parse_time
from service.worker import Workers

_logger = logging.getLogger(__name__)


@dataclass
class _Cycle:
    """A cycle that is waited for. model: the one that it was read for. left: leads yet to be inferred."""

    paths: tuple[Path, ...]
    refused: set[Path] = field(default_factory=set)
    model: str | None = None
    reading: EarlyReading | None = None
    left: list[str] = field(default_factory=list)
    probabilities: set[str] = field(default_factory=set)


class EarlyWork:
    """Knows what is waited for; ``step`` does the next bit of it. Safe to use from several threads.

    active: the model that new jobs run. folder: a folder for every cycle.
    """

    def __init__(
        self, workers: Workers, active: Callable[[], Inference], folder: Path, weights_folder: Path
    ) -> None:
        self._workers = workers
        self._active = active
        self._folder = folder
        self._weights_folder = weights_folder
        self._cycles: dict[np.datetime64, _Cycle] = {}
        self._forgotten: set[np.datetime64] = set()
        self._hashed: dict[Path, InputFile] = {}

    def await_rest(self, reference_time: np.datetime64, paths: Sequence[Path]) -> None:
        """These files of the cycle are there, and are no longer written to; others are not."""
        self._forgotten.discard(reference_time)
        known = self._cycles.get(reference_time)
        if known is None or known.paths != tuple(paths):
            self._cycles[reference_time] = _Cycle(tuple(paths))

    def hashed(self, path: Path) -> InputFile:
        """As ``hash_file``, but once as long as the file stays as it is."""
        known = self._hashed.get(path)
        if known is not None and known.is_unchanged():
            return known
        self._hashed[path] = found = hash_file(path)
        return found

    def forget(self, reference_time: np.datetime64) -> None:
        """Nobody waits for the cycle any more; what was done stays for the job."""
        self._forgotten.add(reference_time)
        if (cycle := self._cycles.pop(reference_time, None)) is not None:
            self.release(cycle.paths)

    def release(self, paths: Sequence[Path]) -> None:
        """The files are those of a job now. Digests stay where another cycle is waited for with the files."""
        awaited = {path for cycle in list(self._cycles.values()) for path in cycle.paths}
        for path in paths:
            if path not in awaited:
                self._hashed.pop(path, None)

    def clean(self, open_cycles: Collection[np.datetime64], is_busy: Callable[[np.datetime64], bool]) -> None:
        """Remove what was kept for cycles that are not waited for any more, nor at work in a job.

        An open cycle of which nothing is known yet may be one that was waited for before a restart.
        """
        for time in list(self._cycles):
            if time not in open_cycles:
                self.forget(time)
        for folder in self._folder.glob("*"):
            time = parse_time(folder.name)
            if (time in self._forgotten or time not in open_cycles) and not is_busy(time):
                shutil.rmtree(folder, ignore_errors=True)
        self._forgotten.intersection_update(open_cycles)

    def is_done(self, files: int) -> bool:
        """Whether so many files, of all cycles, are waited with, and nothing is left to do with them."""
        cycles = list(self._cycles.values())
        ready = all(cycle.reading is not None and not cycle.left for cycle in cycles)
        return ready and sum(len(cycle.paths) for cycle in cycles) == files

    def step(self) -> bool:
        """Do a bit, such as hashing a file or inferring a lead; whether there was anything to do."""
        for reference_time, cycle in sorted(self._cycles.items(), key=lambda item: item[0], reverse=True):
            try:
                if self._step(reference_time, cycle):
                    return True
            except (InputError, InferenceError, WorkerDied, OSError) as error:
                # Until its files change: the job will say what is wrong with them.
                _logger.info("%s is not read early: %s", iso_time(reference_time), error)
                cycle.reading, cycle.left = cycle.reading or EarlyReading({}, frozenset()), []
                return True
        return False

    def _step(self, reference_time: np.datetime64, cycle: _Cycle) -> bool:
        inference = self._active()
        if cycle.model != inference.artefact.sha256:
            cycle.model, cycle.reading = inference.artefact.sha256, None
        if cycle.reading is None:
            return self._read(reference_time, cycle, inference)
        if cycle.left:
            self._infer(reference_time, cycle, cycle.reading, inference)
            return True
        return False

    def _read(self, reference_time: np.datetime64, cycle: _Cycle, inference: Inference) -> bool:
        for path in cycle.paths:
            known = self._hashed.get(path)
            if path not in cycle.refused and (known is None or not known.is_unchanged()):
                try:
                    self.hashed(path)
                except (InputError, OSError) as error:
                    _logger.info("%s is not read early: %s", path.name, error)
                    cycle.refused.add(path)
                return True
        cycle.reading = self._workers.run(
            read_early,
            [self.hashed(path) for path in cycle.paths if path not in cycle.refused],
            inference.artefact.manifest.cycle.model_dump_json(),
            iso_time(reference_time),
            self._weights_folder,
            self._folder / compact_time(reference_time),
        )
        cycle.left = [cycle.reading.leads[lead] for lead in sorted(cycle.reading.leads)]
        cycle.probabilities = set()
        _logger.info(
            "%s: read %d files early, leads %s h",
            *(iso_time(reference_time), len(cycle.paths), tuple(sorted(cycle.reading.leads))),
        )
        if not cycle.left:
            self._keep(reference_time, cycle.reading.keys)
        return True

    def _infer(
        self, reference_time: np.datetime64, cycle: _Cycle, reading: EarlyReading, inference: Inference
    ) -> None:
        results = EarlyResults(self._folder / compact_time(reference_time))
        early = EarlyInference(inference, results)
        values = results.get(cycle.left.pop(0))
        if values is not None:
            early.lead(values)
            cycle.probabilities.add(early.key(values))
        if not cycle.left:
            self._keep(reference_time, reading.keys | cycle.probabilities)

    def _keep(self, reference_time: np.datetime64, keys: frozenset[str]) -> None:
        """Remove what other files than the present ones left."""
        EarlyResults(self._folder / compact_time(reference_time)).keep_only(keys)
