"""Reading the files of a cycle that are there, before the others come; and what a job takes over of it.

A channel at a lead is known by the digests of the files that hold its fields, by where in them these lie, and
by the target: another file, another choice of fields or another model gives another key. What is read of a
file counts only if the file is still the one that was hashed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service import files
from service.cycle import read_leads
from service.early_results import EarlyResults, early_key
from service.errors import InputError
from service.fields import FieldHeader
from service.selection import Choice, select_some
from service.specification import CycleSpecification
from service.submission import InputFile
from service.times import parse_time
from service.versions import rainpost_version

_logger = logging.getLogger(__name__)

_LIBRARIES: Final = ("eccodes", "netCDF4", "numpy", "scipy")


@dataclass(frozen=True)
class EarlyReading:
    """What was read of a cycle: keys of the leads that are whole, by lead, and all keys that were used."""

    leads: Mapping[int, str]
    keys: frozenset[str]


class EarlyLeads:
    """The leads of a cycle as ``service.cycle`` looks for them and leaves them.

    files: path to what was hashed there. parts: whether the channels of a lead are kept one by one as well,
    for the time when the lead's other files come. finished: told of each lead that is whole, with its key;
    from several threads.
    """

    def __init__(
        self,
        results: EarlyResults,
        files: Mapping[Path, InputFile],
        specification: CycleSpecification,
        *,
        parts: bool = False,
        finished: Callable[[int, str], None] | None = None,
    ) -> None:
        self._results = results
        self._files = files
        self._count = len(specification.channels)
        self._target = [
            specification.target.model_dump(mode="json"),
            specification.window.model_dump(mode="json"),
            specification.precipitation_hours,
        ]
        self._parts = parts
        self._finished = finished
        self._stored: set[str] = set()

    def key(self, choice: Choice) -> str:
        """Of one channel at one lead."""
        terms = [(term.sign, *self._place(term.header)) for term in choice.terms]
        other = None if choice.other_component is None else self._place(choice.other_component)
        return early_key(_software(), self._target, choice.lead_hours, choice.channel, terms, other)

    def lead_key(self, choices: Sequence[Choice]) -> str:
        """Of all channels at one lead."""
        return early_key([self.key(choice) for choice in choices])

    def find(self, choices: Sequence[Choice]) -> list[NDArray[np.float32] | None]:
        """What is known of the channels of a lead, (y, x) each."""
        key = self.lead_key(choices)
        if (whole := self._results.get(key)) is not None:
            self._stored.add(key)
            return list(whole)
        return [self._results.get(self.key(choice)) for choice in choices]

    def leave(self, choices: Sequence[Choice], values: NDArray[np.float32], fresh: Sequence[bool]) -> None:
        """Take the channels of a lead, (channel, y, x). fresh: which of them were not known.

        Raises ``DigestMismatch`` where a file changed after it was hashed.
        """
        for choice in choices:
            for header in choice.headers:
                _check_unchanged(self._files[header.path])
        for choice, channel, new in zip(choices, values, fresh, strict=True):
            if new and self._parts:
                self._results.put(self.key(choice), channel)
        if len(choices) < self._count:
            return
        key = self.lead_key(choices)
        if key not in self._stored:
            self._results.put(key, values)
        if self._finished is not None:
            self._finished(choices[0].lead_hours, key)

    def _place(self, header: FieldHeader) -> list[int | str]:
        return [self._files[header.path].sha256, *header.locator]


def read_early(
    inputs: Sequence[InputFile],
    specification_json: str,
    reference_time: str,
    weights_folder: Path,
    folder: Path,
) -> EarlyReading:
    """Read what the files hold of a cycle (reference time in ISO 8601) into ``folder``, if it is not there.

    A file that cannot be read spoils nothing but itself: whatever is wrong with it is for the job to tell.
    Raises ``InputError`` where the fields do not fit together, as they will not in the job.
    """
    specification = CycleSpecification.model_validate_json(specification_json)
    time = parse_time(reference_time)
    headers: list[FieldHeader] = []
    # In the order of a submission: of equal fields the first counts.
    by_path = {one.path: one for one in sorted(inputs, key=lambda one: one.sha256) if one.path is not None}
    for path in by_path:
        try:
            headers += [header for header in files.scan(path) if header.reference_time == time]
        except InputError as error:
            _logger.info("%s is not read early: %s", path.name, error)
    leads: dict[int, str] = {}
    selection = select_some(headers, specification, time)
    if selection is None:
        return EarlyReading(leads, frozenset())
    early = EarlyLeads(EarlyResults(folder), by_path, specification, parts=True, finished=leads.__setitem__)
    with files.reading() as read:
        read_leads(selection, read, specification, weights_folder, early)
    keys = {early.key(choice) for choice in selection.choices}
    return EarlyReading(leads, frozenset(keys | set(leads.values())))


def _check_unchanged(file: InputFile) -> None:
    if file.path is not None:
        # An upload lies where nobody writes; what was referred to may be anybody's.
        file.locate(file.path)


@cache
def _software() -> list[str]:
    return [rainpost_version(), *(version(name) for name in _LIBRARIES)]
