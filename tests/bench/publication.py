"""From the last lead of a cycle to its published product, by a service that watches its inbox.

``python -m tests.bench.publication [--cycles 50] [--models nano t] [--packing grid_ccsds] [--naive-runs 1]``

The cycle is that of ``tests.bench.large_cycle``: 1,400 messages of 1400 x 1200 points in 14 files. For every
cycle its reference time is written into all of them, so that each is a cycle of its own. 12 files lie in the
inbox, and what can be done of them is done; then both files of the last lead are put there at once, and the
clock starts. Files come as links with markers (``<name>.done``): writing them is the sender's time. The inbox
is looked at every 0.1 s.

noticed     until the job is begun: looking, reading headers, hashing the last two files
collect     until its model and files are found to be those of the submission
decode      what is left to read, and the cycle as a file; inference of leads goes on beside it
inference   what is left of it after the decoding
check       the gate
product     the dataset and its NetCDF file
publication what makes it durable: digest, fsync, record
all         the sum

``naive`` is the way of ``tests.bench.reading`` (cfgrib by groups, k-d tree), the same inference lead by lead
and the same product, from the same files. p50 and p99 over the cycles, in milliseconds; the ratio is of its
median to the p50 of all. Model T has random weights, exported by ``training.export``: speed is the same.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import eccodes
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from service import grib, stages
from service.cycle import CycleInput, read_cycle
from service.job import Job
from service.runtime import Runtime
from service.schedule import now_utc
from service.settings import Settings
from service.stages import origin_of, write_cycle_product
from service.submission import Submission
from service.times import compact_time, iso_time
from tests.bench.large_cycle import LEADS_HOURS, PACKINGS, cycle_files
from tests.bench.random_model import write_random_model
from tests.bench.reading import read_naively
from tests.shipped_model import SHIPPED

STAGES: Final = ("noticed", "collect", "decode", "inference", "check", "product", "publication", "all")
_DAY_HOURS: Final = 24
_REFERENCE_TIME: Final = 12
"""Octets of section 1 before the reference time: year (2), month, day, hour, minute, second."""

_TEMPLATE: Final = slice(7, 9)
_STATISTICAL: Final = 8
_END_OF_INTERVAL: Final = 34
"""Octets of section 4 before the end of the interval, in template 4.8 (WMO Manual on Codes, FM 92)."""

_SECTION_0_OCTETS: Final = 16


class Cycles:
    """The files of one cycle, which become those of any other by its reference time."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self._places = {path: list(_places_of_times(path)) for path in paths}

    def date(self, reference_time: np.datetime64) -> None:
        """Make them files of this cycle, in place."""
        for path, places in self._places.items():
            with path.open("r+b") as file:
                for place, lead_hours in places:
                    moment = (reference_time + np.timedelta64(lead_hours, "h")).astype("datetime64[s]").item()
                    file.seek(place)
                    file.write(moment.year.to_bytes(2, "big") + bytes(moment.timetuple()[1:6]))


def _places_of_times(path: Path) -> Iterator[tuple[int, int]]:
    """Where in a file a time is written, and how many hours after the reference time it is.

    The lead is that of the file's name: a run that was stopped leaves times behind that do not fit together.
    """
    (lead,) = re.findall(r"_h(\d{3})", path.name)
    lead_hours = int(lead)
    starts = {int(header.locator[-1]) for header in grib.scan(path)}
    with path.open("rb") as file:
        for start in sorted(starts):
            yield start + _SECTION_0_OCTETS + _REFERENCE_TIME, 0
            place, number = start + _SECTION_0_OCTETS, 1
            while True:
                file.seek(place)
                section = file.read(_TEMPLATE.stop)
                length, number = int.from_bytes(section[:4], "big"), section[4]
                if number == 4:
                    break
                place += length
            if int.from_bytes(section[_TEMPLATE], "big") == _STATISTICAL:
                yield place + _END_OF_INTERVAL, lead_hours


@contextmanager
def serving(folder: Path, models: Path, model: str, cycles: int) -> Iterator[Runtime]:
    """A service without its HTTP part, which looks for so many cycles, one every hour."""
    (folder / "inbox").mkdir(parents=True)
    runtime = Runtime(
        Settings.model_validate(
            {
                "models_folder": models,
                "model": model,
                "data_folder": folder / "data",
                "inbox": str(folder / "inbox"),
                "inbox_pattern": "%Y%m%d%H/*",
                "inbox_poll_seconds": 0.1,
                "cycle_hours": tuple(range(_DAY_HOURS)),
                "catch_up_hours": cycles + 1,
                "cycle_deadline_hours": 10 * cycles,
                "gate_heaviest_share": 1.0,
                "gate_z_mean": 1e6,
                "minimum_free_bytes": 0,
            }
        )
    )
    runtime.start()
    try:
        yield runtime
    finally:
        runtime.stop()


def put(folder: Path, paths: list[Path]) -> None:
    """Files and their markers; the marker makes one complete."""
    for path in paths:
        os.link(path, folder / path.name)
        (folder / f"{path.name}.done").touch()


def await_early_work(runtime: Runtime, files: int) -> None:
    """Until all that can be done of so many files is done."""
    assert runtime.ingest is not None
    while not runtime.ingest.early.is_done(files):
        time.sleep(0.02)


def await_product(runtime: Runtime, reference_time: np.datetime64) -> Job:
    """The job, once it is done."""
    while True:
        jobs = runtime.jobs.of_cycle(iso_time(reference_time))
        if jobs and jobs[0].finished:
            if jobs[0].state != "succeeded":
                raise SystemExit(f"{iso_time(reference_time)}: {jobs[0].problem}")
            return jobs[0]
        # Not often: it takes a core's time from what is measured.
        time.sleep(0.1)


def measure_cycle(
    runtime: Runtime, cycles: Cycles, reference_time: np.datetime64, products: list[float]
) -> dict[str, float]:
    """Stage to milliseconds. products: filled by every product with the seconds it took."""
    inbox = Path(str(runtime.settings.inbox))
    for old in inbox.iterdir():
        shutil.rmtree(old)
    cycles.date(reference_time)
    folder = inbox / compact_time(reference_time).replace("T", "")[:10]
    folder.mkdir()
    put(folder, cycles.paths[:-2])
    await_early_work(runtime, len(cycles.paths) - 2)
    products.clear()
    last = time.time()
    put(folder, cycles.paths[-2:])
    job = await_product(runtime, reference_time)
    ends = {stage.name: stage.ended.timestamp() for stage in job.stages}
    begun = min(stage.started for stage in job.stages).timestamp()
    product = products[0]
    moments = [last, begun, *(ends[name] for name in ("collect", "decode", "infer", "check"))]
    spans = np.diff([*moments, ends["publish"]]).tolist()
    spans[-1:] = [product, spans[-1] - product, ends["publish"] - last]
    return {name: 1000 * span for name, span in zip(STAGES, spans, strict=True)}


def measure_naive(runtime: Runtime, paths: list[Path], folder: Path) -> float:
    """Milliseconds from all files to a product's file. The input of the network has the same shape."""
    inference = runtime.inference
    manifest = inference.artefact.manifest
    cycle = read_cycle(paths, manifest.cycle)
    origin = origin_of(cycle, runtime.task(Submission(reference_time=None, inputs=())))
    start = time.perf_counter()
    read_naively(paths, manifest)
    probabilities = inference.infer(cycle.values)
    write_cycle_product(folder / "naive.nc", 1, cycle, probabilities, inference, origin)
    return 1000 * (time.perf_counter() - start)


@contextmanager
def timed_products() -> Iterator[list[float]]:
    """Seconds that each product took to be built and written."""
    found: list[float] = []

    def timed(path: Path, revision: int, cycle: CycleInput, *rest: Any) -> None:
        start = time.perf_counter()
        write_cycle_product(path, revision, cycle, *rest)
        found.append(time.perf_counter() - start)

    with patch.object(stages, "write_cycle_product", timed):
        yield found


def measure(model: str, models: Path, cycles: Cycles, count: int, naive_runs: int) -> list[list[str]]:
    """Rows of a table: stage, p50, p99."""
    with tempfile.TemporaryDirectory(dir=cycles.paths[0].parent) as name, timed_products() as products:
        folder = Path(name)
        with serving(folder, models, model, count + 1) as runtime:
            newest = now_utc().astype("datetime64[h]").astype("datetime64[s]")
            times = [newest - np.timedelta64(number, "h") for number in range(count + 1)]
            # One more before: worker processes, weights and the session are warm in a service that runs.
            measure_cycle(runtime, cycles, times[0], products)
            found = [
                measure_cycle(runtime, cycles, time, products)
                for time in track(times[1:], f"{model}, cycles")
            ]
            naive = [measure_naive(runtime, cycles.paths, folder) for _ in range(naive_runs)]
    rows = []
    for stage in STAGES:
        values = [one[stage] for one in found]
        rows.append([stage, f"{np.percentile(values, 50):.0f}", f"{np.percentile(values, 99):.0f}"])
    if naive:
        median = statistics.median(naive)
        rows.append([f"naive, {len(naive)} runs", f"{median:.0f}", ""])
        rows.append(["naive / all", f"{median / np.percentile([one['all'] for one in found], 50):.0f}", ""])
    return rows


def main() -> None:
    """Print a table for every model."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.publication",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("data/bench"), help="where the files are kept")
    parser.add_argument("--packing", choices=PACKINGS, default="grid_ccsds")
    parser.add_argument("--models", nargs="+", choices=("nano", "t"), default=["nano", "t"])
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--naive-runs", type=int, default=1)
    arguments = parser.parse_args()
    cycles = Cycles(cycle_files(arguments.folder, arguments.packing))
    with tempfile.TemporaryDirectory() as name:
        models = Path(name)
        (models / SHIPPED.name).symlink_to(SHIPPED)
        if "t" in arguments.models:
            write_random_model(models, "T", SHIPPED)
        for model in arguments.models:
            table = Table(
                title=f"{model}, {arguments.packing}, {len(LEADS_HOURS) - 1} leads, "
                f"{arguments.cycles} cycles, {os.cpu_count()} cores, eccodes {eccodes.__version__}"
            )
            for column in ("stage", "p50 ms", "p99 ms"):
                table.add_column(column, justify="right" if "ms" in column else "left")
            for row in measure(model, models, cycles, arguments.cycles, arguments.naive_runs):
                table.add_row(*row)
            Console(width=100).print(table)


if __name__ == "__main__":
    main()
