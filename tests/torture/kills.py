"""Kill -9 at random moments, while cycles and observations come in and a reader looks at all that comes out.

A process takes new cycles and observations, beside what the one before left, and is killed at a moment that
is drawn over a whole life; the next one goes on. At the end one process lives until all is done. Then every
cycle must be published exactly once, and the ledger must hold what a run without a kill gives. All the while
the kernel keeps account of how files come to their published names.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from service.ledger import Ledger, Selection
from service.settings import Settings
from service.store import Store
from service.times import compact_time, iso_time, parse_time
from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_postgresql import new_database, postgresql
from tests.torture.campaign import parser, report
from tests.torture.half_files import HalfFileReader
from tests.torture.mortal_service import STEPS, Plan, accepted, at_work, begin, warm_up
from tests.torture.published_names import watching
from training.progress import Progress

CYCLES_A_LIFE = 1
_CYCLE_SPACING = np.timedelta64(6, "h")
_LEADS = (2, 3)

Entry = tuple[str, str, tuple[Path, ...]]


@dataclass
class Outcome:
    """looks and files_read: of the reader. renames: files that got a published name as they should.

    moments: what processes were at when they were killed. broken: promises that were not kept.
    """

    kills: int
    lives: int
    cycles: int
    observations: int
    looks: int
    files_read: int
    renames: int
    moments: Counter[str]
    broken: list[str]


class Work:
    """Cycles and observations, made when they are asked for; the same for the same seed.

    published_in: told of each folder, in the data folder, in which something of them will be published.
    """

    def __init__(self, folder: Path, seed: int, published_in: Callable[[str], None]) -> None:
        self._folder = folder
        self._published_in = published_in
        self._random = np.random.default_rng([seed, 1])
        self.entries: list[Entry] = []

    def next_cycle(self) -> list[Entry]:
        """A cycle and the observations of its leads, in any order."""
        number = sum(kind == "cycle" for kind, _, _ in self.entries)
        time_of = REFERENCE_TIME + number * _CYCLE_SPACING
        paths = write_cycle(
            self._folder / f"cycle{number}", replaced(reference_time=time_of), 1.0 + number % 7
        )
        self._published_in(f"products/{compact_time(time_of)}")
        made: list[Entry] = [("cycle", iso_time(time_of), tuple(paths))]
        for lead in _LEADS:
            valid_time = time_of + np.timedelta64(lead, "h")
            self._published_in(f"observations/{compact_time(valid_time)}")
            path = write_dfs(self._folder, valid_time, sample_rain_mm(10 * number + lead))
            made.append(("observation", path.name, (path,)))
        self._random.shuffle(made)
        self.entries += made
        return made


def kill_again_and_again(
    folder: Path,
    count: int,
    seed: int,
    settings: tuple[tuple[str, Any], ...] = (),
    progress: Progress | None = None,
    seconds: float = math.inf,
) -> Outcome:
    """So many kills of services whose data lie in ``folder``, or as many as the seconds allow.

    settings: above all the database.
    """
    until = time.monotonic() + seconds
    folder.mkdir(parents=True, exist_ok=True)
    write_artefact(folder / "models")
    random = np.random.default_rng(seed)
    plan = Plan(folder, settings, ())
    moments: Counter[str] = Counter()
    lives, kills = 0, 0
    with (
        tempfile.TemporaryDirectory() as undisturbed,
        watching() as names,
        HalfFileReader(folder / "data") as reader,
    ):
        work = Work(folder / "files", seed, lambda name: names.watch(folder / "data" / name))
        open_entries = [entry for _ in range(CYCLES_A_LIFE) for entry in work.next_cycle()]
        # A first life without a kill tells how long one takes, once all imports are made.
        warm_up()
        lifetime = _lives(replace(plan, entries=tuple(open_entries)))
        while kills < count and time.monotonic() < until:
            known = accepted(plan)
            open_entries = [entry for entry in work.entries if entry[1] not in known]
            while len(open_entries) < 3 * CYCLES_A_LIFE:
                open_entries += work.next_cycle()
            lives += 1
            started = time.monotonic()
            process = begin(replace(plan, entries=tuple(open_entries)))
            process.join(float(random.uniform(0.0, 1.1 * lifetime)))
            if process.exitcode is None:
                process.kill()
                process.join()
                kills += 1
                moments.update(set(at_work(plan, process.pid or 0)))
                if progress is not None:
                    progress.advance()
            elif process.exitcode == 0:
                lifetime = 0.7 * lifetime + 0.3 * (time.monotonic() - started)
            else:
                reader.broken.append(f"life {lives} ended with status {process.exitcode}")
            names.look()
        known = accepted(plan)
        last = replace(plan, entries=tuple(entry for entry in work.entries if entry[1] not in known))
        other = Plan(Path(undisturbed), (), tuple(work.entries))
        write_artefact(other.folder / "models")
        _lives(last, other)
        reader.look()
        names.look()
        cycles = [name for kind, name, _ in work.entries if kind == "cycle"]
        broken = reader.broken + names.broken + _unpublished(folder, cycles)
        broken += _differences(_counts(folder, settings), _counts(other.folder, ()))
    return Outcome(
        kills,
        lives,
        len(cycles),
        len(work.entries) - len(cycles),
        reader.looks,
        reader.files,
        names.renames,
        moments,
        broken,
    )


def _lives(*plans: Plan) -> float:
    """Such as are not killed, at the same time; the length of the longest in s."""
    started = time.monotonic()
    processes = [begin(plan) for plan in plans]
    for process in processes:
        process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"a life without a kill ended with status {process.exitcode}")
    return time.monotonic() - started


def _unpublished(folder: Path, cycles: Sequence[str]) -> list[str]:
    store = Store(folder / "data" / "products")
    numbers = {name: len(store.revisions(parse_time(name))) for name in cycles}
    left = list((folder / "data" / "work" / "jobs").iterdir())
    return [f"{name} was published {number} times" for name, number in numbers.items() if number != 1] + [
        f"{path} was left behind" for path in left
    ]


def _differences(disturbed: dict[str, object], undisturbed: dict[str, object]) -> list[str]:
    """Between the ledger and that of a run without a kill."""
    if not undisturbed:
        return ["the run without a kill counted nothing"]
    keys = sorted(disturbed.keys() | undisturbed.keys())
    return [
        f"the ledger has {disturbed.get(key)} of {key}, without a kill {undisturbed.get(key)}"
        for key in keys
        if disturbed.get(key) != undisturbed.get(key)
    ]


def _counts(folder: Path, database: tuple[tuple[str, Any], ...]) -> dict[str, object]:
    """Sums and totals of the ledger, by what they are of; sums of real numbers to nine digits."""
    settings = Settings.model_validate({"data_folder": folder / "data"} | dict(database))
    ledger = Ledger(settings.ledger_database_url)
    try:
        sums = ledger.sums(Selection(), reliability=True)
        found: dict[str, object] = {}
        for kind, rows in (("sum", sums), ("total", ledger.totals())):
            for row in rows:
                key = f"{kind} {row.source} {row.model} {row.threshold_mm} {row.lead_hours}"
                bins = [
                    (part.number, part.forecasts, part.events, round(part.probability_sum, 9))
                    for part in getattr(row, "reliability", ())
                ]
                found[key] = (row.contingency, getattr(row, "matches", 0), round(row.brier_sum, 9), bins)
        return found
    finally:
        ledger.close()


@contextmanager
def _database(kind: str) -> Iterator[tuple[tuple[str, Any], ...]]:
    with ExitStack() as stack:
        if kind == "sqlite":
            yield ()
        else:
            yield (("database_url", new_database(stack.enter_context(postgresql()))),)


def main() -> int:
    """Run the campaign."""
    arguments = parser("kills", __doc__, count=200, unit="kills")
    arguments.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name, _database(options.database) as settings:
        progress = Progress(f"kills on {options.database}", options.count, "kills")
        outcome = kill_again_and_again(
            Path(name) / "work", options.count, options.seed, settings, progress, 60 * options.minutes
        )
    figures = {
        "database": options.database,
        "kills": outcome.kills,
        "lives": outcome.lives,
        "at what": {step: outcome.moments[step] for step in STEPS if outcome.moments[step]},
        "cycles": outcome.cycles,
        "observations": outcome.observations,
        "looks of the reader": outcome.looks,
        "files that it read": outcome.files_read,
        "files that were renamed into place": outcome.renames,
    }
    return report(figures, outcome.broken)


if __name__ == "__main__":
    sys.exit(main())
