"""Hostile files: what the readers make of them in a decoding process, and a running service of some of them.

Every input is read by the functions that jobs call, in a worker process with the limits of memory and time of
the settings. Then some, above all those that took the worker down, are posted to ``rainpost serve``, with
sound cycles at work beside them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service.decoding import decode_to_file, load_cycle, warm_up
from service.errors import InputError, RainpostError, WorkerDied
from service.observation import read_observation
from service.worker import Workers
from tests.torture.campaign import parser, report
from tests.torture.hostile_inputs import SIMULATED_EVERY, Hostile, hostile, inputs
from tests.torture.hostile_seeds import Seed, sample_seeds, simulated_seeds
from tests.torture.memory import peak_bytes
from tests.torture.posted_files import Answers, post
from training.progress import Progress

MEMORY_BYTES = 2 << 30
"""Of the decoding process: the default of RAINPOST_DECODE_MEMORY_BYTES."""

TIME_LIMIT_SECONDS = 60.0
MOST_SECONDS = TIME_LIMIT_SECONDS + 10.0
"""For one input, with the end of a process that took too long."""

MOST_RESIDENT_BYTES = MEMORY_BYTES + (512 << 20)
"""Of a decoding process: code and mapped files do not count as allocated."""

MOST_RESIDENT_BYTES_OF_SERVICE = 1 << 30


@dataclass
class Outcomes:
    """What became of inputs. broken: promises that were not kept, with the input that did it."""

    reasons: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    deadly: list[int] = field(default_factory=list)
    longest_seconds: float = 0.0
    longest: str = ""
    peak_bytes: int = 0


class Decoder:
    """Reads inputs as jobs do, one after another in one worker process."""

    def __init__(
        self, folder: Path, *, memory_bytes: int = MEMORY_BYTES, seconds: float = TIME_LIMIT_SECONDS
    ) -> None:
        self.outcomes = Outcomes()
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._seconds = seconds
        self._workers = Workers(1, seconds, memory_bytes)
        self._warm_up()

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.close()

    def read(self, one: Hostile) -> str:
        """The reason why it was refused, or "sound"; what must not be is noted as broken."""
        outcomes = self.outcomes
        started = time.monotonic()
        try:
            reason = self._product_of(one)
        except (InputError, WorkerDied) as error:
            reason = error.reason
            if not error.what:
                outcomes.broken.append(f"{one.name}: a problem without a word")
        except RainpostError as error:
            reason = error.reason
            outcomes.broken.append(f"{one.name}: {reason}, which is not for inputs: {error}")
        except Exception as error:  # noqa: BLE001
            reason = f"bug {type(error).__name__}"
            outcomes.broken.append(f"{one.name}: {error!r}"[:300] + _place(error))
        seconds = time.monotonic() - started
        outcomes.reasons[reason] += 1
        if reason == WorkerDied.reason:
            outcomes.deadly.append(one.index)
            self._warm_up()
        if seconds > outcomes.longest_seconds:
            outcomes.longest_seconds, outcomes.longest = seconds, one.name
        peaks = [peak_bytes(process) for process in self._processes()]
        outcomes.peak_bytes = max(outcomes.peak_bytes, *peaks, 0)
        return reason

    def _warm_up(self) -> None:
        """The imports of a new process are not the fault of an input."""
        for started in self._workers.warm(warm_up):
            started.result()

    def _product_of(self, one: Hostile) -> str:
        paths, target = one.write(self._folder), self._folder / "cycle.npz"
        weights = self._folder / "weights"
        weights.mkdir(exist_ok=True)
        if one.seed.kind == "observation":
            found = self._workers.run(
                read_observation, paths[0], one.seed.specification, valid_time=None, weights_folder=weights
            )
            rain = found.rain_mm[~np.isnan(found.rain_mm)]
            if rain.size == 0 or rain.min() < 0.0 or not np.isfinite(rain).all():
                self.outcomes.broken.append(f"{one.name}: an observation of impossible amounts")
            return "sound"
        target.unlink(missing_ok=True)
        specification = one.seed.specification
        self._workers.run(decode_to_file, paths, specification.model_dump_json(), weights, None, None, target)
        values = load_cycle(target).values
        window = specification.window
        shape = (len(specification.leads_hours), len(specification.channels), window.ny, window.nx)
        if values.shape != shape or not np.isfinite(values).all():
            self.outcomes.broken.append(f"{one.name}: a cycle with holes")
        return "sound"

    def _processes(self) -> list[int]:
        executors = list(self._workers._executors)
        return [process for executor in executors for process in (executor._processes or {})]


def _place(error: BaseException) -> str:
    """Where in the service it was raised: the worker's own traceback is the cause."""
    lines = [line.strip() for line in str(error.__cause__ or "").splitlines() if "/service/" in line]
    return f" {lines[-1]}" if lines else ""


def main() -> int:
    """Run the campaign."""
    arguments = parser("hostile_files", __doc__, count=10_000, unit="inputs")
    arguments.add_argument(
        "--posted", type=int, default=300, help="how many are posted to a service (default: 300)"
    )
    arguments.add_argument("--without-simulated", action="store_true", help="leave out the simulated cycle")
    arguments.add_argument(
        "--first", type=int, default=0, help="number of the first input: to go on, or in parts side by side"
    )
    options = arguments.parse_args()
    indices = range(options.first, options.first + options.count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = sample_seeds(folder)
        simulated = [] if options.without_simulated else simulated_seeds(folder)
        until = time.monotonic() + 60 * options.minutes
        progress = Progress("hostile files", options.count, "inputs")
        with Decoder(folder) as decoder:
            for one in inputs(samples, simulated, options.seed, indices):
                decoder.read(one)
                progress.advance(note=f"{len(decoder.outcomes.deadly)} took the worker down")
                if time.monotonic() > until:
                    break
        outcomes = decoder.outcomes
        read = outcomes.reasons.total()
        posted = _to_be_posted(samples, options.seed, indices[:read], options.posted, outcomes.deadly)
        answers = post(folder / "service", posted, outcomes.deadly, Progress("posted", len(posted), "inputs"))
    figures = {
        "inputs": f"{indices.start} to {indices.start + read - 1}",
        "by outcome": dict(outcomes.reasons.most_common()),
        "longest, s": round(outcomes.longest_seconds, 2),
        "longest input": outcomes.longest,
        "largest resident memory of the decoding process, MB": outcomes.peak_bytes // 10**6,
        "posted": len(posted),
        "by outcome of the service": dict(answers.reasons.most_common()),
        "sound cycles at work beside": answers.beside,
        "largest resident memory of the service, MB": answers.peak_bytes // 10**6,
        "largest resident memory of its processes, MB": answers.peak_bytes_of_workers // 10**6,
    }
    return report(figures, outcomes.broken + answers.broken + beyond_limits(outcomes, answers))


def beyond_limits(outcomes: Outcomes, answers: Answers) -> list[str]:
    """What took more time or memory than it may."""
    decoding = max(outcomes.peak_bytes, answers.peak_bytes_of_workers)
    measured = [
        (f"{outcomes.longest}: seconds", outcomes.longest_seconds, MOST_SECONDS),
        ("resident bytes of a decoding process", decoding, MOST_RESIDENT_BYTES),
        ("resident bytes of the service", answers.peak_bytes, MOST_RESIDENT_BYTES_OF_SERVICE),
    ]
    return [f"{what}: {value:.0f} of at most {most:.0f}" for what, value, most in measured if value > most]


def _to_be_posted(
    samples: Sequence[Seed], number: int, indices: range, posted: int, deadly: Sequence[int]
) -> list[Hostile]:
    """Those that took the worker down, up to half of them, and a choice of the others; none that is large."""
    chosen = {index for index in deadly if index % SIMULATED_EVERY != SIMULATED_EVERY - 1}
    first = sorted(chosen)[: posted // 2]
    others = np.random.default_rng([number, 0]).permutation(indices).tolist()
    rest = [
        index for index in others if index not in first and index % SIMULATED_EVERY != SIMULATED_EVERY - 1
    ]
    return [hostile(samples, number, index) for index in (first + rest)[:posted]]


if __name__ == "__main__":
    sys.exit(main())
