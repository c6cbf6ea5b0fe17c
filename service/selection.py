"""Which fields of a cycle make which channel at which lead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from service.channels import CHANNELS, PRECIPITATION_CHANNEL, QUANTITIES, Channel, LevelType
from service.errors import EmptyInput, MissingChannel, MissingLead, MixedCycles, WrongGrid, WrongSource
from service.fields import FieldHeader
from service.grids import Grid, LatitudeLongitudeGrid
from service.limits import level_text
from service.precipitation import RainFields, Term, rain_fields, rain_ranges, rain_terms
from service.specification import CycleSpecification

OTHER_COMPONENT: Final = {"eastward_wind": "northward_wind", "northward_wind": "eastward_wind"}
_LONGEST_LIST: Final = 8

FieldKey = tuple[str, LevelType | None, float, float]
"""Quantity, level type, level and lead of an instantaneous field."""


@dataclass(frozen=True)
class Choice:
    """The fields of one channel at one lead.

    terms: signed sum of fields; a single one for all channels but precipitation.
    other_component: the other component of a wind that has to be turned from the grid to the Earth.
    """

    lead_hours: int
    channel: str
    terms: tuple[Term, ...]
    other_component: FieldHeader | None = None

    @property
    def headers(self) -> tuple[FieldHeader, ...]:
        """All fields that have to be read."""
        fields = tuple(term.header for term in self.terms)
        return fields if self.other_component is None else (*fields, self.other_component)


@dataclass(frozen=True)
class Selection:
    """What a cycle is made of.

    reference_time, grid: the only ones. leads_hours: those of the specification that are whole.
    choices: leads outside, channels inside; of whole leads alone where the cycle is to be whole.
    headers: every field that has to be read, once, in the order in which they were offered.
    """

    reference_time: np.datetime64
    grid: Grid
    leads_hours: tuple[int, ...]
    choices: tuple[Choice, ...]
    headers: tuple[FieldHeader, ...]


@dataclass(frozen=True)
class Gap:
    """A channel that cannot be made at a lead, and the fields that come near."""

    lead_hours: int
    channel: str
    near: str


@dataclass(frozen=True)
class Search:
    """What a cycle offers: choices made, and what is missing."""

    choices: tuple[Choice, ...]
    absent_leads: tuple[int, ...]
    gaps: tuple[Gap, ...]

    def whole_leads(self, specification: CycleSpecification) -> tuple[int, ...]:
        """Leads at which every channel can be made."""
        broken = {*self.absent_leads, *(gap.lead_hours for gap in self.gaps)}
        return tuple(lead for lead in specification.leads_hours if lead not in broken)


def known_fields(headers: Sequence[FieldHeader]) -> list[FieldHeader]:
    """Those whose quantity is in the channel table."""
    return [header for header in headers if header.quantity in QUANTITIES]


def select(
    headers: Sequence[FieldHeader],
    specification: CycleSpecification,
    expected_reference_time: np.datetime64 | None = None,
    minimum_leads: int | None = None,
) -> Selection:
    """The fields that the specification asks for.

    minimum_leads: how many leads must be whole; the others are then left out. None: all of them.

    Fields of unknown quantity are passed over. Of fields that agree in quantity, level, lead and time range
    the first in the given order counts: the same file sent twice, or one field in two packings, changes
    nothing.

    Raises EmptyInput, MixedCycles, WrongSource, MissingLead, MissingChannel, WrongGrid.
    """
    known = known_fields(headers)
    if not headers:
        raise EmptyInput(
            "The files hold no field at all", expected="the fields of a forecast cycle", got="none"
        )
    reference_time = _reference_time(known or headers, expected_reference_time)
    _check_centre(known, specification)
    search = find(known, specification)
    leads = search.whole_leads(specification)
    if minimum_leads is None or len(leads) < minimum_leads:
        _check_leads(search, known, specification)
        _check_channels(search)
    choices = tuple(choice for choice in search.choices if choice.lead_hours in leads)
    return _selection(known, specification, reference_time, leads, choices)


def select_some(
    headers: Sequence[FieldHeader],
    specification: CycleSpecification,
    expected_reference_time: np.datetime64,
) -> Selection | None:
    """As ``select`` of a cycle whose files are still arriving: every channel that can be made, also at leads
    that lack others; None where there is nothing yet.

    Raises MixedCycles, WrongSource, WrongGrid.
    """
    known = known_fields(headers)
    if not known:
        return None
    reference_time = _reference_time(known, expected_reference_time)
    _check_centre(known, specification)
    search = find(known, specification)
    if not search.choices:
        return None
    return _selection(known, specification, reference_time, search.whole_leads(specification), search.choices)


def _selection(
    known: Sequence[FieldHeader],
    specification: CycleSpecification,
    reference_time: np.datetime64,
    leads_hours: tuple[int, ...],
    choices: tuple[Choice, ...],
) -> Selection:
    grid = _common_grid(choices, specification)
    needed = {header for choice in choices for header in choice.headers}
    ordered = tuple(dict.fromkeys(header for header in known if header in needed))
    return Selection(reference_time, grid, leads_hours, choices, ordered)


def find(known: Sequence[FieldHeader], specification: CycleSpecification) -> Search:
    """Choices for all that is there, and a list of what is not."""
    instants: dict[FieldKey, FieldHeader] = {}
    for header in known:
        if header.lead_start_hours == header.lead_hours:
            instants.setdefault(_key(header), header)
    rain = rain_fields(known)
    present = {header.lead_hours for header in known}
    choices: list[Choice] = []
    gaps: list[Gap] = []
    for lead in specification.leads_hours:
        for name in specification.channels if lead in present else ():
            choice = _choice(name, lead, instants, rain, specification)
            if isinstance(choice, Choice):
                choices.append(choice)
            else:
                gaps.append(choice)
    absent = tuple(lead for lead in specification.leads_hours if lead not in present)
    return Search(tuple(choices), absent, tuple(gaps))


def _key(header: FieldHeader) -> FieldKey:
    return header.quantity, header.level_type, round(header.level, 3), header.lead_hours


def _choice(
    name: str,
    lead: int,
    instants: dict[FieldKey, FieldHeader],
    rain: RainFields,
    specification: CycleSpecification,
) -> Choice | Gap:
    channel, period = CHANNELS[name], specification.precipitation_hours
    if name == PRECIPITATION_CHANNEL:
        terms = rain_terms(rain, lead, period)
        near = f"{rain_ranges(rain, lead)}; {rain_ranges(rain, lead - period)}"
        return Choice(lead, name, terms) if terms else Gap(lead, name, near)
    header = instants.get((channel.quantity, channel.level_type, channel.level, lead))
    if header is None:
        return Gap(lead, name, _near(channel, lead, instants))
    if channel.quantity not in OTHER_COMPONENT or not _along_grid(header, specification):
        return Choice(lead, name, (Term(header, 1),))
    other = OTHER_COMPONENT[channel.quantity]
    partner = instants.get((other, channel.level_type, channel.level, lead))
    if partner is None:
        return Gap(lead, name, f"{channel.quantity} along the grid without {other}: it cannot be turned")
    return Choice(lead, name, (Term(header, 1),), partner)


def _along_grid(header: FieldHeader, specification: CycleSpecification) -> bool:
    """Whether a wind points along the grid, and the grid does not point along the Earth."""
    if isinstance(header.grid, LatitudeLongitudeGrid):
        return False
    if header.grid_relative_winds is not None:
        return header.grid_relative_winds
    relative_to = specification.source.winds_relative_to
    if relative_to is None:
        raise WrongSource(
            "Neither the file nor the manifest says what winds point along",
            where=header.label,
            expected="CF's eastward_wind or x_wind as standard_name, or a word in the manifest",
            got="neither",
            advice="Name 'earth' or 'grid' in the manifest's source.winds_relative_to.",
        )
    return relative_to == "grid"


def _near(channel: Channel, lead: int, instants: dict[FieldKey, FieldHeader]) -> str:
    levels = [
        level_text(header)
        for (quantity, _, _, hours), header in instants.items()
        if quantity == channel.quantity and hours == lead
    ]
    return f"{channel.quantity} at {_listed(levels)}" if levels else f"no {channel.quantity} on any level"


def _reference_time(
    headers: Sequence[FieldHeader], expected_reference_time: np.datetime64 | None
) -> np.datetime64:
    files: dict[np.datetime64, list[str]] = {}
    for header in headers:
        names = files.setdefault(header.reference_time, [])
        if header.path.name not in names:
            names.append(header.path.name)
    found = "; ".join(f"{time}: {_listed(names)}" for time, names in sorted(files.items()))
    if len(files) > 1:
        raise MixedCycles(
            "The files belong to more than one cycle",
            where=f"{len(files)} reference times",
            expected="one reference time (UTC)",
            got=found,
            advice="Send the files of one cycle at a time.",
        )
    reference_time = next(iter(files))
    if expected_reference_time is not None and reference_time != expected_reference_time:
        raise MixedCycles(
            "The files belong to another cycle than the one asked for",
            expected=f"{expected_reference_time.astype('datetime64[s]')} UTC",
            got=found,
        )
    return reference_time


def _check_centre(known: Sequence[FieldHeader], specification: CycleSpecification) -> None:
    accepted = specification.source.centres
    for header in known:
        if accepted and header.centre is not None and header.centre not in accepted:
            raise WrongSource(
                f"The file is not of {specification.source.name}",
                where=header.label,
                expected=f"originating centre {_listed(accepted)} (WMO common code table C-11)",
                got=f"centre {header.centre}",
                advice="Send files of the forecast model that the post-processor was trained on.",
            )


def _check_leads(search: Search, known: Sequence[FieldHeader], specification: CycleSpecification) -> None:
    if search.absent_leads:
        found = sorted({f"{header.lead_hours:g}" for header in known}, key=float)
        raise MissingLead(
            f"No field at all for {len(search.absent_leads)} of {len(specification.leads_hours)} leads",
            where=f"leads {', '.join(str(lead) for lead in search.absent_leads)} h",
            expected=f"fields for leads {', '.join(str(lead) for lead in specification.leads_hours)} h",
            got=f"leads {', '.join(found)} h" if found else "no field of a known quantity",
            advice="Add the files of these leads.",
        )


def _check_channels(search: Search) -> None:
    if not search.gaps:
        return
    by_channel: dict[str, list[Gap]] = {}
    for gap in search.gaps:
        by_channel.setdefault(gap.channel, []).append(gap)
    raise MissingChannel(
        f"{len(by_channel)} channels are missing: {', '.join(by_channel)}",
        where="; ".join(
            f"{name} at leads {', '.join(str(gap.lead_hours) for gap in gaps)} h"
            for name, gaps in by_channel.items()
        ),
        expected="; ".join(f"{name}: {_wanted(name)}" for name in by_channel),
        got="; ".join(f"{name}: {gaps[0].near}" for name, gaps in by_channel.items()),
        advice="Rain by difference also needs the accumulation one period before the first lead."
        if PRECIPITATION_CHANNEL in by_channel
        else "",
    )


def _wanted(name: str) -> str:
    channel = CHANNELS[name]
    if name == PRECIPITATION_CHANNEL:
        return "the amount of the period, or accumulations from one start to both of its ends"
    unit = {LevelType.ISOBARIC: " hPa", LevelType.HEIGHT_ABOVE_GROUND: " m"}.get(channel.level_type)
    return f"{channel.quantity} at {channel.level:g}{unit}" if unit else channel.quantity


def _common_grid(choices: Sequence[Choice], specification: CycleSpecification) -> Grid:
    grids: dict[Grid, FieldHeader] = {}
    for choice in choices:
        for header in choice.headers:
            grids.setdefault(header.grid, header)
    grid, header = next(iter(grids.items()))
    if len(grids) > 1:
        raise WrongGrid(
            "The fields of the cycle lie on several grids",
            where=_listed([one.label for one in grids.values()]),
            expected="one grid",
            got=_listed([one.describe() for one in grids]),
        )
    accepted = specification.source.spacing_m
    if accepted is not None and not accepted[0] <= grid.spacing_m <= accepted[1]:
        raise WrongGrid(
            f"The grid is not that of {specification.source.name}",
            where=header.label,
            expected=f"a spacing of {accepted[0]:g} to {accepted[1]:g} m",
            got=grid.describe(),
        )
    return grid


def _listed(items: Sequence[object]) -> str:
    shown = ", ".join(str(item) for item in items[:_LONGEST_LIST])
    rest = len(items) - _LONGEST_LIST
    return f"{shown} and {rest} more" if rest > 0 else shown
