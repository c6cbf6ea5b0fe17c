"""Values that no atmosphere has, and rain that packing makes slightly negative."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.cycle import read_cycle
from service.errors import PhysicalLimit
from tests.service.sample_assembly import LEADS_HOURS, SPECIFICATION, changed, rain, samples, truth
from tests.service.sample_grib import smooth, write


def test_what_packing_takes_from_no_rain_is_no_rain(tmp_path: Path) -> None:
    dry = [replace(one, values=np.full((7, 9), 5.0)) if one.code == (0, 1, 8) else one for one in samples()]
    slightly = [
        replace(one, values=one.values - 0.04 * smooth(1, 0, 1))
        if one.code == (0, 1, 8) and one.lead_hours == 26
        else one
        for one in dry
    ]
    values = read_cycle([write(tmp_path / "cycle.grib2", *slightly)], SPECIFICATION).values[:, -1]
    np.testing.assert_array_equal(values, np.zeros_like(values))


def test_an_amount_slightly_below_nothing_is_nothing(tmp_path: Path) -> None:
    others = [one for one in samples() if one.code != (0, 1, 8)]
    direct = [replace(rain(lead, lead - 1), values=-0.04 * smooth(1, 0.0, 1.0)) for lead in LEADS_HOURS]
    values = read_cycle([write(tmp_path / "cycle.grib2", *others, *direct)], SPECIFICATION).values[:, -1]
    np.testing.assert_array_equal(values, np.zeros_like(values))
    direct[1] = replace(direct[1], values=-1.0 * smooth(1, 0.0, 1.0))
    with pytest.raises(PhysicalLimit, match="precipitation beyond physical limits"):
        read_cycle([write(tmp_path / "cycle.grib2", *others, *direct)], SPECIFICATION)


def test_accumulations_that_fall_are_an_error(tmp_path: Path) -> None:
    reset = [
        replace(one, values=smooth(1, 0.0, 1.0)) if one.code == (0, 1, 8) and one.lead_hours == 26 else one
        for one in samples()
    ]
    with pytest.raises(PhysicalLimit, match="decreases") as caught:
        read_cycle([write(tmp_path / "cycle.grib2", *reset)], SPECIFICATION)
    assert "lead 26 h" in caught.value.where
    assert "cells" in caught.value.where
    assert "- cycle.grib2 [" in caught.value.where


def test_a_coarsely_packed_accumulation_may_fall_by_its_packing_step(tmp_path: Path) -> None:
    coarse = [
        replace(
            one,
            values=np.round(one.values * 0 + (5.0 if one.lead_hours < 26 else 4.0)),
            bits=0,
            keys={"decimalScaleFactor": 0},
        )
        if one.code == (0, 1, 8)
        else one
        for one in samples()
    ]
    assert read_cycle([write(tmp_path / "cycle.grib2", *coarse)], SPECIFICATION).values[:, -1].max() == 0.0


@pytest.mark.parametrize("sentinel", [9999.0, -9999.0, 9.999e20])
@pytest.mark.parametrize("name", ["temperature_2m", "geopotential_height_100hpa", "relative_humidity_850hpa"])
def test_sentinels_are_caught_by_name(tmp_path: Path, name: str, sentinel: float) -> None:
    values = truth(name, 26)
    values[3, 4] = sentinel
    written = changed(name, 26, values=values, packing="grid_ieee")
    with pytest.raises(PhysicalLimit, match="sentinel for missing values") as caught:
        read_cycle([write(tmp_path / "cycle.grib2", *written)], SPECIFICATION)
    assert f"{sentinel:g}" in caught.value.got
    assert "lead 26 h, first at row 3, column 4" in caught.value.where


def test_wrapped_integers_are_caught_by_name(tmp_path: Path) -> None:
    values = truth("temperature_2m", 26)
    values[3, 4:6] -= 655.36
    with pytest.raises(PhysicalLimit, match=r"multiples of 655\.36.*wrapped around"):
        read_cycle(
            [write(tmp_path / "cycle.grib2", *changed("temperature_2m", 26, values=values))], SPECIFICATION
        )


def test_accumulations_that_wrapped_are_caught_by_name(tmp_path: Path) -> None:
    _, rows = np.meshgrid(np.arange(9.0), np.arange(7.0))
    heavy = 280.0 + 16.0 * rows
    wrapped = [
        replace(
            one, values=np.where(heavy > 327.67, heavy - 655.36, heavy) if one.lead_hours == 26 else heavy
        )
        if one.code == (0, 1, 8)
        else one
        for one in samples()
    ]
    with pytest.raises(PhysicalLimit, match=r"precipitation beyond.*multiples of 655\.36"):
        read_cycle([write(tmp_path / "cycle.grib2", *wrapped)], SPECIFICATION)


def test_other_impossible_values_are_reported_with_the_limits(tmp_path: Path) -> None:
    values = truth("relative_humidity_500hpa", 25)
    values[3, 4] = 170.0
    path = write(tmp_path / "cycle.grib2", *changed("relative_humidity_500hpa", 25, values=values))
    with pytest.raises(PhysicalLimit) as caught:
        read_cycle([path], SPECIFICATION)
    assert caught.value.expected == "-1 to 150 % at 500 hPa"
    assert "the first 170 %" in caught.value.got
    assert "sentinel" not in caught.value.got


def test_too_much_rain_is_an_error(tmp_path: Path) -> None:
    flood = [
        replace(one, values=one.values + 500.0) if one.code == (0, 1, 8) and one.lead_hours == 26 else one
        for one in samples()
    ]
    with pytest.raises(PhysicalLimit, match="More precipitation in 1 h"):
        read_cycle([write(tmp_path / "cycle.grib2", *flood)], SPECIFICATION)
