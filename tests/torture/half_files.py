"""A reader that looks at everything that is published, all the while, for something that is not whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import netCDF4
import numpy as np

from service.artefact import digest_file
from service.observation_store import ObservationStore
from service.store import Store

PAUSE_SECONDS = 0.02


class HalfFileReader:
    """A thread. broken: what it found. looks: how often it went through all. files: how many it read."""

    def __init__(self, data_folder: Path) -> None:
        self.broken: list[str] = []
        self.looks = 0
        self.files = 0
        self._products = Store(data_folder / "products")
        self._observations = ObservationStore(data_folder / "observations")
        self._known: set[tuple[str, int]] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def look(self) -> None:
        """Once through everything; what was found whole is not read again."""
        for path in self._fresh(self._products.folder, "r*.nc"):
            # What a kill left without a record may be removed at any time: gone is not half.
            with suppress(FileNotFoundError), netCDF4.Dataset(path) as product:
                product.variables["class_probability"][:]
        self._look_at_products()
        self._look_at_observations()
        self.looks += 1

    def _look_at_products(self) -> None:
        for time in self._products.cycles():
            for record in self._products.revisions(time):
                path = self._products.product_path(record)
                if self._is_new(path, record.revision) and digest_file(path) != record.sha256:
                    self.broken.append(f"{path} is not what its record says")
                if record.revision > 1:
                    self.broken.append(f"{path}: published {record.revision} times")

    def _look_at_observations(self) -> None:
        for time in self._observations.times():
            for record in self._observations.revisions(time):
                path = self._observations.original_path(record)
                if not self._is_new(path, record.revision):
                    continue
                if digest_file(path) != record.sha256:
                    self.broken.append(f"{path} is not what its record says")
                observed = np.count_nonzero(~np.isnan(self._observations.rain_mm(record)))
                if observed != record.observed_cells:
                    self.broken.append(f"{path}: {observed} observed cells")

    def _fresh(self, folder: Path, pattern: str) -> Iterator[Path]:
        for path in folder.glob(f"*/{pattern}"):
            try:
                number = path.stat().st_ino
            except FileNotFoundError:
                continue
            if (str(path), number) not in self._known:
                self._known.add((str(path), number))
                self.files += 1
                yield path

    def _is_new(self, path: Path, revision: int) -> bool:
        if (f"{path} by its record", revision) in self._known:
            return False
        self._known.add((f"{path} by its record", revision))
        self.files += 1
        return True

    def _run(self) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001
                self.broken.append(f"a reader failed: {error!r}")
