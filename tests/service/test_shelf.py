"""Products in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from service.shelf import Shelf
from service.store import InputIdentity, ModelIdentity, Origin, Record, Store

CYCLE = np.datetime64("2026-11-22T00", "s")


def publish(store: Store, number: int) -> Record:
    model = ModelIdentity(name="sample", version="0.1.0", sha256="a" * 64, manifest_sha256="b" * 64)
    inputs = (InputIdentity(name="h024.gb2", sha256="c" * 64, size_bytes=1),)
    origin = Origin(key=str(number), model=model, inputs=inputs, leads_hours=(2,))

    def write(path: Path, revision: int) -> None:
        xr.Dataset({"number": number}).to_netcdf(path, engine="netcdf4")

    return store.publish(CYCLE, origin, write)


def test_products_are_read_once_and_the_oldest_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    shelf = Shelf(store, capacity=2)
    opened: list[str] = []
    real = xr.open_dataset

    def counted(path: Path, **options: str) -> xr.Dataset:
        opened.append(path.name)
        return real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(xr, "open_dataset", counted)
    records = [publish(store, number) for number in range(3)]
    for index in (0, 1, 0, 2, 0, 1):
        assert int(shelf.dataset(records[index])["number"]) == index
    assert opened == ["r1.nc", "r2.nc", "r3.nc", "r2.nc"]
