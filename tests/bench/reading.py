"""Reading a cycle, as ratios to the bare decoding of its wanted messages and to the naive way.

``python -m tests.bench.reading [--folder data/bench] [--packing grid_simple ...] [--runs 5]``

bare    the wanted messages, already in memory, decoded whole by the C library of eccodes, on two threads
ours    files to network input: read, check, difference, remap (``read_cycle``), z-score (``normalise``)
naive   xarray by cfgrib, one ``open_dataset`` per group of levels, a k-d tree of source points, inverse
        distance weighting over four neighbours; only the wanted variables are loaded

All are measured in turn in the same run, with files and remap weights warm; wall seconds / CPU seconds (user
and system, of all threads). Ratios are medians of the runs' own. The last column is what ``ours`` takes in a
process of its own beyond what that had before, at its peak and with the remap weights still to be made.

The cycle is that of ``tests.bench.large_cycle``: 1,400 messages of 1400 x 1200 points, 97 of them wanted. Its
files are written once into the folder: 5 GB in simple packing, 1 to 3 GB in any other.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cfgrib
import eccodes
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

from service import files
from service.artefact import MANIFEST, Manifest, normalise
from service.cycle import read_cycle
from service.grids import grid_from_definition
from service.memory import keep_freed_memory
from service.selection import select
from tests.bench.large_cycle import LEADS_HOURS, PACKINGS, cycle_files
from tests.shipped_model import SHIPPED

THREADS = 2

_ISOBARIC_NAMES = ("gh", "r", "t", "u", "v")
_RAIN = ({"typeOfLevel": "surface", "stepType": "accum"}, ("unknown",))
_GROUPS = {
    "pres": (
        ({"typeOfLevel": "isobaricInhPa", "level": 850}, _ISOBARIC_NAMES),
        ({"typeOfLevel": "isobaricInhPa", "level": 500}, _ISOBARIC_NAMES),
        ({"typeOfLevel": "isobaricInhPa", "level": 100}, ("gh",)),
    ),
    "unis": (
        ({"typeOfLevel": "meanSea"}, ("prmsl",)),
        ({"typeOfLevel": "heightAboveGround", "level": 2}, ("t2m",)),
        ({"typeOfLevel": "heightAboveGround", "level": 10}, ("u10", "v10")),
        _RAIN,
    ),
}
"""Kind of file to what has to be opened in it, and the names that cfgrib gives to the wanted variables."""


class Seconds(NamedTuple):
    """wall, and cpu: user and system, of all threads."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Measured:
    """One packing; seconds in the order of the runs. peak_mb: over the memory before."""

    packing: str
    bare: list[Seconds]
    ours: list[Seconds]
    naive: list[Seconds]
    peak_mb: float


def bare_messages(paths: list[Path], manifest: Manifest) -> list[bytes]:
    """The bytes of the wanted messages; finding them is not part of the measurement."""
    headers = [header for path in paths for header in files.scan(path)]
    found = []
    for header in select(headers, manifest.cycle).headers:
        with header.path.open("rb") as file:
            file.seek(int(header.locator[-1]))
            handle = eccodes.codes_grib_new_from_file(file)
            found.append(eccodes.codes_get_message(handle))
            eccodes.codes_release(handle)
    return found


def decode_bare(messages: list[bytes]) -> None:
    """Nothing but the C library's decoding."""

    def decode(message: bytes) -> None:
        handle = eccodes.codes_new_from_message(message)
        eccodes.codes_get_array(handle, "values")
        eccodes.codes_release(handle)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(decode, messages))


def read_ours(paths: list[Path], manifest: Manifest) -> NDArray[np.float32]:
    """The network's input (lead, channel, y, x)."""
    return normalise(read_cycle(paths, manifest.cycle).values, manifest)


def read_naively(paths: list[Path], manifest: Manifest) -> list[NDArray[np.float64]]:
    """What one writes first. A field each on the target grid, rain as accumulated."""
    latitude, longitude = grid_from_definition(
        manifest.cycle.target, manifest.cycle.window
    ).latitude_longitude()
    targets = _unit_vectors(latitude, longitude)
    neighbours: tuple[NDArray[np.float64], NDArray[np.intp]] | None = None
    remapped = []
    for dataset, names in _opened(paths):
        if neighbours is None:
            tree = cKDTree(_unit_vectors(dataset["latitude"].values, dataset["longitude"].values))
            distance, index = tree.query(targets, k=4)
            weights = 1.0 / np.maximum(distance, 1e-9)
            neighbours = weights / weights.sum(-1, keepdims=True), np.asarray(index)
        share, index = neighbours
        remapped += [(dataset[name].values.ravel()[index] * share).sum(-1) for name in names]
    return remapped


def _opened(paths: list[Path]) -> Iterator[tuple[cfgrib.xarray_store.xr.Dataset, tuple[str, ...]]]:
    """Every group of levels of every file; of the first lead the rain alone."""
    for path in paths:
        kind, lead = path.stem.split("_h")
        first = int(lead) == LEADS_HOURS[0]
        for keys, names in _GROUPS[kind]:
            if not first or names == _RAIN[1]:
                yield cfgrib.open_dataset(path, filter_by_keys=keys, indexpath="", errors="ignore"), names


def _unit_vectors(latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> NDArray[np.float64]:
    phi, lam = np.deg2rad(latitude).ravel(), np.deg2rad(longitude).ravel()
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], -1)


def _seconds(call: Callable[[], object]) -> Seconds:
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    call()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return Seconds(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _peak_mb(paths: list[Path], manifest: Manifest) -> float:
    """Of ``ours``; to be run in a process of its own. Linux only."""
    status, marks = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def megabytes(key: str) -> float:
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines[key].split()[0]) / 1000.0

    keep_freed_memory()
    marks.write_text("5")  # forgets the peak so far
    before = megabytes("VmRSS")
    read_ours(paths, manifest)
    return megabytes("VmHWM") - before


def measure(packing: str, folder: Path, manifest: Manifest, runs: int, naive_runs: int) -> Measured:
    """All three in turn, as often as asked for; the naive way in the last runs only."""
    paths = cycle_files(folder, packing)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        peak_mb = pool.apply(_peak_mb, (paths, manifest))
    messages = bare_messages(paths, manifest)
    read_ours(paths, manifest)
    found = Measured(packing, [], [], [], peak_mb)
    for run in range(runs):
        found.bare.append(_seconds(lambda: decode_bare(messages)))
        found.ours.append(_seconds(lambda: read_ours(paths, manifest)))
        if run >= runs - naive_runs:
            remapped: list[NDArray[np.float64]] = []
            found.naive.append(_seconds(lambda: remapped.extend(read_naively(paths, manifest))))  # noqa: B023
            if len(remapped) != len(messages):
                raise SystemExit(f"the naive way read {len(remapped)} fields, not {len(messages)}")
    return found


def _row(found: Measured) -> Iterator[str]:
    yield found.packing.removeprefix("grid_")
    for seconds in (found.bare, found.ours, found.naive):
        yield " / ".join(f"{statistics.median(column):.2f}" for column in zip(*seconds, strict=True)) or "-"
    for column in (0, 1):
        ratios = [ours[column] / bare[column] for bare, ours in zip(found.bare, found.ours, strict=True)]
        yield f"{statistics.median(ratios):.2f}"
    for column in (0, 1):
        both = zip(found.naive, found.ours[len(found.ours) - len(found.naive) :], strict=True)
        ratios = [naive[column] / ours[column] for naive, ours in both]
        yield f"{statistics.median(ratios):.0f}" if ratios else "-"
    yield f"{found.peak_mb:.0f}"


def main() -> None:
    """Print a table of medians and ratios."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.reading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("data/bench"), help="where the files are kept")
    parser.add_argument("--packing", nargs="+", choices=PACKINGS, default=list(PACKINGS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--naive-runs", type=int, default=1, help="how many of the runs include the naive way"
    )
    arguments = parser.parse_args()
    manifest = Manifest.model_validate_json((SHIPPED / MANIFEST).read_text())
    keep_freed_memory()  # as the worker processes of the service do; it speeds up the bare decoding as well
    table = Table(title=f"{THREADS} threads, medians of {arguments.runs} runs, wall s / CPU s")
    for column in (
        "packing",
        "bare",
        "ours",
        "naive",
        "wall: ours / bare",
        "CPU: ours / bare",
        "wall: naive / ours",
        "CPU: naive / ours",
        "peak MB",
    ):
        table.add_column(column, justify="right")
    console = Console(width=140)
    for packing in arguments.packing:
        naive_runs = min(arguments.naive_runs, arguments.runs)
        found = measure(packing, arguments.folder, manifest, arguments.runs, naive_runs)
        table.add_row(*_row(found))
        for name, seconds in (("bare", found.bare), ("ours", found.ours), ("naive", found.naive)):
            runs = ", ".join(f"{one.wall:.2f}/{one.cpu:.2f}" for one in seconds)
            console.print(f"{packing}, {name}: {runs}")
    console.print(table)


if __name__ == "__main__":
    main()
