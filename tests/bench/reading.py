"""Reading and remapping a cycle, as ratios to the bare decoding of its messages and to the naive way.

``python -m tests.bench.reading [--packing grid_simple ...] [--runs 5]``

floor   the wanted messages decoded by eccodes from bytes already in memory, on as many threads
naive   ``cfgrib.open_dataset`` once per group of levels, a k-d tree of source points, inverse distance
        weighting over four neighbours

All three are measured in turn in the same run. The cycle is simulated: 7 leads of 22 messages of 1050 x 840
points; 97 of them are wanted: 16 of each of 6 leads, and the accumulation of the lead before.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cfgrib
import eccodes
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

from service.channels import CHANNELS
from service.cycle import read_cycle
from service.grids import grid_from_definition
from training.cycle_files import wanted_messages, write_grib2
from training.domain import LEADS_HOURS, QPE, WINDOW, specification
from training.simulate import FULL, simulate_cycle

THREADS = 2
RAIN_CODE = (0, 1, 8)
PACKINGS = ("grid_simple", "grid_complex_spatial_differencing", "grid_ccsds", "grid_jpeg")
_GROUPS = (
    {"typeOfLevel": "isobaricInhPa", "level": 850},
    {"typeOfLevel": "isobaricInhPa", "level": 500},
    {"typeOfLevel": "isobaricInhPa", "level": 100},
    {"typeOfLevel": "meanSea"},
    {"typeOfLevel": "heightAboveGround", "level": 2},
    {"typeOfLevel": "heightAboveGround", "level": 10},
    {"typeOfLevel": "surface", "stepType": "accum"},
)


def bare_messages(paths: list[Path], wanted: Collection[tuple[int, ...]]) -> list[bytes]:
    """The bytes of the wanted messages; finding them is not part of the measurement.

    Of the lead before the first only the accumulated rain is wanted.
    """
    found = []
    for path in paths:
        with path.open("rb") as file:
            while (handle := eccodes.codes_grib_new_from_file(file)) is not None:
                code = tuple(
                    eccodes.codes_get_long(handle, key)
                    for key in (
                        "discipline",
                        "parameterCategory",
                        "parameterNumber",
                        "typeOfFirstFixedSurface",
                        "scaledValueOfFirstFixedSurface",
                    )
                )
                early = eccodes.codes_get_long(handle, "endStep") < LEADS_HOURS[0]
                if code in wanted and (not early or code[:3] == RAIN_CODE):
                    found.append(eccodes.codes_get_message(handle))
                eccodes.codes_release(handle)
    return found


def decode_bare(messages: list[bytes]) -> None:
    """The floor: nothing but the C library's decoding."""

    def decode(message: bytes) -> None:
        handle = eccodes.codes_new_from_message(message)
        eccodes.codes_get_array(handle, "values")
        eccodes.codes_release(handle)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(decode, messages))


def read_naively(paths: list[Path]) -> list[NDArray[np.float64]]:
    """What one writes first: xarray by cfgrib, one open per group, nearest points from a k-d tree."""
    latitude, longitude = grid_from_definition(QPE, WINDOW).latitude_longitude()
    neighbours: tuple[NDArray[np.float64], NDArray[np.intp]] | None = None
    remapped = []
    for path in paths:
        for group in _GROUPS:
            try:
                dataset = cfgrib.open_dataset(path, filter_by_keys=group, indexpath="")
            except (cfgrib.DatasetBuildError, EOFError):
                continue
            if neighbours is None:
                tree = cKDTree(_unit_vectors(dataset["latitude"].values, dataset["longitude"].values))
                distance, index = tree.query(_unit_vectors(latitude, longitude), k=4)
                weights = 1.0 / np.maximum(distance, 1e-9)
                neighbours = weights / weights.sum(-1, keepdims=True), np.asarray(index)
            share, index = neighbours
            remapped += [
                (field.values.ravel()[index] * share).sum(-1) for field in dataset.data_vars.values()
            ]
    if len(remapped) < len(CHANNELS) * len(paths) // 2:
        raise SystemExit(f"the naive way found {len(remapped)} fields only: the comparison would be unfair")
    return remapped


def _unit_vectors(latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> NDArray[np.float64]:
    phi, lam = np.deg2rad(latitude).ravel(), np.deg2rad(longitude).ravel()
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], -1)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Print a table of medians and ratios."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reading", description=__doc__)
    parser.add_argument("--packing", nargs="+", choices=PACKINGS, default=list(PACKINGS))
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    cycle = simulate_cycle(1, np.datetime64("2022-08-09T18", "s"), tuple(range(24, 31)), FULL)
    wanted = {(*message.code, message.surface, message.level) for message in wanted_messages(cycle, 0)}
    table = Table(title=f"median seconds of {arguments.runs} runs, {THREADS} threads")
    for column in (
        "packing",
        "MB",
        "floor",
        "read_cycle",
        "naive",
        "read_cycle / floor",
        "naive / read_cycle",
    ):
        table.add_column(column, justify="right")
    for packing in arguments.packing:
        with tempfile.TemporaryDirectory() as name:
            paths = write_grib2(cycle, Path(name), packing)
            calls = (
                partial(decode_bare, bare_messages(paths, wanted)),
                partial(read_cycle, paths, specification()),
                partial(read_naively, paths),
            )
            runs = [[_seconds(call) for call in calls] for _ in range(arguments.runs)]
            size_mb = sum(path.stat().st_size for path in paths) / 1e6
        floor, ours, naive = (statistics.median(column) for column in zip(*runs, strict=True))
        table.add_row(
            packing, f"{size_mb:.0f}", *(f"{seconds:.2f}" for seconds in (floor, ours, naive)),
            f"{ours / floor:.2f}", f"{naive / ours:.1f}",
        )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
