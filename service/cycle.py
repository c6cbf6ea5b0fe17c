"""A forecast cycle as one array: the path that training and serving share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

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


def assemble(
    headers: Sequence[FieldHeader],
    read: ReadRegion,
    specification: CycleSpecification,
    *,
    weights_folder: Path | None = None,
    expected_reference_time: np.datetime64 | None = None,
    minimum_leads: int | None = None,
) -> CycleInput:
    """Choose, read, difference, turn, check and remap the fields that the specification asks for.

    read: gives the values behind a header in the rectangle of the grid that the target needs; it is called
    once a field that is needed, from two threads, in the order in which the headers came.
    weights_folder: where remap weights are kept between processes.
    minimum_leads: with how many leads the cycle can do; None: with all of them and no less.

    All is checked on the source grid in the points that the target uses, before remapping: a sentinel is
    reported as such and never smeared into its surroundings.

    Raises those of ``service.selection.select``, OutsideGrid, MissingValues, PhysicalLimit and those of
    ``read``.
    """
    selection = select(headers, specification, expected_reference_time, minimum_leads)
    target = grid_from_definition(specification.target, specification.window)
    weights = remap_weights(selection.grid, target, weights_folder)
    used = contributing(weights)

    @cache
    def angle() -> NDArray[np.float64]:
        return selection.grid.grid_north_angle()[weights.source_rows, weights.source_columns]

    with _reading_threads() as pool:
        fields = _read_windows(pool, selection, read, weights, used)

        def lead(choices: Sequence[Choice]) -> NDArray[np.float32]:
            hours = specification.precipitation_hours
            channels = [_channel(choice, fields, used, angle, hours) for choice in choices]
            return weights.apply_to_window(np.stack(channels))

        count = len(specification.channels)
        starts = range(0, len(selection.choices), count)
        values = list(pool.map(lead, [selection.choices[start : start + count] for start in starts]))
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


def read_cycle(
    paths: Iterable[Path],
    specification: CycleSpecification,
    weights_folder: Path | None = None,
    expected_reference_time: np.datetime64 | None = None,
    minimum_leads: int | None = None,
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
        )


def contributing(weights: RemapWeights) -> NDArray[np.bool_]:
    """Which points of the window of the source have a weight in any target point, (y, x)."""
    used = np.zeros(weights.window_shape, bool)
    used.ravel()[weights.matrix.indices] = True
    return used


@contextmanager
def _reading_threads() -> Iterator[ThreadPoolExecutor]:
    """A pool that starts nothing more once something in it has failed."""
    with ThreadPoolExecutor(READING_THREADS) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _read_windows(
    pool: ThreadPoolExecutor,
    selection: Selection,
    read: ReadRegion,
    weights: RemapWeights,
    used: NDArray[np.bool_],
) -> Fields:
    """The needed part of every field, checked; 0 in points that no target uses."""
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

    # In order, so that of several bad fields the same one is always reported.
    return dict(zip(selection.headers, pool.map(window, selection.headers), strict=True))


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
