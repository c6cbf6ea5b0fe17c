"""Published products in memory, for the many readers of the newest few."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

import xarray as xr

from service.store import Record, Store

NETCDF_LOCK: Final = threading.Lock()
"""Held around every use of the NetCDF library in this process: the library is not thread-safe."""


class Shelf:
    """Datasets of published revisions, loaded whole; the least recently used leaves first."""

    def __init__(self, store: Store, capacity: int = 8) -> None:
        self.store = store
        self._capacity = capacity
        self._lock = threading.Lock()
        self._datasets: OrderedDict[str, xr.Dataset] = OrderedDict()

    def dataset(self, record: Record) -> xr.Dataset:
        """The product of a record, not to be changed."""
        with self._lock:
            if record.sha256 in self._datasets:
                self._datasets.move_to_end(record.sha256)
                return self._datasets[record.sha256]
        dataset = _load(self.store.product_path(record))
        with self._lock:
            self._datasets[record.sha256] = dataset
            while len(self._datasets) > self._capacity:
                self._datasets.popitem(last=False)
        return dataset


def _load(path: Path) -> xr.Dataset:
    with NETCDF_LOCK, xr.open_dataset(path, engine="netcdf4") as dataset:
        return dataset.load()
