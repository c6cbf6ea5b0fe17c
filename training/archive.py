"""Months of forecast cycles and observations as one archive.

``python -m training.archive --cycles DIR --qpe DIR --out archive.zarr``. All files below the folders are
taken: cycles in GRIB2 and NetCDF, QPE in the forms of ``service.observation``; times come from the files.
Cycles enter in the order of time. What is left out, and why, stands in ``archive.zarr.report.jsonl``, a line
each. The same command goes on where a stopped run was, and appends cycles that came since after the last one.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from distributed import Client
from pydantic import ValidationError

from service.errors import InputError, SettingsError, WorkerDied
from service.specification import CycleSpecification
from service.times import iso_time
from training import domain
from training.archive_store import ArchiveWriter, Header
from training.cluster import connected, in_order
from training.progress import Progress
from training.sources import (
    CycleFiles,
    Kind,
    Look,
    LookAtObservation,
    Omission,
    Reading,
    ReadSamples,
    files_below,
    look_at_forecast,
    matched,
)
from training.splits import Times

TOO_LATE = "too-late"


@dataclass(frozen=True)
class Order:
    """What is asked for.

    cycles, qpe: folders. specification: how a cycle is read. simulated: whether the cycles are; every model
    that is trained on them will say so.
    """

    cycles: Path
    qpe: Path
    specification: CycleSpecification
    simulated: bool


@dataclass(frozen=True)
class Outcome:
    """What came out: digest and reference times (one per sample) of the archive, and what was left out."""

    digest: str
    reference_times: Times
    omissions: tuple[Omission, ...]


def report_path(archive: Path) -> Path:
    """Where the report of an archive lies: beside it."""
    return archive.with_name(f"{archive.name}.report.jsonl")


def build(order: Order, out: Path, client: Client | None) -> Outcome:
    """Makes the archive or goes on with it, by the workers of a client or, without one, in this process.

    Raises:
        InputError: a folder that is missing or without files, an archive that holds something else, or
            nothing that can be used.
    """
    # Before the archive is made, which would else be left empty.
    forecast_files, observation_files = _files(order.cycles), _files(order.qpe)
    window = order.specification.window
    header = Header(
        channels=order.specification.channels,
        simulated=order.simulated,
        specification=order.specification,
        provenance={"made_by": "training.archive"},
    )
    with ArchiveWriter(out, header, (window.ny, window.nx)) as writer:
        omissions = _add(writer, order, forecast_files, observation_files, report_path(out), client)
        return Outcome(writer.finish(), writer.reference_times, tuple(omissions))


def _add(
    writer: ArchiveWriter,
    order: Order,
    forecast_files: list[Path],
    observation_files: list[Path],
    report: Path,
    client: Client | None,
) -> list[Omission]:
    """Adds what the archive does not have yet; what was left out, now and before."""
    forecasts = _looks(client, look_at_forecast, forecast_files, "forecast file")
    observations = _looks(
        client, LookAtObservation(order.specification), observation_files, "observation file"
    )
    cycles = matched(forecasts, observations, order.specification)
    archived = writer.reference_times
    kept = _kept(report, archived)
    omissions = [*_unused(forecasts, observations), *kept, *_too_late(cycles, archived, kept)]
    _write(report, omissions)
    left = [cycle for cycle in cycles if not archived.size or cycle.reference_time > archived.max()]
    progress = Progress("cycles", len(cycles), "cycles", done=len(cycles) - len(left))
    for cycle, found in zip(left, in_order(client, ReadSamples(order.specification), left), strict=True):
        reading = _blamed(cycle, found) if isinstance(found, WorkerDied) else found
        # The report first: lines of cycles after the archive's last are written anew by the next run.
        _append(report, reading.omissions)
        omissions += reading.omissions
        if reading.samples is not None:
            writer.append(reading.samples)
        progress.advance(note=f"{len(omissions)} left out")
    if not writer.committed:
        raise InputError(
            "Nothing can be used",
            where=f"{order.cycles}, {order.qpe}",
            expected="cycles, and observations at their valid times",
            got=f"{len(cycles)} cycles; first: {omissions[0].message}" if omissions else "no field at all",
            advice=f"see {report}",
        )
    return omissions


def _files(folder: Path) -> list[Path]:
    found = files_below(folder)
    if not found:
        raise InputError(
            "No files",
            where=str(folder),
            expected="a folder with files",
            got="none" if folder.is_dir() else "no folder",
        )
    return found


def _looks(
    client: Client | None, look: Callable[[Path], Look], paths: Sequence[Path], kind: Kind
) -> list[Look]:
    progress = Progress(f"{kind}s", len(paths), "files")
    looks = []
    for path, found in zip(paths, in_order(client, look, paths), strict=True):
        if isinstance(found, WorkerDied):
            looks.append(Look(path, omission=Omission.of_file(kind, path, found)))
        else:
            looks.append(found)
        progress.advance()
    return looks


def _unused(forecasts: Iterable[Look], observations: Iterable[Look]) -> list[Omission]:
    """Files that neither hold a forecast nor an observation; the two folders may be one."""
    looks = [*forecasts, *observations]
    used = {look.path for look in looks if look.omission is None}
    return [look.omission for look in looks if look.omission is not None and look.path not in used]


def _blamed(cycle: CycleFiles, error: WorkerDied) -> Reading:
    return Reading(None, (Omission.of_cycle(cycle.reference_time, error.reason, str(error)),))


def _kept(report: Path, archived: Times) -> list[Omission]:
    """Lines of an earlier run on cycles until the last one in the archive; later ones are read again."""
    if not report.exists() or not archived.size:
        return []
    lines = []
    for line in report.read_text().splitlines():
        try:
            lines.append(Omission.model_validate_json(line))
        except ValidationError:
            # Cut short by a kill, so of a cycle that is read again.
            continue
    last = iso_time(archived.max())
    return [one for one in lines if one.reference_time and one.reference_time <= last]


def _too_late(cycles: Iterable[CycleFiles], archived: Times, kept: Iterable[Omission]) -> list[Omission]:
    """Cycles whose files came when later ones were in the archive already."""
    if not archived.size:
        return []
    known = {iso_time(time) for time in np.unique(archived)} | {one.reference_time for one in kept}
    return [
        Omission.of_cycle(
            cycle.reference_time,
            TOO_LATE,
            "its files came when later cycles were in the archive already; make a new archive to have it",
        )
        for cycle in cycles
        if cycle.reference_time <= archived.max() and iso_time(cycle.reference_time) not in known
    ]


def _write(report: Path, omissions: Iterable[Omission]) -> None:
    temporary = report.with_name(f"{report.name}.partial")
    temporary.unlink(missing_ok=True)
    _append(temporary, omissions)
    temporary.replace(report)


def _append(report: Path, omissions: Iterable[Omission]) -> None:
    with report.open("a") as file:
        file.writelines(one.model_dump_json(exclude_none=True) + "\n" for one in omissions)


def summary(outcome: Outcome, report: Path) -> str:
    """What came out and what did not, with an example of every reason."""
    times = np.unique(outcome.reference_times)
    lines = [
        f"{len(outcome.reference_times)} samples of {len(times)} cycles, {iso_time(times[0])} to "
        f"{iso_time(times[-1])}, digest {outcome.digest}",
        f"left out: {len(outcome.omissions)}, see {report}" if outcome.omissions else "nothing was left out",
    ]
    numbers = Counter((one.left_out, one.reason) for one in outcome.omissions)
    for (kind, reason), number in sorted(numbers.items()):
        first = next(one for one in outcome.omissions if (one.left_out, one.reason) == (kind, reason))
        where = first.file or first.reference_time
        lines.append(f"  {number} x {kind}, {reason}; first: {where}: {first.message}")
    return "\n".join(lines)


def _specification(path: Path | None) -> CycleSpecification:
    if path is None:
        return domain.specification()
    try:
        return CycleSpecification.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise SettingsError("The specification cannot be used", where=str(path), got=str(error)) from error


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.archive", description=__doc__)
    parser.add_argument("--cycles", type=Path, required=True, help="folder of forecast files")
    parser.add_argument("--qpe", type=Path, required=True, help="folder of observations; may be the same")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--specification",
        type=Path,
        help="JSON of another model, domain or country, as in a model's manifest",
    )
    parser.add_argument(
        "--simulated", action="store_true", help="say of every model that it saw no real data"
    )
    parser.add_argument("--scheduler", help="address of a Dask scheduler whose workers see the same files")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes here; 0 works in this one"
    )
    arguments = parser.parse_args()
    order = Order(
        arguments.cycles, arguments.qpe, _specification(arguments.specification), arguments.simulated
    )
    with connected(arguments.workers, arguments.scheduler) as client:
        outcome = build(order, arguments.out, client)
    print(summary(outcome, report_path(arguments.out)))


if __name__ == "__main__":
    main()
