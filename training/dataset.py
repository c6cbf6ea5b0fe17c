"""Writing samples: simulated cycles through the serving path, and the statistics of the training split.

``python -m training.dataset --cycles N --seed S --out data/simulated`` makes the folder that
``training.samples`` reads. Each cycle takes the serving path, so that a training sample equals the serving
input. A run that is stopped goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.artefact import Normalisation
from service.channels import THRESHOLDS_MM
from service.cycle import assemble
from service.errors import InputError
from training.domain import LEADS_HOURS, WINDOW, specification
from training.progress import Progress
from training.samples import SPLITS, Description, Floats, Plan, records, wet_leads
from training.simulate import simulate_cycle
from training.simulated_fields import read_simulated, simulated_headers

CYCLE_HOURS: Final = 6


@dataclass(frozen=True)
class Task:
    """One cycle to simulate, and the rows of the split that its samples fill."""

    split: str
    slot: int
    seed: int
    reference_time: np.datetime64
    leads_hours: tuple[int, ...]


def reference_times(split: str) -> NDArray[np.datetime64]:
    """All cycles that a split may draw from, six hours apart.

    Training: June to September of 2012-2021. Test: August of 2022 and 2023 without its last three days;
    validation: September of both without its first two, so that no valid time lies in two splits.
    """
    spans = {
        "train": [(f"{year}-06-01", f"{year}-10-01") for year in range(2012, 2022)],
        "validation": [(f"{year}-09-03", f"{year}-10-01") for year in (2022, 2023)],
        "test": [(f"{year}-08-01", f"{year}-08-29") for year in (2022, 2023)],
    }[split]
    step = np.timedelta64(CYCLE_HOURS, "h")
    return np.concatenate([np.arange(np.datetime64(a, "s"), np.datetime64(b, "s"), step) for a, b in spans])


def tasks(plan: Plan, split: str) -> list[Task]:
    """The cycles of a split: times drawn without repetition, a seed and consecutive leads for each.

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
        )
        for slot in range(count)
    ]


def simulate_sample(task: Task) -> tuple[Floats, Floats]:
    """Inputs (lead, channel, y, x) in physical units and observed rain (lead, y, x) in mm of one cycle."""
    needed = sorted({hour for lead in task.leads_hours for hour in (lead - 1, lead)})
    cycle = simulate_cycle(task.seed, task.reference_time, tuple(needed))
    inputs = assemble(simulated_headers(cycle), read_simulated(cycle), specification(task.leads_hours))
    rows = [needed.index(lead) for lead in task.leads_hours]
    observed = cycle.qpe_mm[
        rows,
        WINDOW.y_start : WINDOW.y_start + WINDOW.ny,
        WINDOW.x_start : WINDOW.x_start + WINDOW.nx,
    ]
    return inputs.values, observed.astype(np.float32)


@lru_cache(maxsize=6)
def _opened(path: Path) -> Any:
    return np.lib.format.open_memmap(path, mode="r+")


def _record(task: Task, inputs: Floats, rain_mm: Floats) -> dict[str, Any]:
    """The line of a cycle: what it is, and sums from which statistics of any set of samples follow."""
    wide = inputs.astype(np.float64)
    edges = (-np.inf, *THRESHOLDS_MM, np.inf)
    return {
        "slot": task.slot,
        "seed": task.seed,
        "reference_time": str(task.reference_time),
        "leads_hours": list(task.leads_hours),
        "sums": wide.sum(axis=(2, 3)).tolist(),
        "squares": (wide**2).sum(axis=(2, 3)).tolist(),
        "cells": [
            [int(((row >= low) & (row < high)).sum()) for low, high in pairwise(edges)] for row in rain_mm
        ],
        "digests": [
            hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
            for x, y in zip(inputs, rain_mm, strict=True)
        ],
    }


def _work(arguments: tuple[Path, Task]) -> tuple[str, dict[str, Any]]:
    folder, task = arguments
    try:
        inputs, rain_mm = simulate_sample(task)
    except Exception as error:
        error.add_note(f"while making {task}")
        raise
    rows = slice(task.slot * len(inputs), (task.slot + 1) * len(inputs))
    _opened(folder / f"{task.split}_inputs.npy")[rows] = inputs
    _opened(folder / f"{task.split}_rain_mm.npy")[rows] = rain_mm
    return task.split, _record(task, inputs, rain_mm)


def _prepare(folder: Path, plan: Plan) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.json"
    if path.exists():
        for split in SPLITS:
            _rewrite(folder, split)
        stored = Plan.model_validate_json(path.read_text())
        if stored != plan:
            raise InputError(
                "The folder holds a dataset of another plan",
                where=str(folder),
                expected=str(stored),
                got=str(plan),
                advice="give the same options, or another folder",
            )
        return
    channels = len(specification().channels)
    for split in SPLITS:
        shape = (plan.samples(split), WINDOW.ny, WINDOW.nx)
        for name, size in (("inputs", (shape[0], channels, *shape[1:])), ("rain_mm", shape)):
            np.lib.format.open_memmap(folder / f"{split}_{name}.npy", mode="w+", dtype=np.float32, shape=size)
    path.write_text(plan.model_dump_json(indent=2) + "\n")


def _describe(folder: Path, plan: Plan) -> Description:
    channels = specification().channels
    rows = {split: records(folder, split) for split in SPLITS}
    wet = {split: [wet_leads(record) for record in cycles] for split, cycles in rows.items()}
    kept = [
        (record["sums"][lead], record["squares"][lead])
        for record, flags in zip(rows["train"], wet["train"], strict=True)
        for lead, flag in enumerate(flags)
        if flag
    ]
    if not kept:
        raise InputError(
            "No training sample has precipitation", where=str(folder), advice="ask for more cycles"
        )
    means, squares = np.array(kept).sum(axis=0) / (len(kept) * WINDOW.ny * WINDOW.nx)
    deviations = np.sqrt(squares - means**2)
    digest = hashlib.sha256()
    shares = {}
    for split in SPLITS:
        cells = np.array([record["cells"] for record in rows[split]]).sum(axis=(0, 1))
        shares[split] = tuple(float(share) for share in cells / cells.sum())
        for record in rows[split]:
            digest.update("".join(record["digests"]).encode())
    return Description(
        plan=plan,
        simulated=True,
        specification=specification(),
        normalisation={
            name: Normalisation(mean=float(mean), standard_deviation=float(deviation))
            for name, mean, deviation in zip(channels, means, deviations, strict=True)
        },
        samples={split: plan.samples(split) for split in SPLITS},
        wet_samples={split: sum(map(sum, flags)) for split, flags in wet.items()},
        class_shares=shares,
        digest=digest.hexdigest(),
    )


def build(folder: Path, plan: Plan, *, processes: int = 2) -> Description:
    """Simulates what is missing and writes the description.

    Raises:
        InputError: the folder holds another plan, or no training sample has precipitation.
    """
    _prepare(folder, plan)
    done = {split: {record["slot"] for record in records(folder, split)} for split in SPLITS}
    open_tasks = [
        (folder, task) for split in SPLITS for task in tasks(plan, split) if task.slot not in done[split]
    ]
    finished = sum(map(len, done.values()))
    progress = Progress("cycles", finished + len(open_tasks), "cycles", done=finished)
    if processes == 1:
        for arguments in open_tasks:
            _append(folder, *_work(arguments))
            progress.advance()
    elif open_tasks:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            for split, record in pool.imap_unordered(_work, open_tasks):
                _append(folder, split, record)
                progress.advance()
    description = _describe(folder, plan)
    temporary = folder / "dataset.json.part"
    temporary.write_text(description.model_dump_json(indent=2) + "\n")
    temporary.replace(folder / "dataset.json")
    return description


def _rewrite(folder: Path, split: str) -> None:
    """Drops a line cut short by a kill, so that the next line does not continue it."""
    path = folder / f"{split}.jsonl"
    temporary = path.with_suffix(".part")
    temporary.write_text("".join(json.dumps(record) + "\n" for record in records(folder, split)))
    temporary.replace(path)


def _append(folder: Path, split: str, record: dict[str, Any]) -> None:
    with (folder / f"{split}.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.dataset", description=__doc__)
    parser.add_argument("--cycles", type=int, default=2600, help="cycles of the training split")
    parser.add_argument("--evaluation-cycles", type=int, default=224, help="of validation and of test")
    parser.add_argument("--leads-per-cycle", type=int, default=2, help="consecutive leads of each cycle")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    plan = Plan(
        training_cycles=arguments.cycles,
        evaluation_cycles=arguments.evaluation_cycles,
        leads_per_cycle=arguments.leads_per_cycle,
        seed=arguments.seed,
    )
    description = build(arguments.out, plan, processes=arguments.processes)
    print(description.model_dump_json(indent=2, include={"samples", "wet_samples", "class_shares", "digest"}))


if __name__ == "__main__":
    main()
