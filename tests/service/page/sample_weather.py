"""Simulated cycles, forecast files and observations, in the shape of RDAPS-KIM over Korea alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.cycle_files import write_grib2, write_qpe
from training.simulate import simulate_cycle

HOUR = np.timedelta64(1, "h")
WET, DAMP = np.datetime64("2022-08-10T00", "s"), np.datetime64("2022-08-10T06", "s")
LATER, LAST = np.datetime64("2022-08-10T12", "s"), np.datetime64("2022-08-10T18", "s")
SEED = 20220845
"""Of weather that is wet at ``WET``."""


@dataclass(frozen=True)
class WeatherFiles:
    """Forecast files by lead in hours, each the two files of that lead, and the observed hours."""

    reference_time: np.datetime64
    forecast: dict[int, tuple[Path, ...]]
    observed: dict[int, Path]

    @property
    def name(self) -> str:
        """The reference time as the service writes it."""
        return f"{self.reference_time}Z"

    def files(self, leads_hours: Sequence[int]) -> list[Path]:
        """Those that the hourly rain of these leads needs: the lead before the first one too."""
        wanted = sorted({*leads_hours, *(lead - 1 for lead in leads_hours)})
        return [path for lead in wanted for path in self.forecast[lead]]


def write_weather(folder: Path, reference_time: np.datetime64, leads_hours: tuple[int, ...]) -> WeatherFiles:
    """Simulate and write; the leads follow one another."""
    cycle = simulate_cycle(SEED, reference_time, leads_hours)
    for name in ("forecast", "observed"):
        (folder / name).mkdir(parents=True)
    forecast = write_grib2(cycle, folder / "forecast")
    observed = write_qpe(cycle, folder / "observed")
    return WeatherFiles(
        reference_time,
        {lead: tuple(path for path in forecast if f"h{lead:03d}" in path.name) for lead in leads_hours},
        dict(zip(leads_hours, observed, strict=True)),
    )
