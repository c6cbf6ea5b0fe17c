"""Decoding a cycle into a file: the part of a job that runs in a worker process."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.cycle import CycleInput, read_cycle
from service.durability import write_durably
from service.early_reading import EarlyLeads
from service.early_results import EarlyResults
from service.specification import CycleSpecification
from service.submission import InputFile
from service.times import iso_time, parse_time
from service.worker import tell

_logger = logging.getLogger(__name__)


def decode_to_file(
    paths: Sequence[Path],
    specification_json: str,
    weights_folder: Path,
    expected_reference_time: str | None,
    minimum_leads: int | None,
    target: Path,
    inputs: Sequence[InputFile] = (),
    early_folders: Sequence[Path] = (),
) -> str:
    """``read_cycle`` with its result in ``target``; the reference time of the files, in ISO 8601.

    inputs: what was hashed at the paths. early_folders: where leads that were read before are looked for; all
    are kept in the first, and told of as soon as they are (``service.worker.tell``).
    """
    specification = CycleSpecification.model_validate_json(specification_json)
    cycle = read_cycle(
        paths,
        specification,
        weights_folder=weights_folder,
        expected_reference_time=None
        if expected_reference_time is None
        else parse_time(expected_reference_time),
        minimum_leads=minimum_leads,
        earlier=EarlyLeads(
            EarlyResults(*early_folders),
            dict(zip(paths, inputs, strict=True)),
            specification,
            finished=lambda lead_hours, key: tell((lead_hours, key)),
        )
        if early_folders
        else None,
    )
    write_durably(target, lambda path: save_cycle(path, cycle))
    _logger.info("decoded %d files: leads %s h", len(paths), ", ".join(map(str, cycle.leads_hours)))
    return iso_time(cycle.reference_time)


def save_cycle(path: Path, cycle: CycleInput) -> None:
    """A decoded cycle, uncompressed."""
    with path.open("wb") as file:
        np.savez(
            file,
            reference_time=cycle.reference_time,
            leads_hours=np.array(cycle.leads_hours),
            channels=np.array(cycle.channels),
            values=cycle.values,
        )


def load_cycle(path: Path) -> CycleInput:
    """What ``save_cycle`` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return CycleInput(
            reference_time=arrays["reference_time"][()],
            leads_hours=tuple(int(lead) for lead in arrays["leads_hours"]),
            channels=tuple(str(name) for name in arrays["channels"]),
            values=arrays["values"],
        )


def warm_up() -> None:
    """Nothing to do: that a worker process finds this function means that it has made its imports."""
