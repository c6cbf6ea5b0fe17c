"""Values that no atmosphere has, and what they usually are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.channels import CHANNELS, PRECIPITATION_CHANNEL, QUANTITIES, LevelType
from service.errors import MissingValues, PhysicalLimit
from service.fields import FieldHeader
from service.precipitation import NEGATIVE_TOLERANCE_MM, PARTS, WHOLE, Term

SENTINELS: Final = (9999.0, -9999.0, 9.999e20, 1e20, -999.0, 99999.0)
"""Values that forecast and observation files write for "no value"."""

CELSIUS_OFFSET_K: Final = 273.15
_WRAP_STEPS: Final = tuple(65536.0 * scale for scale in (0.01, 0.001, 0.1, 1.0))
"""Range of a 16-bit integer times the usual scale factors: 655.36 with 0.01."""

_MOST_TURNS: Final = 3


def check_field(
    header: FieldHeader, values: NDArray[np.float32], used: NDArray[np.bool_], origin: tuple[int, int]
) -> None:
    """No hole and no impossible value of a quantity in the points that the target uses.

    values, used: (y, x) of the window of the source whose first row and column are ``origin``.
    Raises MissingValues, PhysicalLimit.
    """
    holes = used & ~np.isfinite(values)
    if holes.any():
        raise MissingValues(
            f"{header.quantity} has no value in points that the target grid needs",
            where=_where(header, holes, origin),
            expected="a finite value in every point",
            got=f"{int(holes.sum())} of {int(used.sum())} needed points without one",
            advice="The bitmap or the fill values of the file reach into the domain of the model.",
        )
    quantity = QUANTITIES[header.quantity]
    slack = max(NEGATIVE_TOLERANCE_MM, header.packing_step) if header.quantity in WHOLE + PARTS else 0.0
    low, high = _bounds(header, quantity.minimum - slack, quantity.maximum)
    wrong = used & ((values < low) | (values > high))
    if wrong.any():
        first = values[tuple(np.argwhere(wrong)[0])]
        raise PhysicalLimit(
            f"{header.quantity} beyond physical limits",
            where=_where(header, wrong, origin),
            expected=f"{low:g} to {high:g} {quantity.unit} at {level_text(header)}",
            got=f"{int(wrong.sum())} of {int(used.sum())} needed points, the first {first:g} {quantity.unit}"
            + diagnosis(values[wrong], values[used & ~wrong]),
            advice="Ask the provider for a sound file; values are never repaired here.",
        )


def check_amount(terms: Sequence[Term], amount_mm: NDArray[np.float32], period_hours: int) -> None:
    """No amount of precipitation over the period beyond what the channel allows for an hour, or its quantity.

    Raises PhysicalLimit.
    """
    channel = CHANNELS[PRECIPITATION_CHANNEL]
    maximum = channel.maximum if period_hours == 1 else QUANTITIES[channel.quantity].maximum
    wrong = amount_mm > maximum
    if wrong.any():
        raise PhysicalLimit(
            f"More precipitation in {period_hours} h than any atmosphere gives",
            where=f"lead {terms[0].header.lead_hours:g} h, from {' '.join(str(term) for term in terms)}",
            expected=f"at most {maximum:g} mm",
            got=f"{float(amount_mm.max()):g} mm; {int(wrong.sum())} points above the limit"
            + diagnosis(amount_mm[wrong], amount_mm[~wrong]),
            advice="Ask the provider for a sound file; values are never repaired here.",
        )


def _bounds(header: FieldHeader, low: float, high: float) -> tuple[float, float]:
    """The limits of the quantity, narrowed to those of a channel on exactly this level."""
    for channel in CHANNELS.values():
        if channel.level_type is not LevelType.SURFACE and (
            channel.quantity,
            channel.level_type,
            channel.level,
        ) == (header.quantity, header.level_type, header.level):
            return channel.minimum, channel.maximum
    return low, high


def diagnosis(wrong: NDArray[np.float32], sound: NDArray[np.float32]) -> str:
    """What impossible values look like, as the end of a sentence; empty where nothing fits."""
    for sentinel in SENTINELS:
        for shown in (sentinel, sentinel + CELSIUS_OFFSET_K, sentinel * 100.0):
            share = float(np.mean(np.isclose(wrong, shown, rtol=1e-6, atol=1e-3)))
            if share > 0.0:
                return f"; {share:.0%} of them are {sentinel:g}, a sentinel for missing values"
    if sound.size == 0:
        return ""
    for step in _WRAP_STEPS:
        if _displaced(wrong, sound, step) or _overflowed(wrong, sound, step):
            return f"; they are off by multiples of {step:g}: 16-bit integers that wrapped around"
    return ""


def _displaced(wrong: NDArray[np.float32], sound: NDArray[np.float32], step: float) -> bool:
    """Whether whole steps bring all wrong values back among the sound ones."""
    middle, reach = float(sound.min() + sound.max()) / 2.0, 0.6 * float(np.ptp(sound))
    turns = np.round((wrong - middle) / step)
    back = np.abs(wrong - turns * step - middle) <= reach
    # Where sound values span much of a step, any value is a multiple of it away from one of them.
    return bool(np.all(back & (turns != 0) & (np.abs(turns) <= _MOST_TURNS))) and reach < step / 8


def _overflowed(wrong: NDArray[np.float32], sound: NDArray[np.float32], step: float) -> bool:
    """Whether values that cannot be negative reach the largest signed integer and go on from the smallest."""
    at_the_top = float(sound.max()) > 0.4 * step and float(sound.min()) >= -1.0
    return at_the_top and bool(np.all((wrong >= -step / 2) & (wrong < -step / 4)))


def level_text(header: FieldHeader) -> str:
    """A level for people."""
    if header.level_type is LevelType.ISOBARIC:
        return f"{header.level:g} hPa"
    if header.level_type is LevelType.HEIGHT_ABOVE_GROUND:
        return f"{header.level:g} m"
    if header.level_type is None:
        return f"another level ({header.level:g})"
    return header.level_type.replace("_", " ")


def _where(header: FieldHeader, points: NDArray[np.bool_], origin: tuple[int, int]) -> str:
    row, column = np.argwhere(points)[0] + np.array(origin)
    latitude, longitude = header.grid.latitude_longitude()
    return (
        f"{header.label}, {header.quantity} at {level_text(header)}, lead {header.lead_hours:g} h, "
        f"first at row {row}, column {column} ({latitude[row, column]:.3f} N, {longitude[row, column]:.3f} E)"
    )
