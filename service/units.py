"""Units of files to units of the channel table. A unit that is not listed is an error, never a guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from service.channels import STANDARD_GRAVITY
from service.errors import UnrecognisedInput


@dataclass(frozen=True)
class Conversion:
    """value in the table's unit = factor x value in the file's unit + offset."""

    factor: float = 1.0
    offset: float = 0.0


_SAME: Final = Conversion()
_SPEEDS: Final = {
    "m s-1": _SAME, "m/s": _SAME, "m s**-1": _SAME, "m.s-1": _SAME, "meter/second": _SAME,
    "knot": Conversion(1852.0 / 3600.0), "kt": Conversion(1852.0 / 3600.0),
    "km/h": Conversion(1.0 / 3.6), "km h-1": Conversion(1.0 / 3.6),
}  # fmt: skip
_AMOUNTS: Final = {
    "mm": _SAME, "kg m-2": _SAME, "kg/m2": _SAME, "kg/m^2": _SAME, "kg m**-2": _SAME, "kg/m**2": _SAME,
    "cm": Conversion(10.0), "m": Conversion(1000.0),
}  # fmt: skip
"""A kilogram of water on a square metre is a millimetre deep."""

_GEOPOTENTIAL: Final = Conversion(1.0 / STANDARD_GRAVITY)
CONVERSIONS: Final[dict[str, dict[str, Conversion]]] = {
    "m": {
        "m": _SAME, "gpm": _SAME, "meter": _SAME, "metre": _SAME, "meters": _SAME, "metres": _SAME,
        "geopotential meter": _SAME, "dam": Conversion(10.0), "gpdm": Conversion(10.0),
        "m2 s-2": _GEOPOTENTIAL, "m**2 s**-2": _GEOPOTENTIAL, "m^2/s^2": _GEOPOTENTIAL,
        "m2/s2": _GEOPOTENTIAL,
        "J kg-1": _GEOPOTENTIAL,
    },
    "Pa": {
        "Pa": _SAME, "pascal": _SAME, "hPa": Conversion(100.0), "mb": Conversion(100.0),
        "mbar": Conversion(100.0),
        "millibar": Conversion(100.0), "millibars": Conversion(100.0), "kPa": Conversion(1000.0),
    },
    "%": {"%": _SAME, "percent": _SAME, "1": Conversion(100.0)},
    "K": {
        "K": _SAME, "kelvin": _SAME, "Kelvin": _SAME, "degK": _SAME,
        "degC": Conversion(1.0, 273.15), "C": Conversion(1.0, 273.15), "Celsius": Conversion(1.0, 273.15),
        "celsius": Conversion(1.0, 273.15), "degrees_Celsius": Conversion(1.0, 273.15),
        "deg C": Conversion(1.0, 273.15), "°C": Conversion(1.0, 273.15),
        "degree_Celsius": Conversion(1.0, 273.15),
    },
    "m s-1": _SPEEDS,
    "mm": _AMOUNTS,
}  # fmt: skip
"""Unit of the channel table to units of files to the conversion."""


def conversion(unit: str, source_unit: str | None, where: str) -> Conversion:
    """From the file's unit to ``unit`` of the channel table. Raises UnrecognisedInput for an unlisted one."""
    known = CONVERSIONS[unit]
    if source_unit is not None and source_unit.strip() in known:
        return known[source_unit.strip()]
    raise UnrecognisedInput(
        "A unit that is not known, or none",
        where=where,
        expected=f"attribute 'units', one of {', '.join(known)}",
        got=repr(source_unit),
        advice="Ask for the unit to be written into the file; it is never guessed from the values.",
    )
