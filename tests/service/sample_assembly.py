"""A whole small cycle: values of every channel, as GRIB2 messages, and the specification of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

from service.channels import CHANNELS, PRECIPITATION_CHANNEL, QUANTITIES, LevelType
from service.specification import CycleSpecification, LambertDefinition, Source, Window
from tests.service.sample_grib import Sample, lambert, smooth

LEADS_HOURS = (25, 26)
SURFACES = {
    LevelType.ISOBARIC: 100,
    LevelType.MEAN_SEA_LEVEL: 101,
    LevelType.HEIGHT_ABOVE_GROUND: 103,
    LevelType.SURFACE: 1,
}
TARGET = LambertDefinition(
    nx=6,
    ny=6,
    spacing_m=4000.0,
    standard_parallels_degrees=(30.0, 60.0),
    origin_latitude_degrees=38.0,
    origin_longitude_degrees=126.0,
    origin_x=3.3,
    origin_y=2.4,
    earth_radius_m=6371229.0,
)
WINDOW = Window(y_start=1, x_start=2, ny=4, nx=3)
SPECIFICATION = CycleSpecification(
    source=Source(name="sample", centres=(40,), spacing_m=(4900.0, 5200.0), winds_relative_to="earth"),
    channels=tuple(CHANNELS),
    leads_hours=LEADS_HOURS,
    target=TARGET,
    window=WINDOW,
)


def specified(**changes: Any) -> CycleSpecification:
    """The sample specification with other values."""
    return SPECIFICATION.model_copy(update=changes)


def truth(name: str, lead_hours: int) -> NDArray[np.float64]:
    """Values (y, x) of a channel on the source grid; of rain, the amount of the hour before the lead."""
    seed = 100 * lead_hours + list(CHANNELS).index(name)
    if name == PRECIPITATION_CHANNEL:
        return np.round(smooth(seed, 0.0, 30.0), 2)
    channel = CHANNELS[name]
    middle, reach = (channel.minimum + channel.maximum) / 2.0, (channel.maximum - channel.minimum) / 4.0
    return smooth(seed, middle - reach, middle + reach)


def instant(name: str, lead_hours: int) -> Sample:
    """A channel other than rain as a message."""
    channel = CHANNELS[name]
    surface = (
        SURFACES[channel.level_type],
        int(channel.level) * (100 if channel.level_type == "isobaric" else 1),
    )
    code = next(iter(QUANTITIES[channel.quantity].grib2))
    return Sample(truth(name, lead_hours), code=code, surface=surface, lead_hours=lead_hours, bits=24)


def accumulated_mm(lead_hours: int) -> NDArray[np.float64]:
    """Rain since the start of the run: 5 mm in the first 24 hours and the hours after them."""
    hours = [truth(PRECIPITATION_CHANNEL, hour) for hour in range(25, lead_hours + 1)]
    return np.full((7, 9), 5.0) + sum(hours, np.zeros((7, 9)))


def rain(lead_hours: int, start_hours: int = 0, share: float = 1.0, number: int = 8) -> Sample:
    """Rain between two leads; number 8 total, 9 large-scale, 10 convective."""
    before = accumulated_mm(start_hours) if start_hours else 0.0
    values = share * (accumulated_mm(lead_hours) - before)
    return Sample(
        values, code=(0, 1, number), surface=(1, 0), lead_hours=lead_hours, start_hours=start_hours, bits=24
    )


def samples(leads_hours: tuple[int, ...] = LEADS_HOURS) -> Iterator[Sample]:
    """All messages of the cycle, rain accumulated since the start."""
    yield rain(leads_hours[0] - 1)
    for lead_hours in leads_hours:
        for name in CHANNELS:
            yield rain(lead_hours) if name == PRECIPITATION_CHANNEL else instant(name, lead_hours)


def without(name: str, lead_hours: int) -> list[Sample]:
    """All messages but that of one channel at one lead."""
    gone = instant(name, lead_hours)
    return [one for one in samples() if _address(one) != _address(gone)]


def changed(name: str, lead_hours: int, **changes: Any) -> list[Sample]:
    """All messages, that of one channel at one lead with other contents."""
    old = instant(name, lead_hours)
    return [replace(one, **changes) if _address(one) == _address(old) else one for one in samples()]


def _address(sample: Sample) -> tuple[object, ...]:
    return sample.code, sample.surface, sample.lead_hours


def at_targets(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bilinear values (y, x) in the target window by PROJ and scipy."""
    projection, x, y = lambert()
    target = pyproj.Proj("+proj=lcc +lat_1=30 +lat_2=60 +lat_0=38 +lon_0=126 +R=6371229")
    columns = (np.arange(TARGET.nx) - TARGET.origin_x) * TARGET.spacing_m
    rows = (np.arange(TARGET.ny) - TARGET.origin_y) * TARGET.spacing_m
    window_x = columns[WINDOW.x_start : WINDOW.x_start + WINDOW.nx]
    window_y = rows[WINDOW.y_start : WINDOW.y_start + WINDOW.ny]
    grid_x, grid_y = np.meshgrid(window_x, window_y)
    longitude, latitude = target(grid_x, grid_y, inverse=True)
    source_x, source_y = projection(longitude, latitude)
    return np.asarray(RegularGridInterpolator((y, x), values)((source_y, source_x)))
