"""What inspection shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.channels import CHANNELS, PRECIPITATION_CHANNEL
from service.inspection import inspect, render
from tests.service.sample_assembly import SPECIFICATION, changed, samples, specified, truth, without
from tests.service.sample_grib import REFERENCE_TIME, Sample, smooth, write


def test_every_field_of_a_whole_cycle_is_shown(tmp_path: Path) -> None:
    other = Sample(smooth(), code=(0, 1, 22), lead_hours=25)
    path = write(tmp_path / "cycle.grib2", other, other, *samples())
    inspection = inspect([path], SPECIFICATION)
    assert inspection.reference_times == ("2022-08-09T18:00:00 UTC",)
    assert inspection.others == {"0-1-22": 2}
    assert inspection.findings == ()
    assert len(inspection.rows) == 33
    row = inspection.rows[1]
    assert (row.channel, row.level, row.unit, row.time_range, row.holes) == (
        "geopotential_height_100hpa", "100 hPa", "m", "25 h", 0,
    )  # fmt: skip
    values = truth("geopotential_height_100hpa", 25)
    assert (row.minimum, row.mean, row.maximum) == pytest.approx(
        (values.min(), values.mean(), values.max()), abs=1e-2
    )
    assert "Lambert conformal 9 x 7" in row.grid
    rain_rows = [row for row in inspection.rows if row.quantity == "precipitation"]
    assert [(row.channel, row.time_range) for row in rain_rows] == [
        (PRECIPITATION_CHANNEL, f"0-{lead} h") for lead in (24, 25, 26)
    ]
    text = render([path], SPECIFICATION)
    for expected in (
        *CHANNELS,
        "0-1-22 (2)",
        "grid 1: Lambert",
        "Nothing is missing for 16 channels",
        "0-24 h",
    ):
        assert expected in text
    assert "!" not in text


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "cycle.grib2", *without("temperature_500hpa", 25))
    specification = specified(leads_hours=(25, 26, 27))
    assert inspect([path], specification).findings == (
        "lead 27 h: no field",
        "lead 25 h: no temperature_500hpa; there is temperature at 2 m, 850 hPa",
    )
    assert "! lead 27 h: no field" in render([path], specification)


def test_what_stands_before_missing_channels_is_named_as_well(tmp_path: Path) -> None:
    late = REFERENCE_TIME + np.timedelta64(6, "h")
    path = write(tmp_path / "cycle.grib2", *changed("temperature_2m", 25, reference_time=late))
    findings = inspect([path], SPECIFICATION).findings
    assert len(findings) == 1
    assert "more than one cycle" in findings[0]
    assert "2022-08-10T00:00:00 UTC" in render([path])


def test_without_a_model_channels_go_by_level(tmp_path: Path) -> None:
    holes = smooth()
    holes[0, 0] = np.nan
    path = write(tmp_path / "one.grib2", Sample(holes, surface=(103, 2)), Sample(smooth(), surface=(103, 80)))
    inspection = inspect([path])
    assert [(row.channel, row.level, row.holes) for row in inspection.rows] == [
        ("temperature_2m", "2 m", 1), ("", "80 m", 0),
    ]  # fmt: skip
    assert inspection.findings == ()
    assert "Nothing is missing" not in render([path])
