"""Stored observations: one folder per hour, three files per revision.

::

    observations/20261122T020000Z/r1.original   the file as it came
                                  r1.npy        the amounts on the window of the model that was loaded then
                                  r1.json       its record, written last: what has no record is not stored
                                  .lock         held by the process that stores a revision of this hour
                                  .expired      once the hour is too old: it counts as not there

A revision is never changed; another file for the same hour is a new revision. Readers take no lock.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from service.durability import write_durably
from service.expiry import expire, held, held_as_it_is, is_expired
from service.grids import Grid, grid_from_definition
from service.observation import Observation
from service.specification import CycleSpecification, GridDefinition, Window
from service.submission import InputFile
from service.times import compact_time, iso_time, parse_time

FOLDER_PATTERN: Final = "[0-9]" * 8 + "T" + "[0-9]" * 6 + "Z"


class ObservationRecord(BaseModel):
    """A stored revision. name, sha256 and size_bytes are those of the file as it came.

    precipitation_hours, target, window: what the amounts are over and where they lie.
    observed_cells: how many of the window have a value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    record_version: Literal[1] = 1
    valid_time: str
    revision: int
    created: datetime
    name: str
    sha256: str
    size_bytes: int
    precipitation_hours: int
    target: GridDefinition
    window: Window
    observed_cells: int

    @property
    def time(self) -> np.datetime64:
        """End of the period, UTC."""
        return parse_time(self.valid_time)

    @property
    def grid(self) -> Grid:
        """Where the amounts lie."""
        return grid_from_definition(self.target, self.window)


class ObservationStore:
    """The folder of observations. Many processes may read and store at the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def publish(
        self, observation: Observation, file: InputFile, path: Path, specification: CycleSpecification
    ) -> tuple[ObservationRecord, bool]:
        """Store as the next revision of its hour; the record, and whether it is new.

        The same file on the same grid is stored once. path: where the file lies, which is copied.
        """
        folder = self._folder(observation.valid_time)
        with held(folder):
            stored = self.revisions(observation.valid_time)
            for record in stored:
                place = (specification.precipitation_hours, specification.target, specification.window)
                if (record.sha256, record.precipitation_hours, record.target, record.window) == (
                    file.sha256,
                    *place,
                ):
                    return record, False
            _remove_remains(folder, stored)
            revision = max((record.revision for record in stored), default=0) + 1
            record = ObservationRecord(
                valid_time=iso_time(observation.valid_time),
                revision=revision,
                created=datetime.now(UTC),
                name=file.name,
                sha256=file.sha256,
                size_bytes=file.size_bytes,
                precipitation_hours=specification.precipitation_hours,
                target=specification.target,
                window=specification.window,
                observed_cells=int(np.count_nonzero(~np.isnan(observation.rain_mm))),
            )
            text = record.model_dump_json(indent=1)
            write_durably(folder / f"r{revision}.original", lambda to: shutil.copyfile(path, to))
            write_durably(folder / f"r{revision}.npy", lambda to: _save(to, observation.rain_mm))
            write_durably(folder / f"r{revision}.json", lambda to: to.write_text(text))
            return record, True

    def times(self) -> list[np.datetime64]:
        """Hours with an observation, newest first."""
        return list(self._newest_first())

    def newest_time(self) -> np.datetime64 | None:
        """The newest hour with an observation, None where there is none."""
        return next(self._newest_first(), None)

    def revisions(self, valid_time: np.datetime64) -> list[ObservationRecord]:
        """Records of an hour, oldest revision first; empty where there is none."""
        folder = self._folder(valid_time)
        paths = [] if is_expired(folder) else folder.glob("r*.json")
        records = [ObservationRecord.model_validate_json(path.read_bytes()) for path in paths]
        return sorted(records, key=lambda record: record.revision)

    def newest(self, valid_time: np.datetime64) -> ObservationRecord | None:
        """The newest revision of an hour, None where there is none."""
        return next(reversed(self.revisions(valid_time)), None)

    def rain_mm(self, record: ObservationRecord) -> NDArray[np.float32]:
        """The amounts of a revision, (y, x) on its grid, NaN where not observed."""
        path = self._folder(record.time) / f"r{record.revision}.npy"
        return np.asarray(np.load(path, allow_pickle=False), np.float32)

    def original_path(self, record: ObservationRecord) -> Path:
        """The file of a revision as it came."""
        return self._folder(record.time) / f"r{record.revision}.original"

    def expire(self, valid_time: np.datetime64, before: datetime) -> bool:
        """Take an hour out of sight, unless a revision was stored since; whether it is."""
        folder = self._folder(valid_time)
        with held_as_it_is(folder) as there:
            if not there or is_expired(folder):
                return False
            if any(record.created >= before for record in self.revisions(valid_time)):
                return False
            expire(folder)
            return True

    def folders(self) -> list[np.datetime64]:
        """Hours that have a folder, with an observation or without, oldest first."""
        return sorted(parse_time(path.name) for path in self.folder.glob(FOLDER_PATTERN))

    def _newest_first(self) -> Iterator[np.datetime64]:
        for name in sorted((path.name for path in self.folder.glob(FOLDER_PATTERN)), reverse=True):
            if not is_expired(self.folder / name) and any((self.folder / name).glob("r*.json")):
                yield parse_time(name)

    def _folder(self, valid_time: np.datetime64) -> Path:
        return self.folder / compact_time(valid_time)


def _save(path: Path, rain_mm: NDArray[np.float32]) -> None:
    with path.open("wb") as file:
        np.save(file, rain_mm, allow_pickle=False)


def _remove_remains(folder: Path, stored: list[ObservationRecord]) -> None:
    """What a killed process left of a revision without a record."""
    kept = {f"r{record.revision}" for record in stored}
    for path in folder.glob("r*"):
        if path.name.partition(".")[0] not in kept:
            path.unlink()
