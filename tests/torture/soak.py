"""Weeks of cycles in one run: a service must not grow, and retention must keep its disk bounded.

``rainpost serve`` watches an inbox into which simulated cycles come, one for every six hours, and a folder of
observations; a second model runs in the shadow. Its days pass as fast as it works (``hasty_service``). Once a
cycle is published it is observed, scored, and read in every form that it is served in; every third comes in
two parts, every fifth once more with other values, and with every fifth a file that cannot be used. Then the
footprint of the service is taken. Over the last third of the cycles nothing may take up more than over the
second third; the first is for caches that fill and for cycles that retention does not remove yet.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from service.times import iso_time
from tests.service.sample_artefact import write_artefact, write_other_artefact
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_server import Server
from tests.service.sample_service import reach
from tests.torture.campaign import report
from tests.torture.footprint import footprint
from tests.torture.hasty_service import NOW, OBJECTS, arguments, write_whole
from training.figures import new_figure, save
from training.progress import Progress

CYCLES_A_DAY: Final = 4
_INTERVAL: Final = np.timedelta64(24 // CYCLES_A_DAY, "h")
_LEADS: Final = (2, 3)
_THRESHOLDS: Final = 2
_LOOK_SECONDS: Final = 0.05
_LIMIT_SECONDS: Final = 120
_MEBIBYTE: Final = 2**20
_SHOWN_TYPES: Final = 8

Sample = dict[str, float]

MOST_GROWTH: Final[Mapping[str, tuple[float, float]]] = {
    "resident_bytes": (1.03, 0),
    "worker_resident_bytes": (1.03, 0),
    "objects": (1.0, 200),
    "threads": (1.0, 1),
    "worker_threads": (1.0, 1),
    "open_files": (1.0, 1),
    "worker_open_files": (1.0, 1),
    "disk_bytes": (1.05, 0),
    "disk_entries": (1.05, 0),
}
"""What the median of the last third may be of that of the second third, and what may come on top: of threads
and files one, since a sample can meet a round of the retention; of some 330,000 objects 200, by which the
medians of a steady service differ."""

_MAP: Final = (
    "/wms?SERVICE=WMS&VERSION=1.3.0&REQUEST=GetMap&LAYERS=class&STYLES=&CRS=CRS:84"
    "&BBOX=125.5,37.5,126.5,38.5&WIDTH=64&HEIGHT=64&FORMAT=image/png"
)
_READ: Final = (
    ("/cycles/{time}/product", "application/x-netcdf"),
    ("/cycles/{time}/product", "application/wmo-GRIB2"),
    ("/cycles/{time}/product?lead=2", "image/png"),
    ("/cycles/{time}/product?lead=3", "image/tiff"),
    ("/cycles/{time}/product?lat=38&lon=126", "application/json"),
    ("/cycles/{time}/layers", "*/*"),
    ("/cycles/{time}/layers/observed", "*/*"),
    ("/cycles/{time}/layers/class", "*/*"),
    ("/cycles/{time}/map", "*/*"),
    ("/cycles/{time}/explanations", "*/*"),
    ("/cycles/{time}/revisions/1.zarr/zarr.json", "*/*"),
    ("/cycles/{time}", "*/*"),
    ("/cycles", "*/*"),
    ("/collections/precipitation/position?coords=POINT(126 38)", "*/*"),
    ("/collections/precipitation/cube?bbox=125.9,37.9,126.1,38.1&f=NetCDF", "*/*"),
    ("/collections/precipitation/instances", "*/*"),
    ("/wms?SERVICE=WMS&REQUEST=GetCapabilities", "*/*"),
    (_MAP, "*/*"),
    ("/verification", "*/*"),
    ("/verification/history", "*/*"),
    ("/models", "*/*"),
    ("/metrics", "*/*"),
    ("/readyz", "*/*"),
)


class HastyServer(Server):
    """A server whose present is set."""

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__(folder, **settings)
        self.arguments = arguments(folder)

    def set_present(self, moment: np.datetime64) -> None:
        """From now on it is this time there."""
        write_whole(self.folder / NOW, str(moment))

    def objects(self) -> Counter[str]:
        """What Python keeps there, by type."""
        path = self.folder / OBJECTS
        path.unlink(missing_ok=True)
        os.kill(self.process.pid, signal.SIGUSR1)
        reach(path.exists)
        return Counter(json.loads(path.read_text()))


@dataclass
class Outcome:
    """samples: one for each cycle that was published and scored. objects: by type, for each sample."""

    samples: list[Sample] = field(default_factory=list)
    objects: list[Counter[str]] = field(default_factory=list)
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        """How many were published and scored."""
        return len(self.samples)


class Soak:
    """A service, and the cycles that it gets.

    keep_days: of RAINPOST_KEEP_DAYS. thorough: with a shadow, with cycles that come twice and files of no
    use, and every form is read, and what Python keeps is counted.
    """

    def __init__(self, folder: Path, seed: int, *, keep_days: float = 2, thorough: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._random = np.random.default_rng(seed)
        self._kept = round(keep_days * CYCLES_A_DAY)
        self._thorough = thorough
        self._inbox, self._observed = folder / "inbox", folder / "observed"
        for place in (self._inbox, self._observed):
            place.mkdir()
        write_artefact(folder / "models")
        write_other_artefact(folder / "models", name="other")
        shadow = {"RAINPOST_SHADOW_MODEL": "other-0.1.0"} if thorough else {}
        self._sources = ("model", "raw", "shadow") if thorough else ("model", "raw")
        self.server = HastyServer(
            folder,
            RAINPOST_MODEL="sample",
            RAINPOST_INBOX=str(self._inbox),
            RAINPOST_INBOX_PATTERN="%Y%m%d%H/*",
            RAINPOST_INBOX_POLL_SECONDS=str(_LOOK_SECONDS),
            RAINPOST_INBOX_SETTLE_SECONDS="0",
            RAINPOST_OBSERVATION_FOLDER=str(self._observed),
            RAINPOST_OBSERVATION_POLL_SECONDS=str(_LOOK_SECONDS),
            RAINPOST_CATCH_UP_HOURS=str(min(24.0, 24 * keep_days)),
            RAINPOST_KEEP_DAYS=str(keep_days),
            RAINPOST_FAILED_RETENTION_HOURS="0",
            RAINPOST_MINIMUM_FREE_BYTES="0",
            **shadow,
        )
        self.outcome = Outcome()

    def run(self, cycles: int, progress: Progress, seconds: float = math.inf) -> Outcome:
        """So many cycles, or as many as the seconds allow."""
        started = time.monotonic()
        self.server.set_present(REFERENCE_TIME)
        self.server.start()
        try:
            while self.outcome.cycles < cycles and time.monotonic() - started < seconds:
                self._cycle(self.outcome.cycles)
                self._take_sample()
                last = self.outcome.samples[-1]
                memory = f"{last['resident_bytes'] / _MEBIBYTE:.0f} MiB"
                progress.advance(note=f"{memory}, {last['threads']} threads, {last['open_files']} open files")
        finally:
            self.server.stop(signal.SIGTERM)
            self.server.client.close()
        log = self.server.log.read_text()
        faults = {word: log.count(word) for word in ("Traceback", " ERROR ")}
        self.outcome.broken += [f"{count} times{word} in the log" for word, count in faults.items() if count]
        self.outcome.seconds = time.monotonic() - started
        return self.outcome

    def _cycle(self, number: int) -> None:
        """One cycle from its files to its scores, and to whoever reads it."""
        time_of = REFERENCE_TIME + number * _INTERVAL
        self.server.set_present(time_of)
        self._forecast(time_of, number)
        for lead in _LEADS:
            write_dfs(self._observed, time_of + np.timedelta64(lead, "h"), sample_rain_mm(10 * number + lead))
        rows = len(self._sources) * _THRESHOLDS * len(_LEADS)
        self._wait(lambda: self._scores(time_of) == rows, "be scored")
        if self._thorough:
            self._read(iso_time(time_of))
        self._remove_inputs()

    def _forecast(self, time_of: np.datetime64, number: int) -> None:
        place = self._inbox / str(time_of).replace("-", "").replace("T", "")[:10]
        place.mkdir()
        scale = float(self._random.uniform(0.5, 8.0))
        paths = write_cycle(self._folder / "writing", replaced(reference_time=time_of), scale)
        *first, last = paths
        for path in first:
            path.rename(place / path.name)
        if number % 3 == 2:
            # Long enough for two looks, and for what is done of a cycle that is not whole.
            time.sleep(6 * _LOOK_SECONDS)
        last.rename(place / last.name)
        self._wait(lambda: self._revision(time_of) == 1, "be published")
        if self._thorough and number % 5 == 4:
            self._send_again(time_of, scale + 1.0)
            self._send_useless(time_of)

    def _send_again(self, time_of: np.datetime64, scale: float) -> None:
        paths = write_cycle(self._folder / "again", replaced(reference_time=time_of), scale)
        answer = self.server.post(paths, "wait=120")
        if answer.status_code != 200 or self._revision(time_of) != 2:
            self._break(f"{iso_time(time_of)} sent again: {answer.status_code} {answer.text[:200]}")

    def _send_useless(self, time_of: np.datetime64) -> None:
        content = (self._folder / "again" / "sample_h001.gb2").read_bytes()[:-100]
        answer = self.server.client.post(
            f"/correct?reference_time={iso_time(time_of)}",
            files=[("files", ("sample_h001.gb2", content))],
            headers={"Prefer": "wait=120"},
        )
        if answer.status_code != 422:
            self._break(f"a file that is cut off: {answer.status_code} {answer.text[:200]}")

    def _read(self, time_of: str) -> None:
        for path, accepted in _READ:
            answer = self.server.client.get(path.format(time=time_of), headers={"Accept": accepted})
            # WMS says with status 200 that something is wrong.
            if answer.status_code != 200 or b"ServiceException" in answer.content[:200]:
                self._break(f"GET {answer.url}: {answer.status_code} {answer.text[:200]}")
        with self.server.client.stream("GET", "/events") as stream:
            next(stream.iter_lines())

    def _remove_inputs(self) -> None:
        """As whoever fills the folders has to: the service leaves them as they are."""
        for place in sorted(self._inbox.iterdir())[: -self._kept]:
            for path in place.iterdir():
                path.unlink()
            place.rmdir()
        for path in sorted(self._observed.iterdir())[: -self._kept * len(_LEADS)]:
            path.unlink()

    def _take_sample(self) -> None:
        self._wait(self._is_at_rest, "come to rest, with what is too old removed")
        objects = self.server.objects() if self._thorough else Counter()
        one = footprint(self.server.process.pid, self._folder / "data")
        self.outcome.samples.append(asdict(one) | {"objects": objects.total()})
        self.outcome.objects.append(objects)

    def _is_at_rest(self) -> bool:
        """No job at work, and cycles on the disk that are to be kept, and the one they count from, alone."""
        lines = self.server.client.get("/metrics").text.splitlines()
        unfinished = [line for line in lines if line.startswith("rainpost_unfinished_jobs{")]
        most = {"products": self._kept + 1, "observations": (self._kept + 1) * len(_LEADS)}
        return all(line.endswith(" 0.0") for line in unfinished) and all(
            sum(1 for _ in (self._folder / "data" / name).glob("*Z*")) <= count
            for name, count in most.items()
        )

    def _scores(self, time_of: np.datetime64) -> int:
        """Rows of the cycle: one for each source, lead and threshold that was compared, once."""
        answer = self.server.client.get(f"/verification?cycle={iso_time(time_of)}").raise_for_status()
        return sum(row["lead_hours"] is not None and row["matches"] == 1 for row in answer.json()["scores"])

    def _revision(self, time_of: np.datetime64) -> int | None:
        answer = self.server.client.get(f"/cycles/{iso_time(time_of)}")
        revision: int | None = answer.json()["revision"] if answer.is_success else None
        return revision

    def _break(self, what: str) -> None:
        self.outcome.broken.append(f"cycle {self.outcome.cycles + 1}: {what}")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + _LIMIT_SECONDS
        while not condition():
            if time.monotonic() > until:
                raise RuntimeError(
                    f"cycle {self.outcome.cycles + 1} did not {what} within {_LIMIT_SECONDS} s; the log "
                    f"ends:\n{self.server.log.read_text()[-2000:]}"
                )
            time.sleep(_LOOK_SECONDS / 2)


def thirds(values: Sequence[float]) -> tuple[float, float, float]:
    """Medians of the first, second and last third; what does not divide belongs to the first."""
    third = len(values) // 3
    parts = values[: -2 * third], values[-2 * third : -third], values[-third:]
    first, second, last = (statistics.median(part) for part in parts)
    return first, second, last


def growth(samples: Sequence[Sample], most: Mapping[str, tuple[float, float]] = MOST_GROWTH) -> list[str]:
    """What takes up more over the last third of the samples than it may."""
    found = []
    for name, (ratio, more) in most.items():
        _, before, after = thirds([one[name] for one in samples])
        if after > ratio * before + more:
            found.append(f"{name} grew from {before:.10g} to {after:.10g}")
    return found


def grown_types(objects: Sequence[Counter[str]]) -> list[str]:
    """Of which types there are more objects over the last third than over the second, those of most first."""
    names = {name for one in objects for name in one}
    gains = {name: thirds([one[name] for one in objects]) for name in names}
    order = sorted(names, key=lambda name: gains[name][1] - gains[name][2])
    return [
        f"{gains[name][2] - gains[name][1]:+g} {name}"
        for name in order[:_SHOWN_TYPES]
        if gains[name][2] > gains[name][1]
    ]


def table(samples: Sequence[Sample]) -> Table:
    """Medians of the thirds, and what may be."""
    made = Table(title=f"{len(samples)} cycles, medians by thirds of the run")
    for column in ("", "first", "second", "last", "last / second", "at most"):
        made.add_column(column, justify="right")
    for name in samples[0]:
        first, second, last = thirds([one[name] for one in samples])
        ratio, more = MOST_GROWTH.get(name, (math.inf, 0))
        limit = "-" if math.isinf(ratio) else f"{ratio:g}" + (f", + {more:g}" if more else "")
        shown = [
            f"{one / _MEBIBYTE:.2f} MiB" if name.endswith("bytes") else f"{one:,.0f}"
            for one in (first, second, last)
        ]
        made.add_row(name.replace("_", " "), *shown, f"{last / second:.4f}", limit)
    return made


def draw(samples: Sequence[Sample], path: Path) -> None:
    """What the service took up, cycle by cycle, as a PNG."""
    figure = new_figure(7.5, 5.0)
    panels: tuple[tuple[str, float, dict[str, str]], ...] = (
        ("memory, MiB", _MEBIBYTE, {"resident_bytes": "service", "worker_resident_bytes": "its processes"}),
        ("threads", 1, {"threads": "service", "worker_threads": "its processes"}),
        ("open files", 1, {"open_files": "service", "worker_open_files": "its processes"}),
        ("disk, MiB", _MEBIBYTE, {"disk_bytes": "what retention keeps", "ledger_bytes": "ledger"}),
    )
    for axes, (title, unit, lines) in zip(figure.subplots(2, 2).ravel(), panels, strict=True):
        for name, label in lines.items():
            axes.plot(range(1, len(samples) + 1), [one[name] / unit for one in samples], label=label)
        axes.set(title=title, xlabel="cycle", ylim=(0, None))
        axes.legend()
    save(figure, path)


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.soak", description=__doc__)
    parser.add_argument("--days", type=int, default=30, help="of four cycles each (default: 30)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default: 1)")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="end after so many minutes with what was done by then"
    )
    parser.add_argument("--picture", type=Path, help="PNG of what it took up, by cycle")
    options = parser.parse_args()
    cycles = CYCLES_A_DAY * options.days
    with tempfile.TemporaryDirectory() as name:
        soak = Soak(Path(name) / "soak", options.seed)
        outcome = soak.run(cycles, Progress("soak", cycles, "cycles"), 60 * options.minutes)
    Console(width=110).print(table(outcome.samples))
    if options.picture is not None:
        draw(outcome.samples, options.picture)
    grown = growth(outcome.samples)
    _, before, after = thirds([one["ledger_bytes"] for one in outcome.samples])
    figures = {
        "cycles": outcome.cycles,
        "ledger, bytes a cycle": round(3 * (after - before) / outcome.cycles),
        "objects that became more": grown_types(outcome.objects),
        "seconds": round(outcome.seconds),
    }
    return report(figures, outcome.broken + grown)


if __name__ == "__main__":
    sys.exit(main())
