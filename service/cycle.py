"""A forecast cycle as one array: the path that training and serving share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from service import files
from service.channels import PRECIPITATION_CHANNEL
from service.errors import WrongGrid
from service.fields import FieldHeader, ReadRegion
from service.grids import grid_from_definition
from service.limits import check_amount, check_field
from service.precipitation import rain_amount_mm
from service.remapping import RemapWeights, remap_weights
from service.selection import Choice, Selection, select
from service.specification import CycleSpecification

READING_THREADS: Final = 2
"""eccodes releases the interpreter while it decodes."""

Fields = Mapping[FieldHeader, NDArray[np.float32]]


@dataclass(frozen=True)
class CycleInput:
    """What the network sees, in physical units.

    values: float32 (lead, channel, y, x), without NaN; winds relative to the earth, precipitation in mm
    over the specification's period ending at the lead.
    sources: (lead, channel) to the fields that were used, for people; empty where the cycle was not assembled
    here.
    """

    reference_time: np.datetime64
    leads_hours: tuple[int, ...]
    channels: tuple[str, ...]
    values: NDArray[np.float32]
    sources: Mapping[tuple[int, str], tuple[str, ...]] = field(default_factory=dict)


class Earlier(Protocol):
    """Knows channels that were made before, and takes those that are made. Called from several threads."""

    def find(self, choices: Sequence[Choice]) -> list[NDArray[np.float32] | None]:
        """What is known of the channels of a lead, (y, x) each."""
        ...

    def leave(self, choices: Sequence[Choice], values: NDArray[np.float32], fresh: Sequence[bool]) -> None:
        """Take the channels of a lead, (channel, y, x), once they are there; fresh: the unknown ones."""
        ...


def assemble(
    headers: Sequence[FieldHeader],
    read: ReadRegion,
    specification: CycleSpecification,
    *,
    weights_folder: Path | None = None,
    expected_reference_time: np.datetime64 | None = None,
    minimum_leads: int | None = None,
    earlier: Earlier | None = None,
) -> CycleInput:
    """Choose, read, difference, turn, check and remap the fields that the specification asks for.

    read: gives the values behind a header in the rectangle of the grid that the target needs; it is called
    once a field that is needed, from two threads, in the order in which the headers came.
    weights_folder: where remap weights are kept between processes.
    minimum_leads: with how many leads the cycle can do; None: with all of them and no less.
    earlier: what was made of the same fields before, which is then not read again.

    All is checked on the source grid in the points that the target uses, before remapping: a sentinel is
    reported as such and never smeared into its surroundings.

    Raises those of ``service.selection.select``, OutsideGrid, MissingValues, PhysicalLimit and those of
    ``read``.
    """
    selection = select(headers, specification, expected_reference_time, minimum_leads)
    values = read_leads(selection, read, specification, weights_folder, earlier)
    return CycleInput(
        reference_time=selection.reference_time,
        leads_hours=selection.leads_hours,
        channels=specification.channels,
        values=np.stack(values),
        sources={
            (choice.lead_hours, choice.channel): tuple(str(term) for term in choice.terms)
            for choice in selection.choices
        },
    )


def read_leads(
    selection: Selection,
    read: ReadRegion,
    specification: CycleSpecification,
    weights_folder: Path | None = None,
    earlier: Earlier | None = None,
) -> list[NDArray[np.float32]]:
    """The chosen channels of every lead, (channel, y, x), as in ``assemble``.

    A lead is made as soon as its fields are read, while those of others are still to be.
    """
    target = grid_from_definition(specification.target, specification.window)
    weights = remap_weights(selection.grid, target, weights_folder)
    used = contributing(weights)

    @cache
    def angle() -> NDArray[np.float64]:
        return selection.grid.grid_north_angle()[weights.source_rows, weights.source_columns]

    leads = [_Lead(choices, earlier) for choices in _by_lead(selection.choices)]
    waiting = _waiting(leads)
    headers = [header for header in selection.headers if header in waiting]
    with _reading_threads() as (reading, making):
        fields: dict[FieldHeader, NDArray[np.float32]] = {}

        def make(lead: _Lead) -> NDArray[np.float32]:
            hours = specification.precipitation_hours
            channels = [_channel(choice, fields, used, angle, hours) for choice in lead.unknown]
            return lead.whole(weights.apply_to_window(np.stack(channels)) if channels else None)

        futures = {lead: making.submit(make, lead) for lead in leads if not lead.missing}
        # In order, so that of several bad fields the same one is always reported.
        windows = _read_windows(reading, headers, read, weights, used)
        for header, window in zip(headers, windows, strict=True):
            fields[header] = window
            for lead in waiting[header]:
                lead.missing -= 1
                if not lead.missing:
                    futures[lead] = making.submit(make, lead)
        return [futures[lead].result() for lead in leads]


class _Lead:
    """The channels of one lead, of which some may be known. missing: how many fields are yet to be read."""

    def __init__(self, choices: Sequence[Choice], earlier: Earlier | None) -> None:
        self._choices = choices
        self._earlier = earlier
        self._known = [None] * len(choices) if earlier is None else earlier.find(choices)
        self.unknown = [one for one, values in zip(choices, self._known, strict=True) if values is None]
        self.headers = {header for choice in self.unknown for header in choice.headers}
        self.missing = len(self.headers)

    def whole(self, made: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """All channels (channel, y, x). made: those that were unknown, None where there are none."""
        fresh = [values is None for values in self._known]
        rest = iter(() if made is None else made)
        values = np.stack([next(rest) if known is None else known for known in self._known])
        if self._earlier is not None:
            self._earlier.leave(self._choices, values, fresh)
        return values


def _waiting(leads: Sequence[_Lead]) -> dict[FieldHeader, list[_Lead]]:
    """Which leads need each field that has to be read."""
    waiting: dict[FieldHeader, list[_Lead]] = {}
    for lead in leads:
        for header in lead.headers:
            waiting.setdefault(header, []).append(lead)
    return waiting


def read_cycle(
    paths: Iterable[Path],
    specification: CycleSpecification,
    weights_folder: Path | None = None,
    expected_reference_time: np.datetime64 | None = None,
    minimum_leads: int | None = None,
    earlier: Earlier | None = None,
) -> CycleInput:
    """``assemble`` over all fields of the files, in the order of the files.

    Raises also EmptyInput, UnrecognisedInput and TruncatedInput.
    """
    with files.reading() as read:
        return assemble(
            [header for path in paths for header in files.scan(path)],
            read,
            specification,
            weights_folder=weights_folder,
            expected_reference_time=expected_reference_time,
            minimum_leads=minimum_leads,
            earlier=earlier,
        )


def contributing(weights: RemapWeights) -> NDArray[np.bool_]:
    """Which points of the window of the source have a weight in any target point, (y, x)."""
    used = np.zeros(weights.window_shape, bool)
    used.ravel()[weights.matrix.indices] = True
    return used


@contextmanager
def _reading_threads() -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """Threads that read, and others that make leads of what is read; none starts anything once one failed."""
    with ThreadPoolExecutor(READING_THREADS) as reading, ThreadPoolExecutor(READING_THREADS) as making:
        try:
            yield reading, making
        except BaseException:
            for pool in (reading, making):
                pool.shutdown(wait=False, cancel_futures=True)
            raise


def _by_lead(choices: Sequence[Choice]) -> list[list[Choice]]:
    """In the order of the leads."""
    return [list(some) for _, some in groupby(choices, key=lambda choice: choice.lead_hours)]


def _read_windows(
    pool: ThreadPoolExecutor,
    headers: Sequence[FieldHeader],
    read: ReadRegion,
    weights: RemapWeights,
    used: NDArray[np.bool_],
) -> Iterator[NDArray[np.float32]]:
    """The needed part of every field, in order, checked; 0 in points that no target uses."""
    region = weights.window

    def window(header: FieldHeader) -> NDArray[np.float32]:
        values = read(header, region)
        if values.shape != region.shape:
            raise WrongGrid(
                "The values of a field do not fill its grid",
                where=header.label,
                expected=f"(y, x) = {region.shape} in the part that is needed",
                got=f"{values.shape}",
            )
        check_field(header, values, used, (region.rows.start, region.columns.start))
        return np.where(used, values, np.float32(0.0))

    return pool.map(window, headers)


def _channel(
    choice: Choice,
    fields: Fields,
    used: NDArray[np.bool_],
    angle: Callable[[], NDArray[np.float64]],
    period_hours: int,
) -> NDArray[np.float32]:
    """One channel at one lead on the window of the source."""
    if choice.channel == PRECIPITATION_CHANNEL:
        amount_mm = rain_amount_mm(choice.terms, fields, used, f"lead {choice.lead_hours} h")
        check_amount(choice.terms, amount_mm, period_hours)
        return amount_mm
    header = choice.terms[0].header
    if choice.other_component is None:
        return fields[header]
    along, other = fields[header], fields[choice.other_component]
    turn = np.sin(angle()) * (1.0 if header.quantity == "eastward_wind" else -1.0)
    turned: NDArray[np.float32] = (along * np.cos(angle()) + other * turn).astype(np.float32)
    return turned
