"""The 16 channels, the classes and the thresholds: the one table of what the numbers mean.

GRIB2 codes are WMO code table 4.2 (discipline, category, number). Physical limits are wide bounds on
what the atmosphere of the troposphere and lower stratosphere can show; they exist to catch sentinels and
packing overflow, not to judge a forecast.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

STANDARD_GRAVITY: Final = 9.80665
"""m s-2; geopotential (m2 s-2) divided by it is geopotential height (m)."""

CLASSES: Final = ("no_rain", "rain", "heavy_rain")
THRESHOLDS_MM: Final = (0.1, 10.0)
"""Hourly amounts in mm between the classes; an amount equal to a threshold belongs to the class above."""


class LevelType(StrEnum):
    """What a level counts. The value of an isobaric level is in hPa, of a height in m."""

    ISOBARIC = "isobaric"
    HEIGHT_ABOVE_GROUND = "height_above_ground"
    MEAN_SEA_LEVEL = "mean_sea_level"
    SURFACE = "surface"


@dataclass(frozen=True)
class Quantity:
    """A physical quantity, independent of its level.

    standard_name and unit are CF's. minimum and maximum are physical limits in that unit.
    grib2: (discipline, category, number) to the factor that brings the coded unit to ``unit``.
    netcdf: variable names in order of preference; the unit is read from the variable.
    """

    name: str
    standard_name: str
    unit: str
    minimum: float
    maximum: float
    grib2: dict[tuple[int, int, int], float]
    netcdf: tuple[str, ...]


@dataclass(frozen=True)
class Channel:
    """One input of the network: a quantity on one level."""

    name: str
    quantity: str
    level_type: LevelType
    level: float
    minimum: float
    maximum: float


QUANTITIES: Final = {
    quantity.name: quantity
    for quantity in (
        Quantity(
            "geopotential_height", "geopotential_height", "m", -700.0, 35000.0,
            {(0, 3, 5): 1.0, (0, 3, 4): 1.0 / STANDARD_GRAVITY}, ("GPH", "HGT", "gh", "z", "Z"),
        ),
        Quantity(
            "mean_sea_level_pressure", "air_pressure_at_mean_sea_level", "Pa", 85000.0, 109000.0,
            {(0, 3, 1): 1.0}, ("MSLP", "PSL", "SLP", "prmsl", "msl"),
        ),
        Quantity(
            "relative_humidity", "relative_humidity", "%", -1.0, 150.0,
            {(0, 1, 1): 1.0}, ("RH", "r", "rh"),
        ),
        Quantity(
            "temperature", "air_temperature", "K", 150.0, 345.0,
            {(0, 0, 0): 1.0}, ("T", "T2", "T2M", "t", "t2m", "2t"),
        ),
        Quantity(
            "eastward_wind", "eastward_wind", "m s-1", -150.0, 150.0,
            {(0, 2, 2): 1.0}, ("U", "U10", "U10M", "u", "u10", "10u"),
        ),
        Quantity(
            "northward_wind", "northward_wind", "m s-1", -150.0, 150.0,
            {(0, 2, 3): 1.0}, ("V", "V10", "V10M", "v", "v10", "10v"),
        ),
        Quantity(
            "precipitation", "lwe_thickness_of_precipitation_amount", "mm", 0.0, 1000.0,
            {(0, 1, 8): 1.0}, ("RAIN", "APCP", "tp"),
        ),
        Quantity(
            "large_scale_precipitation", "lwe_thickness_of_stratiform_precipitation_amount", "mm",
            0.0, 1000.0, {(0, 1, 9): 1.0}, ("RAINNC", "rainl_acc"),
        ),
        Quantity(
            "convective_precipitation", "lwe_thickness_of_convective_precipitation_amount", "mm", 0.0, 1000.0,
            {(0, 1, 10): 1.0}, ("RAINC", "rainc_acc"),
        ),
    )
}  # fmt: skip

_ISOBARIC = LevelType.ISOBARIC
_HEIGHT = LevelType.HEIGHT_ABOVE_GROUND

CHANNELS: Final = {
    channel.name: channel
    for channel in (
        Channel("geopotential_height_100hpa", "geopotential_height", _ISOBARIC, 100.0, 14000.0, 18000.0),
        Channel("geopotential_height_500hpa", "geopotential_height", _ISOBARIC, 500.0, 4300.0, 6500.0),
        Channel("geopotential_height_850hpa", "geopotential_height", _ISOBARIC, 850.0, 500.0, 2000.0),
        Channel(
            "mean_sea_level_pressure",
            "mean_sea_level_pressure",
            LevelType.MEAN_SEA_LEVEL,
            0.0,
            85000.0,
            109000.0,
        ),
        Channel("relative_humidity_500hpa", "relative_humidity", _ISOBARIC, 500.0, -1.0, 150.0),
        Channel("relative_humidity_850hpa", "relative_humidity", _ISOBARIC, 850.0, -1.0, 150.0),
        Channel("temperature_2m", "temperature", _HEIGHT, 2.0, 200.0, 335.0),
        Channel("temperature_500hpa", "temperature", _ISOBARIC, 500.0, 205.0, 290.0),
        Channel("temperature_850hpa", "temperature", _ISOBARIC, 850.0, 220.0, 320.0),
        Channel("eastward_wind_10m", "eastward_wind", _HEIGHT, 10.0, -110.0, 110.0),
        Channel("eastward_wind_500hpa", "eastward_wind", _ISOBARIC, 500.0, -150.0, 150.0),
        Channel("eastward_wind_850hpa", "eastward_wind", _ISOBARIC, 850.0, -120.0, 120.0),
        Channel("northward_wind_10m", "northward_wind", _HEIGHT, 10.0, -110.0, 110.0),
        Channel("northward_wind_500hpa", "northward_wind", _ISOBARIC, 500.0, -150.0, 150.0),
        Channel("northward_wind_850hpa", "northward_wind", _ISOBARIC, 850.0, -120.0, 120.0),
        Channel("precipitation_1h", "precipitation", LevelType.SURFACE, 0.0, 0.0, 400.0),
    )
}
"""In the order of the masked-token groups of four that training assumes (height and pressure, humidity and
temperature, temperature and eastward wind, northward wind and rain): the order is part of a model, and the
manifest of each model repeats it."""

PRECIPITATION_CHANNEL: Final = "precipitation_1h"
