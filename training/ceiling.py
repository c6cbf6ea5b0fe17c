"""What a perfect post-processor would score on the simulated test split.

``python -m training.ceiling --data data/simulated.zarr --members 32 --out runs/experiment/ceiling`` draws the
true rain of every sample of the validation and the test split anew, given what the oracles of
``training.oracle`` know; counts how often each threshold is reached; scores these probabilities as those of
any other system, the bound's into ``scores.json``, the estimate's into ``scores-estimate.json``; and writes
``ceiling.json``, what the scores would be with members without end. A run that is stopped goes on where it
was when the same command is given again.

Probabilities from few members are uncertain, so the CSI that they reach is too low, by about a constant over
their number. ``ceiling.json`` has the CSI with a quarter, a half and all of the members, and the limit from
the last two. For the Brier score the limit is unbiased (Ferro 2014, https://doi.org/10.1002/qj.2270).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from service.channels import THRESHOLDS_MM
from service.errors import InputError, WorkerDied
from training.archive_store import Archive
from training.cluster import connected, in_order
from training.counting import Levels, counts_by_level, critical_success_index, tuned_level
from training.dataset import Plan, Task, tasks
from training.engine import code_commit
from training.forecasts import Forecast, System, called, class_probabilities
from training.oracle import ORACLES, Hour
from training.progress import Progress
from training.samples import DataSettings, Floats, Split
from training.scoring import Subject, evaluate_system
from training.simulate import draw_cycle

BLOCKS: Final = 4
"""Members are counted in so many parts, from which follows what more members would bring."""

SPLITS: Final = ("validation", "test")
SAME_MM: Final = 1e-3
"""Largest difference between the rain of the archive and the same simulated again: rounding."""

CEILING, RUN, CYCLES = "ceiling.json", "members.json", "cycles"

Counts = NDArray[np.uint8]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limit(_Strict):
    """What an oracle scores on the test split at one threshold, by its number of members and without end.

    csi: with the level tuned on the validation split; means over the parts of the members. brier: of the
    limit of many members.
    """

    oracle: str
    threshold_mm: float
    members: tuple[int, ...]
    csi: tuple[float, ...]
    csi_limit: float
    brier_limit: float


class Ceiling(_Strict):
    """``ceiling.json``."""

    data_digest: str
    commit: str
    members: int
    limits: tuple[Limit, ...]


class _Run(_Strict):
    """``members.json``: what the files of the cycles hold."""

    data_digest: str
    members: int


@dataclass(frozen=True)
class Job:
    """A cycle of the archive: how it was made, and the rows of its leads."""

    task: Task
    rows: tuple[int, ...]


def jobs(archive: Archive, split: str) -> list[Job]:
    """The cycles of a split.

    Raises:
        InputError: the archive is not one of ``training.dataset``, or lacks samples of its plan.
    """
    plan = archive.header.provenance.get("plan")
    if archive.header.provenance.get("made_by") != "training.dataset" or plan is None:
        raise InputError(
            "The archive has no plan of a simulation",
            where=str(archive.path),
            expected="an archive that training.dataset made",
            got=str(archive.header.provenance),
            advice="what can be known is known of simulated cycles alone",
        )
    index = archive.index
    row_of = {
        key: row
        for row, key in enumerate(zip(index.reference_times, index.leads_hours.tolist(), strict=True))
    }
    try:
        return [
            Job(task, tuple(row_of[task.reference_time, lead] for lead in task.leads_hours))
            for task in tasks(Plan.model_validate(plan), split)
        ]
    except KeyError as error:
        raise InputError(
            "The archive lacks a sample of its plan", where=str(archive.path), expected=str(error.args[0])
        ) from error


def cycle_path(folder: Path, reference_time: np.datetime64) -> Path:
    """Where the counts of a cycle are kept."""
    return folder / CYCLES / f"{reference_time.astype('datetime64[h]')}.npz"


def count_cycle(archive_path: Path, members: int, folder: Path, job: Job) -> int:
    """Draws the members of a cycle and writes its counts; how many samples it has.

    ``counts``: (lead, oracle, block, threshold, y, x), members that reach the threshold.

    Raises:
        InputError: the cycle simulated again is another than that of the archive.
    """
    archive, task = Archive(archive_path), job.task
    draw = draw_cycle(task.seed, task.reference_time, task.leads_hours)
    counts = np.zeros(
        (len(job.rows), len(ORACLES), BLOCKS, len(THRESHOLDS_MM), *archive.field_shape), np.uint8
    )
    for lead_counts, lead, row in zip(counts, task.leads_hours, job.rows, strict=True):
        hour = Hour(draw, task.reference_time, lead, task.seed)
        _check_truth(hour.truth(), archive.rain_mm(row), f"{archive_path}, {task.reference_time} + {lead} h")
        for member in range(members):
            rain = hour.member(member)
            for place, threshold in enumerate(THRESHOLDS_MM):
                lead_counts[:, member * BLOCKS // members, place] += rain >= threshold
    path = cycle_path(folder, task.reference_time)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez_compressed(file, leads_hours=task.leads_hours, counts=counts)
    temporary.replace(path)
    return len(job.rows)


def _check_truth(simulated_mm: Floats, archived_mm: Floats, where: str) -> None:
    difference = float(np.abs(simulated_mm - archived_mm).max())
    # Not the other way round: a NaN is a difference.
    if not difference <= SAME_MM:
        raise InputError(
            "The simulation does not give the rain of the archive again",
            where=where,
            expected=f"equal to {SAME_MM:g} mm",
            got=f"differences up to {difference:g} mm",
            advice="make the archive again with this version",
        )


def count(archive_path: Path, members: int, folder: Path, *, processes: int = 1) -> None:
    """Draws the members of all cycles of the splits that have no counts yet.

    Raises:
        InputError: members not divisible, or the folder holds other members or another archive's.
        WorkerDied: a process ended before its work.
    """
    if members < BLOCKS or members % BLOCKS or members > BLOCKS * np.iinfo(np.uint8).max:
        raise InputError("Wrong number of members", expected=f"a multiple of {BLOCKS}", got=str(members))
    archive = Archive(archive_path)
    _check_run(folder, _Run(data_digest=archive.digest, members=members))
    everything = [job for split in SPLITS for job in jobs(archive, split)]
    left = [job for job in everything if not cycle_path(folder, job.task.reference_time).exists()]
    total = sum(len(job.rows) for job in everything)
    progress = Progress("ceiling", total, "samples", done=total - sum(len(job.rows) for job in left))
    with connected(processes if processes > 1 else 0) as client:
        for samples in in_order(client, partial(count_cycle, archive_path, members, folder), left):
            if isinstance(samples, WorkerDied):
                raise samples
            progress.advance(samples)


def _check_run(folder: Path, run: _Run) -> None:
    path = folder / RUN
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(run.model_dump_json() + "\n")
        return
    try:
        stored = _Run.model_validate_json(path.read_text())
    except ValidationError as error:
        raise InputError("No run of members", where=str(path), got=str(error)) from error
    if stored != run:
        raise InputError(
            "The folder holds other members",
            where=str(path),
            expected=str(run),
            got=str(stored),
            advice="give the same options, or another folder",
        )


def reached(folder: Path, split: Split, oracle: str) -> Counts:
    """Numbers of members that reach each threshold, (block, threshold, sample, y, x).

    Raises:
        InputError: a sample has no counts.
    """
    place = ORACLES.index(oracle)
    keys = zip(split.reference_times, split.leads_hours.tolist(), strict=True)
    return np.stack([_sample_counts(folder, *key)[place] for key in keys], axis=2)


def _sample_counts(folder: Path, reference_time: np.datetime64, lead_hours: int) -> Counts:
    path = cycle_path(folder, reference_time)
    if path.exists():
        with np.load(path) as stored:
            place = np.flatnonzero(stored["leads_hours"] == lead_hours)
            if place.size:
                counts: Counts = stored["counts"][place[0]]
                return counts
    raise InputError("A sample has no members", where=str(path), expected=f"a lead of {lead_hours} h")


def system(folder: Path, oracle: str, members: int) -> System:
    """The probabilities of an oracle, as a system that is scored.

    Of n members k reach a threshold: (k + f) / (n + 1), f the frequency in the training split, so that an
    event that no member has is not said to be impossible.
    """

    def _forecast(split: Split) -> Forecast:
        shares = split.description.class_shares["train"]
        frequency = np.array([sum(shares[place + 1 :]) for place in range(len(THRESHOLDS_MM))], np.float32)
        strengths = reached(folder, split, oracle).sum(axis=0, dtype=np.float32)
        strengths += frequency[:, None, None, None]
        strengths /= members + 1
        return Forecast(strengths, called(class_probabilities(strengths)), probabilistic=True)

    return _forecast


def limits(folder: Path, oracle: str, members: int, validation: Split, test: Split) -> Iterator[Limit]:
    """What an oracle scores with parts of its members and with members without end."""
    tuning, drawn = (reached(folder, split, oracle) for split in (validation, test))
    observed = [split.rain_mm(np.arange(len(split))) for split in (validation, test)]
    sizes = (BLOCKS // 4, BLOCKS // 2, BLOCKS)
    for place, threshold in enumerate(THRESHOLDS_MM):
        csi = []
        for size in sizes:
            parts = [slice(first, first + size) for first in range(0, BLOCKS, size)]
            levels = np.arange(members * size // BLOCKS, dtype=np.float64) + 0.5
            csi.append(
                float(
                    np.mean(
                        [
                            _tuned_csi(tuning[part, place], drawn[part, place], observed, threshold, levels)
                            for part in parts
                        ]
                    )
                )
            )
        yield Limit(
            oracle=oracle,
            threshold_mm=threshold,
            members=tuple(members * size // BLOCKS for size in sizes),
            csi=tuple(csi),
            csi_limit=2 * csi[-1] - csi[-2],
            brier_limit=_brier_limit(drawn[:, place], members, observed[1], threshold),
        )


def _tuned_csi(
    tuning: Counts, drawn: Counts, observed: Sequence[Floats], threshold_mm: float, levels: Levels
) -> float:
    """CSI on the test split of numbers of members (block, sample, y, x), tuned on the validation split."""
    numbers = [counts.sum(axis=0, dtype=np.float32) for counts in (tuning, drawn)]
    level, _ = tuned_level(numbers[0], observed[0], threshold_mm, levels)
    counts = counts_by_level(numbers[1], observed[1], threshold_mm, np.array([level]))
    return float(critical_success_index(counts)[0])


def _brier_limit(drawn: Counts, members: int, observed_mm: Floats, threshold_mm: float) -> float:
    """Brier score of shares of members, less what their uncertainty adds to it."""
    seen = ~np.isnan(observed_mm)
    share = drawn.sum(axis=0, dtype=np.float64)[seen] / members
    event = observed_mm[seen] >= threshold_mm
    return float(((share - event) ** 2 - share * (1 - share) / (members - 1)).mean())


def ceiling(data: DataSettings, members: int, folder: Path, *, processes: int = 1) -> Ceiling:
    """Draws what is missing, scores it, and writes ``ceiling.json`` and the scores of both oracles.

    Raises:
        InputError: as ``jobs``, ``count_cycle`` and ``count``.
    """
    count(data.archive, members, folder, processes=processes)
    for oracle in ORACLES:
        evaluation, case = evaluate_system(
            Subject("ceiling", settings={"oracle": oracle, "members": members}),
            system(folder, oracle, members),
            data,
        )
        suffix = "" if oracle == ORACLES[0] else f"-{oracle}"
        evaluation.write(folder, f"scores{suffix}.json")
        case.write(folder, f"heavy_case{suffix}.npz")
    validation, test = Split(data, "validation"), Split(data, "test")
    result = Ceiling(
        data_digest=test.description.digest,
        commit=code_commit(),
        members=members,
        limits=tuple(
            limit for oracle in ORACLES for limit in limits(folder, oracle, members, validation, test)
        ),
    )
    (folder / CEILING).write_text(result.model_dump_json(indent=2) + "\n")
    return result


def table(result: Ceiling) -> str:
    """The limits as a Markdown table."""
    head = [f"CSI, {number} members" for number in result.limits[0].members]
    lines = [
        f"| oracle | threshold | {' | '.join(head)} | CSI, limit | Brier score, limit |",
        "|---" * 7 + "|",
    ]
    for row in result.limits:
        numbers = " | ".join(f"{csi:.3f}" for csi in (*row.csi, row.csi_limit))
        lines.append(f"| {row.oracle} | {row.threshold_mm:g} mm | {numbers} | {row.brier_limit:.5f} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.ceiling", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="archive of training.dataset")
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    result = ceiling(
        DataSettings(archive=arguments.data),
        arguments.members,
        arguments.out,
        processes=arguments.processes,
    )
    print(table(result))


if __name__ == "__main__":
    main()
