"""Published products in memory, for the many readers of the newest few."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import xarray as xr

from service.recent import Recent
from service.store import Record, Store

NETCDF_LOCK: Final = threading.Lock()
"""Held around every use of the NetCDF library in this process: the library is not thread-safe."""


class Shelf:
    """Datasets of published revisions, loaded whole; the least recently used leaves first."""

    def __init__(self, store: Store, capacity: int = 8) -> None:
        self.store = store
        self._datasets = Recent[str, xr.Dataset](capacity)

    def dataset(self, record: Record) -> xr.Dataset:
        """The product of a record, not to be changed."""
        return self._datasets.get(record.sha256, lambda: _load(self.store.product_path(record)))


def _load(path: Path) -> xr.Dataset:
    with NETCDF_LOCK, xr.open_dataset(path, engine="netcdf4") as dataset:
        return dataset.load()
