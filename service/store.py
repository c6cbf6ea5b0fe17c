"""Published products: one folder per cycle, one NetCDF file and one record per revision.

::

    products/20261122T000000Z/r1.nc     the product
                              r1.json   its record, written last: what has no record is not published
                              .lock     held by the process that publishes a revision of this cycle
                              .expired  once the cycle is too old: it counts as not there

A revision is never changed. Readers take no lock: they see a record only when its product is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from service.artefact import digest_file
from service.durability import TEMPORARY_SUFFIX, write_durably
from service.errors import NotFound
from service.expiry import expire, held, held_as_it_is, is_expired
from service.summaries import CycleSummary
from service.times import compact_time, iso_time, parse_time

FOLDER_PATTERN: Final = "[0-9]" * 8 + "T" + "[0-9]" * 6 + "Z"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelIdentity(_Frozen):
    """The model that made a product. sha256: of ``model.onnx``; manifest_sha256: of the whole folder."""

    name: str
    version: str
    sha256: str
    manifest_sha256: str

    @property
    def identity(self) -> str:
        """``<name>-<version>``."""
        return f"{self.name}-{self.version}"


class InputIdentity(_Frozen):
    """A file that a product was made from."""

    name: str
    sha256: str
    size_bytes: int


class Origin(_Frozen):
    """What a product came from. key: the identity of the computation; the same key is published once."""

    key: str
    model: ModelIdentity
    inputs: tuple[InputIdentity, ...]
    leads_hours: tuple[int, ...]


class Record(_Frozen):
    """A published revision. sha256 and size_bytes are those of the product's file.

    summary: of input and output; none in records from before there were summaries.
    """

    record_version: Literal[1] = 1
    reference_time: str
    revision: int
    created: datetime
    file: str
    sha256: str
    size_bytes: int
    origin: Origin
    summary: CycleSummary | None = None

    @property
    def delay_seconds(self) -> float:
        """From the reference time to the publication."""
        since = self.created.astimezone(UTC).replace(tzinfo=None)
        reference_time: datetime = parse_time(self.reference_time).astype(datetime)
        return (since - reference_time).total_seconds()


class Store:
    """The folder of products. Many processes may read and publish at the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def publish(
        self,
        reference_time: np.datetime64,
        origin: Origin,
        write: Callable[[Path, int], None],
        summary: CycleSummary | None = None,
    ) -> Record:
        """Publish what ``write(path, revision)`` writes as the next revision of its cycle.

        Where the origin's key is published already nothing is written and its record is returned.
        """
        folder = self._cycle_folder(reference_time)
        with held(folder):
            published = self.revisions(reference_time)
            for record in published:
                if record.origin.key == origin.key:
                    return record
            _remove_remains(folder, published)
            revision = max((record.revision for record in published), default=0) + 1
            path = folder / f"r{revision}.nc"
            write_durably(path, lambda temporary: write(temporary, revision))
            record = Record(
                reference_time=iso_time(reference_time),
                revision=revision,
                created=datetime.now(UTC),
                file=path.name,
                sha256=digest_file(path),
                size_bytes=path.stat().st_size,
                origin=origin,
                summary=summary,
            )
            text = record.model_dump_json(indent=1)
            write_durably(folder / f"r{revision}.json", lambda temporary: temporary.write_text(text))
            return record

    def cycles(self) -> list[np.datetime64]:
        """Reference times with a published product, newest first."""
        return list(self.newest_first())

    def cycles_since(self, moment: np.datetime64) -> list[np.datetime64]:
        """Reference times from this one on with a published product, newest first."""
        return list(takewhile(lambda time: bool(time >= moment), self.newest_first()))

    def newest(self) -> np.datetime64 | None:
        """The newest reference time with a product, None where there is none."""
        return next(self.newest_first(), None)

    def latest(self) -> np.datetime64:
        """The newest reference time with a product. Raises ``NotFound``."""
        newest = self.newest()
        if newest is None:
            raise NotFound("no cycle is published yet", advice="submit one with POST /correct")
        return newest

    def revisions(self, reference_time: np.datetime64) -> list[Record]:
        """Records of a cycle, oldest revision first; empty where there is none."""
        folder = self._cycle_folder(reference_time)
        paths = [] if is_expired(folder) else folder.glob("r*.json")
        records = [Record.model_validate_json(path.read_bytes()) for path in paths]
        return sorted(records, key=lambda record: record.revision)

    def record(self, reference_time: np.datetime64, revision: int | None = None) -> Record:
        """One revision of a cycle, the newest by default. Raises ``NotFound``."""
        records = self.revisions(reference_time)
        if not records:
            raise NotFound(
                "no product of this cycle", where=iso_time(reference_time), advice="GET /cycles lists them"
            )
        if revision is None:
            return records[-1]
        for record in records:
            if record.revision == revision:
                return record
        raise NotFound(
            "no such revision of this cycle",
            where=iso_time(reference_time),
            expected=f"one of {', '.join(str(record.revision) for record in records)}",
            got=str(revision),
        )

    def product_path(self, record: Record) -> Path:
        """The file of a published revision."""
        return self._cycle_folder(parse_time(record.reference_time)) / record.file

    def expire(self, reference_time: np.datetime64, before: datetime) -> bool:
        """Take a cycle out of sight, unless a revision was published since; whether it is."""
        folder = self._cycle_folder(reference_time)
        with held_as_it_is(folder) as there:
            if not there or is_expired(folder):
                return False
            if any(record.created >= before for record in self.revisions(reference_time)):
                return False
            expire(folder)
            return True

    def folders(self) -> list[np.datetime64]:
        """Cycles that have a folder, with a product or without, oldest first."""
        return sorted(parse_time(path.name) for path in self.folder.glob(FOLDER_PATTERN))

    def newest_first(self) -> Iterator[np.datetime64]:
        """As ``cycles``, of which no more is read than is asked for."""
        for name in sorted((path.name for path in self.folder.glob(FOLDER_PATTERN)), reverse=True):
            if not is_expired(self.folder / name) and any((self.folder / name).glob("r*.json")):
                yield parse_time(name)

    def _cycle_folder(self, reference_time: np.datetime64) -> Path:
        return self.folder / compact_time(reference_time)


def _remove_remains(folder: Path, published: list[Record]) -> None:
    """What a killed publisher left: temporary files and products without a record."""
    kept = {record.file for record in published}
    for path in [*folder.glob(f"*{TEMPORARY_SUFFIX}"), *folder.glob("r*.nc")]:
        if path.name not in kept:
            path.unlink()
