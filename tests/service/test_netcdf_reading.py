"""What reading a cycle of NetCDF files takes from them, by counting values."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pytest
from netCDF4 import Dataset

from service import netcdf
from service.channels import PRECIPITATION_CHANNEL
from service.cycle import read_cycle
from service.grids import grid_from_definition
from service.remapping import remap_weights
from tests.service.sample_assembly import TARGET, WINDOW, accumulated_mm, specified, truth
from tests.service.sample_netcdf import Form, Variable, write_netcdf

LEVELS = (850, 500, 100)
CHANNELS = ("temperature_850hpa", "temperature_2m", PRECIPITATION_CHANNEL)
PLACES = ("time", "run", "lat", "lon", "level")
"""Variables that say where and when; they are read whole."""


class CountedVariable:
    """A variable that counts the values taken from it."""

    def __init__(self, variable: Any, taken: Counter[str]) -> None:
        self._variable, self._taken = variable, taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._variable, name)

    def __getitem__(self, index: Any) -> Any:
        values = self._variable[index]
        self._taken[self._variable.name] += np.size(values)
        return values


class CountedDataset:
    """A dataset of counted variables. taken: by name, of all files together."""

    taken: ClassVar[Counter[str]] = Counter()
    opened: ClassVar[Counter[str]] = Counter()

    def __init__(self, path: Path, mode: Literal["r"]) -> None:
        self._dataset = Dataset(path, mode)
        self.opened[path.name] += 1
        self.variables = {
            name: CountedVariable(variable, self.taken) for name, variable in self._dataset.variables.items()
        }

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._dataset.close()


def write_lead(folder: Path, lead_hours: int) -> Path:
    """Temperatures, rain in two parts, and variables that nobody wants."""
    stack = np.array([truth(f"temperature_{level}hpa", lead_hours) for level in LEVELS[:2]])
    variables = {
        "T": Variable(np.concatenate([stack, stack[:1]])[None], "K", ("time", "level", "y", "x")),
        "T2": Variable(truth("temperature_2m", lead_hours)[None], "K"),
        "RAINC": Variable(0.3 * accumulated_mm(lead_hours)[None], "mm"),
        "RAINNC": Variable(0.7 * accumulated_mm(lead_hours)[None], "mm"),
        "MSLP": Variable(truth("mean_sea_level_pressure", lead_hours)[None], "Pa"),
    }
    form = Form(leads_hours=(float(lead_hours),), levels=("level", "hPa", tuple(map(float, LEVELS))))
    path = write_netcdf(folder / f"h{lead_hours:03d}.nc", variables, form)
    with Dataset(path, "a") as dataset:
        dataset.createVariable("QVAPOR", "f4", ("time", "level", "y", "x"))[:] = 0.01
    return path


@pytest.fixture(autouse=True)
def uncounted() -> None:
    """Counting begins anew."""
    CountedDataset.taken.clear()
    CountedDataset.opened.clear()


def test_threads_between_two_files_open_neither_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_lead(tmp_path, lead_hours) for lead_hours in (24, 25, 26)]
    first, second, third = (netcdf.scan(path)[0] for path in paths)
    monkeypatch.setattr("service.netcdf.netCDF4.Dataset", CountedDataset)
    with netcdf.Reader() as reader:
        for header in (first, second, first, second):
            reader.read(header)
        assert CountedDataset.opened == {paths[0].name: 1, paths[1].name: 1}
        reader.read(third)
        reader.read(first)  # was closed when the third was opened
    assert CountedDataset.opened == {paths[0].name: 2, paths[1].name: 1, paths[2].name: 1}


def test_only_wanted_variables_levels_and_the_window_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_lead(tmp_path, lead_hours) for lead_hours in (24, 25)]
    specification = specified(channels=CHANNELS, leads_hours=(25,))
    (grid,) = {header.grid for path in paths for header in netcdf.scan(path)}
    window = remap_weights(grid, grid_from_definition(TARGET, WINDOW)).window_shape
    points = window[0] * window[1]
    assert points < grid.shape[0] * grid.shape[1]
    reference = read_cycle(paths, specification).values
    monkeypatch.setattr("service.netcdf.netCDF4.Dataset", CountedDataset)
    np.testing.assert_array_equal(read_cycle(paths, specification).values, reference)
    fields = {name: taken for name, taken in CountedDataset.taken.items() if name not in PLACES}
    # Of lead 24 the two parts of the rain; of lead 25 one level, one surface field and the two parts.
    assert fields == {"T": points, "T2": points, "RAINC": 2 * points, "RAINNC": 2 * points}
    # Once for the headers, once for the values.
    assert set(CountedDataset.opened.values()) == {2}
