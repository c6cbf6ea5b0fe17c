"""The amount of rain over a period out of what a cycle holds: direct, by difference, in parts or whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.channels import LevelType
from service.errors import PhysicalLimit
from service.fields import FieldHeader

WHOLE: Final = ("precipitation",)
PARTS: Final = ("large_scale_precipitation", "convective_precipitation")

NEGATIVE_TOLERANCE_MM: Final = 0.05
"""Half the lower threshold of the classes: what rounding may take from an amount without an alarm."""


@dataclass(frozen=True)
class Term:
    """One field of a sum, added (sign 1) or taken away (sign -1)."""

    header: FieldHeader
    sign: int

    def __str__(self) -> str:
        return f"{'+' if self.sign > 0 else '-'} {self.header.label}"


RainFields = Mapping[tuple[str, float], Mapping[float, FieldHeader]]
"""(quantity, end of the range in hours) to start of the range to header."""


def rain_fields(headers: Sequence[FieldHeader]) -> RainFields:
    """All precipitation at the surface; of several fields with one range the first one counts."""
    found: dict[tuple[str, float], dict[float, FieldHeader]] = {}
    for header in headers:
        if header.quantity in WHOLE + PARTS and header.level_type is LevelType.SURFACE:
            ranges = found.setdefault((header.quantity, header.lead_hours), {})
            ranges.setdefault(header.lead_start_hours, header)
    return found


def rain_terms(fields: RainFields, lead_hours: int, period_hours: int) -> tuple[Term, ...]:
    """The fields whose signed sum is the precipitation of the ``period_hours`` before ``lead_hours``.

    In order of preference: the period itself, then the difference of two accumulations with a common start,
    the latest first, because short accumulations are packed more finely; at each step the total before the
    sum of large-scale and convective precipitation. Empty where nothing serves.
    """
    for ways in (_direct, _differences):
        for quantities in (WHOLE, PARTS):
            found = [next(ways(fields, name, lead_hours, period_hours), ()) for name in quantities]
            if all(found):
                return tuple(term for terms in found for term in terms)
    return ()


def _direct(
    fields: RainFields, quantity: str, lead_hours: int, period_hours: int
) -> Iterator[tuple[Term, ...]]:
    header = fields.get((quantity, lead_hours), {}).get(lead_hours - period_hours)
    if header is not None:
        yield (Term(header, 1),)


def _differences(
    fields: RainFields, quantity: str, lead_hours: int, period_hours: int
) -> Iterator[tuple[Term, ...]]:
    later = fields.get((quantity, lead_hours), {})
    earlier = fields.get((quantity, lead_hours - period_hours), {})
    for start in sorted(set(later) & set(earlier), reverse=True):
        if start < lead_hours - period_hours:
            yield Term(later[start], 1), Term(earlier[start], -1)


def rain_amount_mm(
    terms: Sequence[Term],
    fields: Mapping[FieldHeader, NDArray[np.float32]],
    used: NDArray[np.bool_],
    where: str,
) -> NDArray[np.float32]:
    """The signed sum in mm, (y, x), never negative where ``used``.

    Raises PhysicalLimit where the sum falls below zero by more than the packing explains.
    """
    total = np.zeros(used.shape, np.float64)
    for term in terms:
        total += term.sign * fields[term.header].astype(np.float64)
    tolerance_mm = max(NEGATIVE_TOLERANCE_MM, sum(term.header.packing_step for term in terms))
    decreasing = used & (total < -tolerance_mm)
    if decreasing.any():
        row, column = np.argwhere(decreasing)[0]
        raise PhysicalLimit(
            "Accumulated precipitation decreases with time" if len(terms) > 1 else "Negative precipitation",
            where=f"{where}, {int(decreasing.sum())} cells, from {' '.join(str(term) for term in terms)}",
            expected=f"at least -{tolerance_mm:.3g} mm, which packing explains",
            got=f"{total[decreasing].min():.3f} mm at worst, {total[row, column]:.3f} mm at the first cell",
            advice="The accumulation was reset, wrapped around or belongs to another run.",
        )
    # Two accumulations are rounded independently, so that no rain at all may come out slightly negative.
    return np.maximum(total, 0.0).astype(np.float32)


def rain_ranges(fields: RainFields, lead_hours: float) -> str:
    """What precipitation ends at a lead, for messages."""
    found = [
        f"{quantity} {start:g}-{end:g} h"
        for (quantity, end), ranges in sorted(fields.items())
        if end == lead_hours
        for start in sorted(ranges)
    ]
    return ", ".join(found) or f"no precipitation that ends at {lead_hours:g} h"
