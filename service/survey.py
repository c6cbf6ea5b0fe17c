"""What files of an inbox hold, before they are submitted: runs in a worker process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service import files
from service.errors import InputError
from service.selection import find, known_fields
from service.specification import CycleSpecification
from service.times import parse_time


@dataclass(frozen=True)
class Survey:
    """usable: which of the files hold a field of the cycle. leads_hours: leads that they make whole.

    faults: why files cannot be read, one sentence each.
    """

    usable: tuple[bool, ...]
    leads_hours: tuple[int, ...]
    faults: tuple[str, ...]


def survey(paths: Sequence[Path], specification_json: str, reference_time: str) -> Survey:
    """Look into files for the fields of one cycle (reference time in ISO 8601).

    A file that cannot be read, or holds another cycle, spoils nothing but itself.
    """
    specification = CycleSpecification.model_validate_json(specification_json)
    time = parse_time(reference_time)
    found, usable, faults = [], [], []
    for path in paths:
        try:
            headers = [header for header in files.scan(path) if header.reference_time == time]
        except InputError as error:
            faults.append(f"{path.name}: {error}")
            headers = []
        found += headers
        usable.append(bool(headers))
    try:
        leads = find(known_fields(found), specification).whole_leads(specification)
    except InputError as error:
        faults.append(str(error))
        leads = ()
    return Survey(tuple(usable), leads, tuple(faults))
