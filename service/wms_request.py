"""Requests of WMS 1.3.0 as key-value pairs, checked.

Source: OGC 06-042, Web Map Service 1.3.0: 6.8 names of parameters are not case-sensitive, 7.3 GetMap, 7.4
GetFeatureInfo; Annex B axes: EPSG:4326 has latitude first, CRS:84 longitude.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

VERSION: Final = "1.3.0"
LARGEST_PIXELS: Final = 4096
NATIVE: Final = "RAINPOST:native"
"""The plane of the product, which no register has."""

SYSTEMS: Final = ("CRS:84", "EPSG:4326", "EPSG:3857", NATIVE)
PNG: Final = "image/png"
_COLOUR: Final = re.compile(r"0[xX][0-9a-fA-F]{6}")
_LATITUDE_FIRST: Final = ("EPSG:4326",)


class WmsError(Exception):
    """What a WMS refuses. code: of table E.1, or none."""

    def __init__(self, text: str, code: str = "") -> None:
        self.code = code
        super().__init__(text)


@dataclass(frozen=True)
class MapRequest:
    """A map that is asked for. west to north: in the system's unit, x before y whatever its axes."""

    layers: tuple[str, ...]
    system: str
    west: float
    south: float
    east: float
    north: float
    width: int
    height: int
    transparent: bool
    background: str
    time: str | None
    reference_time: str | None


def upper_names(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Parameters by their names in capitals; the first of equals counts."""
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name.upper(), value)
    return found


def required(parameters: Mapping[str, str], name: str) -> str:
    """A parameter that must be there. Raises WmsError."""
    if not parameters.get(name):
        raise WmsError(f"{name} is missing", "MissingParameterValue")
    return parameters[name]


def number(parameters: Mapping[str, str], name: str, least: int, most: int, code: str = "") -> int:
    """A whole number within limits. Raises WmsError."""
    text = required(parameters, name)
    if not text.isdigit() or len(text) > 6 or not least <= int(text) <= most:
        raise WmsError(f"{name} must be a whole number from {least} to {most}, not {text[:40]!r}", code)
    return int(text)


def map_request(parameters: Mapping[str, str]) -> MapRequest:
    """GetMap, and the map part of GetFeatureInfo. Raises WmsError."""
    if required(parameters, "VERSION") != VERSION:
        raise WmsError(f"VERSION must be {VERSION}", "InvalidParameterValue")
    system = required(parameters, "CRS")
    if system not in SYSTEMS:
        raise WmsError(f"CRS must be one of {', '.join(SYSTEMS)}, not {system[:40]!r}", "InvalidCRS")
    west, south, east, north = _box(required(parameters, "BBOX"), system)
    picture_format = parameters.get("FORMAT", PNG)
    if picture_format not in {PNG, ""}:
        raise WmsError(f"FORMAT must be {PNG}, not {picture_format[:40]!r}", "InvalidFormat")
    layers = tuple(required(parameters, "LAYERS").split(","))
    styles = parameters.get("STYLES", "").split(",")
    if any(style not in {"", "default"} for style in styles) or len(styles) not in {1, len(layers)}:
        raise WmsError("STYLES must be empty or 'default' for each layer", "StyleNotDefined")
    return MapRequest(
        layers=layers,
        system=system,
        west=west,
        south=south,
        east=east,
        north=north,
        width=number(parameters, "WIDTH", 1, LARGEST_PIXELS),
        height=number(parameters, "HEIGHT", 1, LARGEST_PIXELS),
        transparent=parameters.get("TRANSPARENT", "FALSE").upper() == "TRUE",
        background=_colour(parameters.get("BGCOLOR") or "0xFFFFFF"),
        time=parameters.get("TIME") or None,
        reference_time=parameters.get("DIM_REFERENCE_TIME") or None,
    )


def _box(text: str, system: str) -> tuple[float, float, float, float]:
    try:
        first, second, third, fourth = (float(part) for part in text.split(","))
    except ValueError as error:
        raise WmsError(f"BBOX must be four numbers, not {text[:80]!r}", "InvalidParameterValue") from error
    if system in _LATITUDE_FIRST:
        first, second, third, fourth = second, first, fourth, third
    if not (first < third and second < fourth and max(map(abs, (first, second, third, fourth))) < 1e9):
        raise WmsError(f"BBOX must be a box with some extent, not {text[:80]!r}", "InvalidParameterValue")
    return first, second, third, fourth


def _colour(text: str) -> str:
    if not _COLOUR.fullmatch(text):
        raise WmsError("BGCOLOR must be 0xRRGGBB", "InvalidParameterValue")
    return f"#{text[2:]}"
