"""What a service costs as its work grows: more members of a cycle, and an ever longer archive.

``python -m tests.bench.growth [members] [archive] [--counts 1 4 16] [--sizes 10 100 1000] [--runs 1]``

members  1, 4 and 16 submissions for one cycle at once, as of an ensemble, of which each is a cycle of
         operational size (97 messages of 1400 x 1200 points, all wanted) with content of its own, through
         ``nano``. A domain costs what a member costs: the same reading, remapping and inference, by its own
         model. In cycles a minute: by one service process with 1 and 2 jobs at once, and by 1, 2 and 4
         service processes that share a PostgreSQL database and one data folder, where PostgreSQL is
         installed. Beside them the seconds that the stages of a job took, medians, and the ratio to the first
         row of the same count.
archive  cycles of a small model, published one after another by jobs, with counts of verification for six
         leads each: cycles a minute of the last tenth (of the last ten at least), and what it takes to list
         the newest 50, to find the newest product, to add up all scores, those of one cycle and those of
         every day, to answer a scrape of the metrics, and to start the service. The last row is how each grew
         beside the archive, 1 being in proportion; of cycles a minute it is the ratio of last to first.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import eccodes
import numpy as np
import pytest
from rich.console import Console
from rich.progress import track
from rich.table import Table

from service import files
from service.artefact import MANIFEST, Manifest
from service.contingency import Contingency
from service.documents import cycles_document
from service.job import STAGES, Job
from service.ledger import Entry, Match, Selection
from service.references import hash_file
from service.runtime import Runtime
from service.selection import select
from service.settings import Settings
from service.submission import InputFile, Submission
from service.times import compact_time, iso_time
from service.verification_counts import ReliabilityBin, ThresholdCounts
from tests.bench.large_cycle import PACKINGS, cycle_files
from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import replaced, write_cycle
from tests.service.sample_postgresql import new_database, postgresql
from tests.shipped_model import SHIPPED

_FIRST: Final = np.datetime64("2024-01-01T00", "s")
_INTERVAL: Final = np.timedelta64(6, "h")
_HOUR: Final = np.timedelta64(1, "h")
_LEADS_HOURS: Final = range(25, 31)
_BINS: Final = 20
_LISTED: Final = 50
_AT_ONCE: Final = 50
_MOST_WORKERS: Final = 4
_SPAWN: Final = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Installation:
    """Service processes that share the work; jobs_at_once: of each. shared: whether on PostgreSQL."""

    name: str
    processes: int
    jobs_at_once: int
    shared: bool


INSTALLATIONS: Final = (
    Installation("1 process, 1 job at once, SQLite", 1, 1, shared=False),
    Installation("1 process, 2 jobs at once, SQLite", 1, 2, shared=False),
    Installation("1 process, 1 job at once, PostgreSQL", 1, 1, shared=True),
    Installation("2 processes, 1 job at once, PostgreSQL", 2, 1, shared=True),
    Installation("4 processes, 1 job at once, PostgreSQL", 4, 1, shared=True),
)


def member_files(folder: Path, packing: str, member: int) -> list[Path]:
    """The wanted messages of the large cycle, a file a lead, with the member's number in each of them."""
    place = folder / "members" / packing / str(member)
    if place.exists():
        return sorted(place.iterdir())
    manifest = Manifest.model_validate_json((SHIPPED / MANIFEST).read_text())
    headers = [header for path in cycle_files(folder, packing) for header in files.scan(path)]
    contents: dict[float, bytearray] = defaultdict(bytearray)
    for header in select(headers, manifest.cycle).headers:
        with header.path.open("rb") as file:
            file.seek(int(header.locator[-1]))
            handle = eccodes.codes_grib_new_from_file(file)
        eccodes.codes_set(handle, "backgroundProcess", member)
        contents[header.lead_hours] += eccodes.codes_get_message(handle)
        eccodes.codes_release(handle)
    partial = place.with_name(f"{member}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for lead_hours, content in contents.items():
        (partial / f"h{int(lead_hours):03d}.gb2").write_bytes(content)
    partial.rename(place)
    return sorted(place.iterdir())


def serve(settings: dict[str, Any], ready: Any, stop: Any) -> None:
    """A service process without its HTTP part."""
    runtime = Runtime(Settings.model_validate(settings))
    runtime.start(watch=False)
    ready.set()
    stop.wait()
    runtime.stop()


@contextmanager
def installed(installation: Installation, folder: Path, models: Path, url: str | None) -> Iterator[Runtime]:
    """The first process of an installation, which is this one, with the others at work."""
    settings: dict[str, Any] = {
        "models_folder": models,
        "data_folder": folder,
        "jobs_at_once": installation.jobs_at_once,
        "max_queued_jobs": 10_000,
        "minimum_free_bytes": 0,
    }
    if url is not None:
        settings["database_url"] = url
    stop = _SPAWN.Event()
    with ExitStack() as stack:
        runtime = Runtime(Settings.model_validate(settings))
        runtime.start(watch=False)
        stack.callback(runtime.stop)
        for _ in range(installation.processes - 1):
            ready = _SPAWN.Event()
            process = _SPAWN.Process(target=serve, args=(settings, ready, stop))
            process.start()
            stack.callback(process.join)
            ready.wait()
        stack.callback(stop.set)
        yield runtime


def run_all(
    runtime: Runtime, inputs: Sequence[list[InputFile]], cycles: Sequence[np.datetime64]
) -> list[Job]:
    """Submit all at once; the jobs when they are done."""
    jobs = [
        runtime.jobs.submit(runtime.task(Submission.of(files, iso_time(cycle))))
        for files, cycle in zip(inputs, cycles, strict=True)
    ]
    while runtime.jobs.unfinished():
        time.sleep(0.05)
    done = [runtime.jobs.get(job.id) for job in jobs]
    if failed := [job.problem for job in done if job.state != "succeeded"]:
        raise SystemExit(f"{len(failed)} jobs failed, the first: {failed[0]}")
    return done


def measure_members(arguments: argparse.Namespace) -> Table:
    """Cycles a minute by installation and number of members."""
    paths = [
        member_files(arguments.folder, arguments.packing, number)
        for number in track(range(max(arguments.counts) + _MOST_WORKERS), "files of members")
    ]
    members = [[hash_file(path) for path in one] for one in paths]
    reference_time = files.scan(paths[0][0])[0].reference_time
    table = Table(title=f"{arguments.packing}, {os.cpu_count()} cores, {arguments.runs} runs")
    for column in ("installation", "members", "cycles/min", "ratio", *(f"{stage} s" for stage in STAGES)):
        table.add_column(column, justify="left" if column == "installation" else "right")
    with ExitStack() as stack, tempfile.TemporaryDirectory() as name:
        server = _server(stack)
        models = Path(name) / "models"
        models.mkdir()
        (models / SHIPPED.name).symlink_to(SHIPPED)
        first: dict[int, float] = {}
        for installation in INSTALLATIONS:
            if installation.shared and server is None:
                continue
            for count in arguments.counts:
                rates, jobs = [], []
                for run in range(arguments.runs):
                    folder = Path(name) / f"{installation.name}-{count}-{run}"
                    url = new_database(server) if installation.shared and server else None
                    with installed(installation, folder, models, url) as runtime:
                        # As many at once as there are workers: all are warm then.
                        warm = members[-installation.processes * installation.jobs_at_once :]
                        run_all(runtime, warm, [reference_time] * len(warm))
                        start = time.perf_counter()
                        jobs += run_all(runtime, members[:count], [reference_time] * count)
                        rates.append(60 * count / (time.perf_counter() - start))
                rate = statistics.median(rates)
                ratio = rate / first.setdefault(count, rate)
                seconds = [_median_seconds(jobs, stage) for stage in STAGES]
                table.add_row(
                    *(installation.name, str(count), f"{rate:.1f}", f"{ratio:.2f}"),
                    *(f"{one:.2f}" for one in seconds),
                )
                Console().print(f"{installation.name}, {count} members: {rate:.1f} cycles/min")
    return table


def _median_seconds(jobs: Sequence[Job], stage: str) -> float:
    found = [
        (one.ended - one.started).total_seconds() for job in jobs for one in job.stages if one.name == stage
    ]
    return statistics.median(found)


def _server(stack: ExitStack) -> str | None:
    try:
        return stack.enter_context(postgresql())
    except pytest.skip.Exception as reason:
        Console().print(f"without PostgreSQL: {reason}")
        return None


def verify(runtime: Runtime, reference_time: np.datetime64) -> None:
    """Counts of six leads, as observations would have given them."""
    contingency = Contingency(10, 20, 30, 40)
    bins = tuple(ReliabilityBin(number, 5, 0.25 * number, number % 5) for number in range(_BINS))
    for lead_hours in _LEADS_HOURS:
        match = Match(reference_time + lead_hours * _HOUR, reference_time, lead_hours, 1, 1)
        counts = [ThresholdCounts(threshold, contingency, 7.0, bins) for threshold in (0.1, 10.0)]
        raw = [ThresholdCounts(threshold, contingency, 50.0) for threshold in (0.1, 10.0)]
        entries = [Entry("model", "sample-0.1.0", tuple(counts)), Entry("raw", "sample", tuple(raw))]
        runtime.ledger.record(match, entries)


def _questions(runtime: Runtime, reference_time: np.datetime64) -> dict[str, Callable[[], object]]:
    ledger = runtime.ledger
    return {
        f"list {_LISTED}": lambda: cycles_document(runtime.cycles.recent(_LISTED)),
        "newest": lambda: runtime.store.record(runtime.store.latest()),
        "all scores": lambda: ledger.sums(Selection(), reliability=True),
        "of a cycle": lambda: ledger.sums(Selection(reference_time=reference_time), reliability=True),
        "of every day": lambda: ledger.history(Selection(), 24 * _HOUR),
        "metrics": lambda: list(runtime.metrics.registry.collect()),
    }


def _milliseconds(call: Callable[[], object], runs: int = 5) -> float:
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        found.append(1000 * (time.perf_counter() - start))
    return statistics.median(found)


def fill(runtime: Runtime, folder: Path, numbers: range) -> float:
    """Publish these cycles by jobs, and record their verification; seconds that the jobs took."""
    seconds = 0.0
    for first in range(numbers.start, numbers.stop, _AT_ONCE):
        cycles = [_FIRST + number * _INTERVAL for number in range(first, min(first + _AT_ONCE, numbers.stop))]
        inputs = [
            [
                hash_file(path)
                for path in write_cycle(folder / compact_time(cycle), replaced(reference_time=cycle))
            ]
            for cycle in cycles
        ]
        start = time.perf_counter()
        run_all(runtime, inputs, cycles)
        seconds += time.perf_counter() - start
        for reference_time in cycles:
            verify(runtime, reference_time)
    return seconds


def measure_archive(arguments: argparse.Namespace) -> Table:
    """What each size of the archive costs."""
    installation = Installation("", 1, 1, shared=False)
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder, done = Path(name), 0
        write_artefact(folder / "models")
        for size in sorted(arguments.sizes):
            middle = max(done, size - max(size // 10, 10))
            with installed(installation, folder / "data", folder / "models", None) as runtime:
                fill(runtime, folder / "cycles", range(done, middle))
                seconds = fill(runtime, folder / "cycles", range(middle, size))
            row = {"cycles/min": 60 * (size - middle) / seconds}
            start = time.perf_counter()
            with installed(installation, folder / "data", folder / "models", None) as runtime:
                row["start"] = 1000 * (time.perf_counter() - start)
                for question, ask in _questions(runtime, _FIRST + (size // 2) * _INTERVAL).items():
                    row[question] = _milliseconds(ask)
            rows.append(row)
            done = size
            Console(width=140).print(f"{size} cycles:", {key: round(value, 1) for key, value in row.items()})
    table = Table(title=f"{os.cpu_count()} cores; milliseconds")
    table.add_column("archive")
    for column in rows[0]:
        table.add_column(column, justify="right")
    for size, row in zip(sorted(arguments.sizes), rows, strict=True):
        table.add_row(str(size), *(f"{value:.1f}" for value in row.values()))
    longer = max(arguments.sizes) / min(arguments.sizes)
    growth = [rows[-1][column] / rows[0][column] / longer for column in rows[0]]
    growth[0] = rows[-1]["cycles/min"] / rows[0]["cycles/min"]
    table.add_row("growth", *(f"{value:.2f}" for value in growth))
    return table


def main(given: Sequence[str] | None = None) -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", choices=("members", "archive"), default=["members", "archive"])
    parser.add_argument("--folder", type=Path, default=Path("data/bench"), help="where files are kept")
    parser.add_argument("--packing", choices=PACKINGS, default="grid_ccsds")
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--sizes", nargs="+", type=int, default=[10, 100, 1000])
    parser.add_argument("--runs", type=int, default=1)
    arguments = parser.parse_args(given)
    for part, measure in (("members", measure_members), ("archive", measure_archive)):
        if part in arguments.parts:
            Console(width=150).print(measure(arguments))


if __name__ == "__main__":
    main()
