"""An archive of simulated cycles, made through the serving path.

``python -m training.dataset --cycles N --seed S --out data/simulated.zarr``. Each cycle takes the serving
path, so that a training sample equals the serving input. A run that is stopped goes on where it was when the
same command is given again.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from service.cycle import assemble
from service.errors import InputError
from service.memory import keep_freed_memory
from service.specification import Window
from training.archive_store import ArchiveWriter, CycleSamples, Header
from training.domain import LEADS_HOURS, WHOLE_GRID, WINDOW, specification
from training.progress import Progress
from training.samples import DataSettings, Description, Split
from training.simulate import simulate_cycle
from training.simulated_fields import read_simulated, simulated_headers
from training.splits import SIMULATED, SPLITS, Times

CYCLE_HOURS: Final = 6


class Plan(BaseModel):
    """What is asked for: numbers of cycles, consecutive leads of each, and the seed of everything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    training_cycles: int = Field(gt=0)
    evaluation_cycles: int = Field(gt=0)
    leads_per_cycle: int = Field(gt=0, le=len(LEADS_HOURS))
    seed: int

    def cycles(self, split: str) -> int:
        """Cycles of a split; validation and test have as many each."""
        return self.training_cycles if split == "train" else self.evaluation_cycles


@dataclass(frozen=True)
class Task:
    """One cycle to simulate: its place in the split, its seed, time, leads and part of the QPE grid."""

    split: str
    slot: int
    seed: int
    reference_time: np.datetime64
    leads_hours: tuple[int, ...]
    window: Window = WINDOW


def reference_times(split: str) -> Times:
    """All cycles that a split may draw from, six hours apart: those of ``training.splits.SIMULATED``."""
    step = np.timedelta64(CYCLE_HOURS, "h")
    return np.concatenate(
        [
            np.arange(np.datetime64(first, "s"), np.datetime64(end, "s"), step)
            for first, end in SIMULATED.spans(split)
        ]
    )


def tasks(plan: Plan, split: str, window: Window = WINDOW) -> list[Task]:
    """The cycles of a split: times drawn without repetition, a seed and consecutive leads for each.

    The weather is the same in every window.

    Raises:
        InputError: more cycles than the split's period has.
    """
    times = reference_times(split)
    count = plan.cycles(split)
    if count > len(times):
        raise InputError(
            f"The {split} split has too few cycles", expected=f"at most {len(times)}", got=str(count)
        )
    source = np.random.SeedSequence((plan.seed, SPLITS.index(split)))
    generator = np.random.default_rng(source)
    chosen = np.sort(generator.choice(times, count, replace=False))
    seeds = source.generate_state(count, np.uint32)
    first = generator.integers(len(LEADS_HOURS) - plan.leads_per_cycle + 1, size=count)
    return [
        Task(
            split,
            slot,
            int(seeds[slot]),
            chosen[slot],
            LEADS_HOURS[first[slot] : first[slot] + plan.leads_per_cycle],
            window,
        )
        for slot in range(count)
    ]


def simulate_samples(task: Task) -> CycleSamples:
    """Inputs and observed rain of one cycle, at its leads."""
    needed = sorted({hour for lead in task.leads_hours for hour in (lead - 1, lead)})
    cycle = simulate_cycle(task.seed, task.reference_time, tuple(needed))
    inputs = assemble(
        simulated_headers(cycle), read_simulated(cycle), specification(task.leads_hours, task.window)
    )
    rows = [needed.index(lead) for lead in task.leads_hours]
    observed = cycle.qpe_mm[rows, *task.window.slices]
    return CycleSamples(task.reference_time, task.leads_hours, inputs.values, observed.astype(np.float32))


def _work(task: Task) -> CycleSamples:
    try:
        return simulate_samples(task)
    except Exception as error:
        error.add_note(f"while making {task}")
        raise


@contextmanager
def _simulated(tasks_left: list[Task], processes: int) -> Iterator[Iterable[CycleSamples]]:
    """The samples of the tasks in their order."""
    if processes == 1:
        yield map(_work, tasks_left)
        return
    with multiprocessing.get_context("spawn").Pool(processes, keep_freed_memory) as pool:
        yield pool.imap(_work, tasks_left)


def build(path: Path, plan: Plan, *, window: Window = WINDOW, processes: int = 2) -> Description:
    """Simulates what is missing and finishes the archive; its fields are those of the window.

    Raises:
        InputError: the archive holds another plan, the plan asks for more cycles than a split's period has,
            or no training sample has precipitation.
    """
    everything = [task for split in SPLITS for task in tasks(plan, split, window)]
    header = Header(
        channels=specification().channels,
        simulated=True,
        specification=specification(window=window),
        provenance={"made_by": "training.dataset", "plan": plan.model_dump(mode="json")},
    )
    with ArchiveWriter(path, header, (window.ny, window.nx)) as archive:
        done = archive.committed // plan.leads_per_cycle
        progress = Progress("cycles", len(everything), "cycles", done=done)
        with _simulated(everything[done:], processes) as simulated:
            for samples in simulated:
                archive.append(samples)
                progress.advance()
        archive.finish()
    return Split(DataSettings(archive=path), "train").description


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.dataset", description=__doc__)
    parser.add_argument("--cycles", type=int, default=2600, help="cycles of the training split")
    parser.add_argument("--evaluation-cycles", type=int, default=224, help="of validation and of test")
    parser.add_argument("--leads-per-cycle", type=int, default=2, help="consecutive leads of each cycle")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--whole-grid", action="store_true", help="the whole QPE grid instead of the window over Korea"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    plan = Plan(
        training_cycles=arguments.cycles,
        evaluation_cycles=arguments.evaluation_cycles,
        leads_per_cycle=arguments.leads_per_cycle,
        seed=arguments.seed,
    )
    window = WHOLE_GRID if arguments.whole_grid else WINDOW
    description = build(arguments.out, plan, window=window, processes=arguments.processes)
    print(description.model_dump_json(indent=2, include={"samples", "wet_samples", "class_shares", "digest"}))


if __name__ == "__main__":
    main()
