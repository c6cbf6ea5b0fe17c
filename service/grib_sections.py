"""The sections of a GRIB2 field: what their octets say.

Source: WMO Manual on Codes (WMO-No. 306), volume I.2, FM 92 GRIB edition 2. Octets are counted from 1, as
there. Only numbers of the standard are read, never names: a centre without tables of its own reads as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

import numpy as np

from service.channels import QUANTITIES, LevelType

HOURS_OF_TIME_UNIT: Final = {
    0: 1.0 / 60.0, 1: 1.0, 2: 24.0, 10: 3.0, 11: 6.0, 12: 12.0, 13: 1.0 / 3600.0,
}  # fmt: skip
"""Code table 4.4; months and longer have no fixed length."""

INSTANT_TEMPLATES: Final = (0, 1)
INTERVAL_TEMPLATES: Final = {8: 35, 11: 38}
"""Product templates of one forecast over an interval, and the octet at which the interval's end begins."""

ENSEMBLE_TEMPLATES: Final = (1, 11)
CONTROL_FORECASTS: Final = (0, 1)
"""Code table 4.6: unperturbed members; any other member is one of many, not the forecast."""

ACCUMULATION: Final = 1
VERIFYING_TIME: Final = 2
NO_SURFACE: Final = 255

_QUANTITY_OF_CODE: Final = {
    code: (quantity, factor) for quantity in QUANTITIES.values() for code, factor in quantity.grib2.items()
}
_PRECIPITATION: Final = ("precipitation", "large_scale_precipitation", "convective_precipitation")
_LEVEL_TYPES: Final = {
    1: LevelType.SURFACE,
    100: LevelType.ISOBARIC,
    101: LevelType.MEAN_SEA_LEVEL,
    103: LevelType.HEIGHT_ABOVE_GROUND,
}
"""Code table 4.5."""

_PASCAL_PER_HECTOPASCAL: Final = 100.0


def unsigned(section: bytes, octet: int, count: int) -> int:
    """The integer of ``count`` octets from ``octet``; IndexError where the section is shorter."""
    if count == 1:
        return section[octet - 1]
    octets = section[octet - 1 : octet - 1 + count]
    if len(octets) < count:
        raise IndexError(f"octets {octet}-{octet + count - 1} lie beyond a section of {len(section)}")
    return int.from_bytes(octets, "big")


def signed(section: bytes, octet: int, count: int) -> int:
    """As ``unsigned``, with the first bit as the sign (regulation 92.1.5)."""
    raw = unsigned(section, octet, count)
    sign_bit = 1 << (8 * count - 1)
    return sign_bit - raw if raw & sign_bit else raw


def is_missing(section: bytes, octet: int, count: int) -> bool:
    """Whether all bits are set, which means that no value is given (regulation 92.1.4)."""
    return unsigned(section, octet, count) == (1 << (8 * count)) - 1


def scaled(section: bytes, octet: int, count: int = 4) -> float:
    """Scale factor in ``octet``, scaled value in the octets after it; 0 where either is missing."""
    if is_missing(section, octet, 1) or is_missing(section, octet + 1, count):
        return 0.0
    return float(signed(section, octet + 1, count) / 10.0 ** signed(section, octet, 1))


def moment(section: bytes, octet: int) -> np.datetime64:
    """Year (2 octets), month, day, hour, minute, second; ValueError where they are no date."""
    year = unsigned(section, octet, 2)
    month, day, hour, minute, second = section[octet + 1 : octet + 6]
    # datetime refuses what is no date; numpy would read a part of some as an offset from UTC.
    return np.datetime64(datetime(year, month, day, hour, minute, second), "s")  # noqa: DTZ001


@dataclass(frozen=True)
class Identification:
    """Section 1: who made the forecast and when it starts."""

    centre: int
    reference_time: np.datetime64
    time_is_verifying: bool


@lru_cache(maxsize=16)
def identification(section: bytes) -> Identification:
    """Of section 1, whole; the messages of a file share it."""
    return Identification(
        centre=unsigned(section, 6, 2),
        reference_time=moment(section, 13),
        time_is_verifying=unsigned(section, 12, 1) == VERIFYING_TIME,
    )


@dataclass(frozen=True)
class Product:
    """Sections 0 and 4: what the values are, where and over which time range.

    factor: from the coded unit to ``unit``. Times in hours after the reference time.
    """

    quantity: str
    unit: str
    factor: float
    level_type: LevelType | None
    level: float
    lead_start_hours: float
    lead_hours: float


def product(discipline: int, section: bytes, origin: Identification) -> Product:
    """Of section 4, whole.

    A product that is not one plain deterministic field (probabilities, perturbed members, means and extremes
    over time, times in months) gets its code and what sets it apart as quantity.
    """
    code = (discipline, unsigned(section, 10, 1), unsigned(section, 11, 1))
    text = "-".join(str(number) for number in code)
    template = unsigned(section, 8, 2)
    if template not in INSTANT_TEMPLATES and template not in INTERVAL_TEMPLATES:
        return Product(f"{text} of template 4.{template}", "unknown", 1.0, None, 0.0, np.nan, np.nan)
    level_type, level = _level(section)
    start_hours = HOURS_OF_TIME_UNIT.get(unsigned(section, 18, 1), np.nan) * signed(section, 19, 4)
    end_hours, apart = start_hours, ""
    if template in INTERVAL_TEMPLATES:
        octet = INTERVAL_TEMPLATES[template]
        end_hours = (moment(section, octet) - origin.reference_time) / np.timedelta64(3600, "s")
        apart = _process(section, octet)
    apart = _exception(section, template, origin, start_hours) or apart
    quantity, factor = _QUANTITY_OF_CODE.get(code, (None, 1.0))
    accumulated = apart == "accumulation"
    rain_or_instant = accumulated == (quantity is not None and quantity.name in _PRECIPITATION)
    if quantity is None or not rain_or_instant or apart not in {"", "accumulation"}:
        name = f"{text} {apart}".strip()
        return Product(name, "unknown", 1.0, level_type, level, start_hours, end_hours)
    return Product(quantity.name, quantity.unit, factor, level_type, level, start_hours, end_hours)


def _process(section: bytes, octet: int) -> str:
    """What was done over the interval, code table 4.10."""
    if unsigned(section, octet + 7, 1) != 1:
        return "over several time ranges"
    process = unsigned(section, octet + 12, 1)
    return "accumulation" if process == ACCUMULATION else f"of statistical process {process}"


def _exception(section: bytes, template: int, origin: Identification, start_hours: float) -> str:
    if template in ENSEMBLE_TEMPLATES and unsigned(section, 35, 1) not in CONTROL_FORECASTS:
        return f"of ensemble member {unsigned(section, 36, 1)}"
    if origin.time_is_verifying:
        return "with a verifying time in place of the reference time"
    if np.isnan(start_hours):
        return f"with time unit {unsigned(section, 18, 1)}"
    return ""


def _level(section: bytes) -> tuple[LevelType | None, float]:
    """Level of the first fixed surface; no type for layers between two surfaces."""
    surface = unsigned(section, 23, 1)
    value = scaled(section, 24)
    level_type = _LEVEL_TYPES.get(surface) if unsigned(section, 29, 1) == NO_SURFACE else None
    if level_type is None:
        return None, value
    if level_type is LevelType.ISOBARIC:
        return level_type, value / _PASCAL_PER_HECTOPASCAL
    return level_type, value if level_type is LevelType.HEIGHT_ABOVE_GROUND else 0.0


def packing_step(section: bytes) -> float:
    """Of section 5, whole: 2^E / 10^D of the packings that share octets 16-19 (templates 5.0 to 5.42).

    0 where the values are stored as floating-point numbers (template 5.4) or as spectral coefficients.
    """
    template = unsigned(section, 10, 2)
    if template not in {0, 1, 2, 3, 40, 41, 42}:
        return 0.0
    return float(2.0 ** signed(section, 16, 2) / 10.0 ** signed(section, 18, 2))


_COMPLEX: Final = {2: (), 3: ((48, "order of differencing", 2), (49, "octets of the extra descriptors", 4))}
_COMPLEX_LIMITS: Final = (
    (20, "bits of the group references", 32),
    (36, "smallest group width", 32),
    (37, "bits of the group widths", 32),
    (47, "bits of the group lengths", 32),
)
"""Octet, meaning and largest sensible value."""


def representation_fault(section: bytes, points: int) -> str:
    """What makes section 5 impossible to decode for a grid of so many points; empty where nothing does.

    Damage here brings the C library down instead of making it report an error.
    """
    template, count = unsigned(section, 10, 2), unsigned(section, 6, 4)
    if count > points:
        return f"{count} packed values for {points} points"
    if template not in _COMPLEX:
        return ""
    groups = unsigned(section, 32, 4)
    if groups > count:
        return f"{groups} groups of {count} values"
    for octet, meaning, limit in _COMPLEX_LIMITS + _COMPLEX[template]:
        if unsigned(section, octet, 1) > limit:
            return f"{meaning} {unsigned(section, octet, 1)}, at most {limit} make sense"
    return ""


_JPEG_2000: Final = 40
_START_OF_IMAGE: Final = b"\xff\x4f\xff\x51"


def codestream_fault(representation: bytes, data: bytes) -> str:
    """What keeps the JPEG 2000 image of section 7 from being the values of section 5; empty where it is.

    Source: ISO/IEC 15444-1, annex A.5.1 (image and tile size). An image of another size than announced brings
    the C library down.
    """
    if unsigned(representation, 10, 2) != _JPEG_2000 or len(data) <= 5:
        return ""
    if data[5:9] != _START_OF_IMAGE:
        return f"section 7 starts with {data[5:9].hex()} where an image has {_START_OF_IMAGE.hex()}"
    width, height, left, top = (unsigned(data, octet, 4) for octet in (14, 18, 22, 26))
    points = (width - left) * (height - top)
    announced = unsigned(representation, 6, 4)
    return "" if points == announced else f"an image of {points} points for {announced} values"
