"""What files hold, for people: every field of a known quantity, and what a model still misses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from service import files
from service.channels import CHANNELS, QUANTITIES, LevelType
from service.errors import InputError, MissingChannel, MissingLead, WrongSource
from service.fields import FieldHeader, Values
from service.limits import level_text
from service.precipitation import PARTS, WHOLE
from service.selection import find, known_fields, select
from service.specification import CycleSpecification

_WIDTH: Final = 200


@dataclass(frozen=True)
class Row:
    """One field. minimum, mean, maximum: of the points that have a value; NaN where none has.

    channel: the channel that the field makes or helps to make, empty where none.
    holes: points without a value.
    """

    file: str
    channel: str
    quantity: str
    level: str
    unit: str
    time_range: str
    grid: str
    minimum: float
    mean: float
    maximum: float
    holes: int


@dataclass(frozen=True)
class Inspection:
    """rows: fields of known quantity. others: unknown quantities to the number of their fields.

    findings: what keeps the files from making the cycle of the specification; empty where nothing does.
    """

    reference_times: tuple[str, ...]
    rows: tuple[Row, ...]
    others: dict[str, int]
    findings: tuple[str, ...]


def inspect(paths: Sequence[Path], specification: CycleSpecification | None = None) -> Inspection:
    """Read all fields of known quantity. Raises the errors of ``service.files``."""
    headers = [header for path in paths for header in files.scan(path)]
    known = known_fields(headers)
    channels = _channels(known, specification)
    with files.reading() as read:
        rows = tuple(_row(header, channels.get(header, ""), read(header)) for header in known)
    return Inspection(
        reference_times=tuple(sorted({f"{header.reference_time} UTC" for header in headers})),
        rows=rows,
        others=dict(Counter(header.quantity for header in headers if header.quantity not in QUANTITIES)),
        findings=() if specification is None else _findings(headers, specification),
    )


def render(paths: Sequence[Path], specification: CycleSpecification | None = None) -> str:
    """``inspect`` as text: a table, and below it what is missing."""
    inspection = inspect(paths, specification)
    table = Table(
        title=f"Reference time {', '.join(inspection.reference_times) or 'none'}", title_justify="left"
    )
    for name in ("file", "channel", "quantity", "level", "unit", "time range", "grid"):
        table.add_column(name, overflow="fold")
    for name in ("min", "mean", "max", "holes"):
        table.add_column(name, justify="right", no_wrap=True)
    grids = list(dict.fromkeys(row.grid for row in inspection.rows))
    for row in inspection.rows:
        numbers = [f"{value:.6g}" for value in (row.minimum, row.mean, row.maximum)]
        place = f"grid {grids.index(row.grid) + 1}"
        table.add_row(
            *(row.file, row.channel, row.quantity, row.level, row.unit, row.time_range, place),
            *numbers,
            str(row.holes),
        )
    text = StringIO()
    console = Console(file=text, width=_WIDTH, color_system=None, highlight=False, emoji=False, markup=False)
    console.print(table)
    for index, place in enumerate(grids, start=1):
        console.print(f"grid {index}: {place}")
    if inspection.others:
        console.print(
            f"{sum(inspection.others.values())} fields of other quantities: {_counted(inspection.others)}"
        )
    for finding in inspection.findings:
        console.print(f"! {finding}")
    if specification is not None and not inspection.findings:
        leads = ", ".join(str(lead) for lead in specification.leads_hours)
        console.print(f"Nothing is missing for {len(specification.channels)} channels at leads {leads} h.")
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _channels(
    known: Sequence[FieldHeader], specification: CycleSpecification | None
) -> dict[FieldHeader, str]:
    if specification is None:
        return {header: _channel_of_level(header) for header in known}
    used: dict[FieldHeader, str] = {}
    try:
        choices = find(known, specification).choices
    except WrongSource:
        return {header: _channel_of_level(header) for header in known}
    for choice in choices:
        for term in choice.terms:
            used[term.header] = choice.channel
    return used


def _channel_of_level(header: FieldHeader) -> str:
    for channel in CHANNELS.values():
        rain = channel.level_type is LevelType.SURFACE and header.quantity in WHOLE + PARTS
        same_level = (channel.level_type, channel.level) == (header.level_type, header.level)
        if same_level and (rain or channel.quantity == header.quantity):
            return channel.name
    return ""


def _row(header: FieldHeader, channel: str, values: Values) -> Row:
    finite = values[np.isfinite(values)].astype(np.float64)
    numbers = (finite.min(), finite.mean(), finite.max()) if finite.size else (np.nan,) * 3
    instant = header.lead_start_hours == header.lead_hours
    return Row(
        file=header.path.name,
        channel=channel,
        quantity=header.quantity,
        level=level_text(header),
        unit=header.unit,
        time_range=f"{header.lead_hours:g} h"
        if instant
        else f"{header.lead_start_hours:g}-{header.lead_hours:g} h",
        grid=header.grid.describe(),
        minimum=float(numbers[0]),
        mean=float(numbers[1]),
        maximum=float(numbers[2]),
        holes=values.size - finite.size,
    )


def _findings(headers: Sequence[FieldHeader], specification: CycleSpecification) -> tuple[str, ...]:
    """What stands in the way as a whole, then every missing lead and channel by name."""
    try:
        select(headers, specification)
    except (MissingLead, MissingChannel):
        return _gaps(headers, specification)
    except InputError as error:
        return (str(error), *_gaps(headers, specification))
    return ()


def _gaps(headers: Sequence[FieldHeader], specification: CycleSpecification) -> tuple[str, ...]:
    try:
        search = find(known_fields(headers), specification)
    except WrongSource:  # of winds without a direction: the caller reports it
        return ()
    absent = tuple(f"lead {lead} h: no field" for lead in search.absent_leads)
    return absent + tuple(
        f"lead {gap.lead_hours} h: no {gap.channel}; there is {gap.near}" for gap in search.gaps
    )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counts.items())
