"""Precipitation in GRIB edition 1, written here and as it comes from the archives."""

from __future__ import annotations

from pathlib import Path

import eccodes
import numpy as np
import pytest

from service.errors import TruncatedInput, WrongGrid
from service.grib_edition1 import is_edition_1, read, scan
from service.observation import read_observation
from service.specification import CycleSpecification, LambertDefinition, Source, Window
from tests.service.sample_grib import Sample
from tests.service.sample_grib_edition1 import amounts, message


def test_precipitation_is_found_among_others(tmp_path: Path) -> None:
    path = tmp_path / "analysis.grb1"
    temperature = message(amounts() + 280.0, indicatorOfParameter=11, timeRangeIndicator=0)
    path.write_bytes(temperature + message(amounts()) + message(2 * amounts(), P1=1, P2=2))
    assert is_edition_1(path.read_bytes()[:64])
    assert not is_edition_1(Sample(np.ones((7, 9))).message())
    first, second = scan(path)
    assert first.reference_time == np.datetime64("2022-08-09T18", "s")
    assert [(one.lead_start_hours, one.lead_hours) for one in (first, second)] == [(0, 1), (1, 2)]
    np.testing.assert_allclose(read(first), amounts(), atol=0.005)
    np.testing.assert_allclose(read(second), 2 * amounts(), atol=0.005)
    latitude, longitude = first.grid.latitude_longitude()
    assert (latitude[0, 0], latitude[-1, 0], longitude[0, -1]) == (40.0, 37.0, 129.0)


def test_a_cut_off_message(tmp_path: Path) -> None:
    path = tmp_path / "analysis.grb1"
    path.write_bytes(message(amounts())[:-20])
    with pytest.raises(TruncatedInput, match=r"analysis\.grb1"):
        scan(path)


def test_points_column_by_column_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "analysis.grb1"
    path.write_bytes(message(amounts(), jPointsAreConsecutive=1))
    with pytest.raises(WrongGrid, match="row by row"):
        scan(path)


def test_stage_ii_on_its_own_grid(real_data: Path) -> None:
    """A target on the very points of the analysis gives back what eccodes reads."""
    path = real_data / "met_wrf_st2_20050807" / "obs" / "ST2ml2005080712.Grb_G212"
    grid_212 = LambertDefinition(
        nx=185,
        ny=129,
        spacing_m=40635.0,
        standard_parallels_degrees=(25.0, 25.0),
        origin_latitude_degrees=25.0,
        origin_longitude_degrees=-95.0,
        origin_x=103.94028818612114,
        origin_y=20.48005345946489,
        earth_radius_m=6_367_470.0,
    )
    window = Window(y_start=30, x_start=60, ny=60, nx=80)
    found = read_observation(path, specification(grid_212, window))
    assert found.valid_time == np.datetime64("2005-08-07T12", "s")
    with path.open("rb") as file:
        handle = eccodes.codes_grib_new_from_file(file)
        values = eccodes.codes_get_values(handle).reshape(129, 185)
        eccodes.codes_release(handle)
    expected = np.where(values == 9999, np.nan, values)[30:90, 60:140]
    both = ~np.isnan(found.rain_mm) & ~np.isnan(expected)
    assert both.mean() > 0.5
    assert np.abs(found.rain_mm - expected)[both].max() < 0.01
    assert expected[both].max() > 10.0


def test_stage_iv_is_remapped(real_data: Path) -> None:
    target = LambertDefinition(
        nx=60,
        ny=50,
        spacing_m=5000.0,
        standard_parallels_degrees=(30.0, 60.0),
        origin_latitude_degrees=35.0,
        origin_longitude_degrees=-90.0,
        origin_x=30.0,
        origin_y=25.0,
        earth_radius_m=6_371_229.0,
    )
    path = real_data / "qpe_obs" / "ST4.2013052210.01h.grb1"
    found = read_observation(path, specification(target, Window(y_start=0, x_start=0, ny=50, nx=60)))
    assert found.valid_time == np.datetime64("2013-05-22T10", "s")
    assert not np.isnan(found.rain_mm).any()
    assert 0.0 < found.rain_mm.max() < 165.13


def specification(target: LambertDefinition, window: Window) -> CycleSpecification:
    return CycleSpecification(
        source=Source(name="any"),
        channels=("precipitation_1h",),
        leads_hours=(1,),
        target=target,
        window=window,
    )
