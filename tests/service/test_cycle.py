"""The shared path from files to the network's input."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pyproj
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service import files
from service.channels import CHANNELS, PRECIPITATION_CHANNEL
from service.cycle import CycleInput, assemble, contributing, read_cycle
from service.errors import (
    EmptyInput,
    MissingValues,
    OutsideGrid,
    RainpostError,
    TruncatedInput,
    UnrecognisedInput,
    WrongGrid,
)
from service.fields import FieldHeader, Region, Values
from service.grids import grid_from_definition
from service.remapping import remap_weights
from service.specification import Window
from tests.service.sample_assembly import (
    LEADS_HOURS,
    SPECIFICATION,
    TARGET,
    WINDOW,
    accumulated_mm,
    at_targets,
    changed,
    rain,
    samples,
    specified,
    truth,
)
from tests.service.sample_grib import EARTH_RADIUS_M, REFERENCE_TIME, lambert, write
from tests.service.sample_netcdf import Form, Variable, write_netcdf


@pytest.fixture(scope="module")
def cycle_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample cycle as one GRIB2 file."""
    return write(tmp_path_factory.mktemp("cycle") / "cycle.grib2", *samples())


def expected(name: str, lead_hours: int) -> NDArray[np.float64]:
    """What the network is to see of a channel."""
    return at_targets(truth(name, lead_hours))


def assert_true(
    cycle: CycleInput, leads_hours: tuple[int, ...] = LEADS_HOURS, tolerance: float = 2e-3
) -> None:
    """Every channel at every lead against the truth."""
    assert cycle.values.dtype == np.float32
    assert cycle.values.shape == (len(leads_hours), len(cycle.channels), WINDOW.ny, WINDOW.nx)
    for index, lead_hours in enumerate(leads_hours):
        for channel, name in enumerate(cycle.channels):
            np.testing.assert_allclose(
                cycle.values[index, channel],
                expected(name, lead_hours),
                rtol=2e-5,
                atol=tolerance,
                err_msg=name,
            )


def test_a_cycle_of_grib_files(cycle_file: Path) -> None:
    cycle = read_cycle([cycle_file], SPECIFICATION)
    assert (cycle.reference_time, cycle.leads_hours) == (REFERENCE_TIME, LEADS_HOURS)
    assert cycle.channels == tuple(CHANNELS)
    assert_true(cycle)


def test_channels_come_in_the_order_of_the_specification(cycle_file: Path) -> None:
    channels = (PRECIPITATION_CHANNEL, "temperature_2m", "geopotential_height_100hpa")
    cycle = read_cycle([cycle_file], specified(channels=channels, leads_hours=(26,)))
    assert cycle.channels == channels
    assert_true(cycle, (26,))


def test_neither_the_order_of_messages_nor_of_files_matters(tmp_path: Path, cycle_file: Path) -> None:
    reference = read_cycle([cycle_file], SPECIFICATION).values
    messages = list(samples())
    for seed in range(3):
        Random(seed).shuffle(messages)
        paths = [write(tmp_path / f"{part}.grib2", *messages[part::3]) for part in range(3)]
        np.testing.assert_array_equal(read_cycle(paths, SPECIFICATION).values, reference)


def test_sources_name_the_fields_that_were_used(cycle_file: Path) -> None:
    sources = read_cycle([cycle_file], SPECIFICATION).sources
    assert len(sources) == len(LEADS_HOURS) * len(CHANNELS)
    assert [text.split(" [")[0] for text in sources[25, PRECIPITATION_CHANNEL]] == [
        "+ cycle.grib2", "- cycle.grib2",
    ]  # fmt: skip
    (source,) = sources[25, "geopotential_height_100hpa"]
    assert source.startswith("+ cycle.grib2 [message 2 field 1 byte ")


def netcdf_variables(lead_hours: int) -> tuple[dict[str, Variable], dict[str, Variable]]:
    """Isobaric and single-level variables as KMA names them."""
    levels = (850, 500, 100)
    names = {
        "geopotential_height": ("GPH", "m"),
        "relative_humidity": ("RH", "%"),
        "temperature": ("T", "K"),
        "eastward_wind": ("U", "m s-1"),
        "northward_wind": ("V", "m s-1"),
    }
    isobaric = {}
    for quantity, (name, unit) in names.items():
        stack = [
            truth(f"{quantity}_{level}hpa", lead_hours)
            if f"{quantity}_{level}hpa" in CHANNELS
            else np.full((7, 9), np.nan)
            for level in levels
        ]
        isobaric[name] = Variable(np.array(stack)[None], unit, ("time", "level", "y", "x"))
    single = {
        "MSLP": Variable(truth("mean_sea_level_pressure", lead_hours)[None] / 100.0, "hPa"),
        "T2": Variable(truth("temperature_2m", lead_hours)[None] - 273.15, "degC"),
        "U10": Variable(truth("eastward_wind_10m", lead_hours)[None], "m s-1"),
        "V10": Variable(truth("northward_wind_10m", lead_hours)[None], "m s-1"),
        "RAINC": Variable(0.3 * accumulated_mm(lead_hours)[None], "mm"),
        "RAINNC": Variable(0.7 * accumulated_mm(lead_hours)[None], "mm"),
    }
    return isobaric, single


@pytest.mark.parametrize("positions", ["curvilinear", "lambert"])
def test_a_cycle_of_netcdf_files_equals_that_of_grib_files(tmp_path: Path, positions: str) -> None:
    paths = []
    for lead_hours in (24, *LEADS_HOURS):
        isobaric, single = netcdf_variables(lead_hours)
        form = Form((float(lead_hours),), positions=positions, levels=("level", "hPa", (850.0, 500.0, 100.0)))
        # The name tells nothing: these files carry none of the usual endings.
        paths.append(write_netcdf(tmp_path / f"prs{lead_hours}", isobaric, form))
        paths.append(write_netcdf(tmp_path / f"etc{lead_hours}", single, replace(form, levels=None)))
    assert_true(read_cycle(paths, SPECIFICATION), tolerance=0.01)


def test_accumulations_of_several_forms_give_the_same_rain(tmp_path: Path, cycle_file: Path) -> None:
    others = [one for one in samples() if one.code[1] != 1 or one.code[2] == 1]
    # Direct beside a longer one, in both orders; in parts; from a common start other than the run's.
    direct = [rain(25, 24), rain(25), rain(26), rain(26, 25)]
    parts = [rain(lead, 0, share, number) for lead in (24, 25, 26) for share, number in ((0.3, 10), (0.7, 9))]
    direct_parts = [
        rain(lead, lead - 1, share, number) for lead in (25, 26) for share, number in ((0.3, 10), (0.7, 9))
    ]
    buckets = [rain(24, 18), rain(25, 24), rain(25, 18), rain(26, 18)]
    reference = read_cycle([cycle_file], SPECIFICATION).values
    for form in (direct, direct[::-1], parts, direct_parts, buckets):
        cycle = read_cycle([write(tmp_path / "cycle.grib2", *others, *form)], SPECIFICATION)
        np.testing.assert_allclose(cycle.values, reference, rtol=0, atol=1e-4)


def test_a_longer_period_of_rain(tmp_path: Path) -> None:
    others = [one for one in samples() if one.code[1] != 1 or one.code[2] == 1]
    path = write(tmp_path / "cycle.grib2", *others, rain(24), rain(26), rain(25))
    cycle = read_cycle([path], specified(precipitation_hours=2, leads_hours=(26,)))
    two_hours = truth(PRECIPITATION_CHANNEL, 25) + truth(PRECIPITATION_CHANNEL, 26)
    np.testing.assert_allclose(cycle.values[0, -1], at_targets(two_hours), atol=1e-3)


def y_axis_azimuth() -> NDArray[np.float64]:
    """Radians (y, x) from true north to the source grid's y axis, by the great circle along it."""
    projection, x, y = lambert()
    grid_x, grid_y = np.meshgrid(x, y)
    start = projection(grid_x, grid_y, inverse=True)
    end = projection(grid_x, grid_y + 10.0, inverse=True)
    return np.asarray(np.radians(pyproj.Geod(a=EARTH_RADIUS_M, f=0.0).inv(*start, *end)[0]))


def test_winds_along_the_grid_are_turned_to_the_earth(tmp_path: Path) -> None:
    along_grid = [replace(one, grid_relative=True) if one.code[1] == 2 else one for one in samples()]
    cycle = read_cycle([write(tmp_path / "cycle.grib2", *along_grid)], SPECIFICATION)
    azimuth = y_axis_azimuth()
    # Grid north points to the west of north in the west of the projection's meridian on a northern cone.
    assert azimuth[0, 0] < -1e-3 < 1e-3 < azimuth[0, -1]
    for index, lead_hours in enumerate(LEADS_HOURS):
        for level in ("10m", "500hpa", "850hpa"):
            along_x, along_y = (truth(f"{axis}ward_wind_{level}", lead_hours) for axis in ("east", "north"))
            east = along_y * np.sin(azimuth) + along_x * np.cos(azimuth)
            north = along_y * np.cos(azimuth) - along_x * np.sin(azimuth)
            for name, values in ((f"eastward_wind_{level}", east), (f"northward_wind_{level}", north)):
                channel = cycle.channels.index(name)
                np.testing.assert_allclose(cycle.values[index, channel], at_targets(values), atol=3e-3)


def test_holes_matter_only_where_the_target_uses_them(tmp_path: Path, cycle_file: Path) -> None:
    values = truth("temperature_500hpa", 25)
    values[:, 0] = values[0] = np.nan
    path = write(tmp_path / "cycle.grib2", *changed("temperature_500hpa", 25, values=values))
    np.testing.assert_allclose(
        read_cycle([path], SPECIFICATION).values, read_cycle([cycle_file], SPECIFICATION).values, atol=1e-4
    )
    values[3, 4] = np.nan
    path = write(tmp_path / "cycle.grib2", *changed("temperature_500hpa", 25, values=values))
    with pytest.raises(MissingValues) as caught:
        read_cycle([path], SPECIFICATION)
    assert "temperature at 500 hPa, lead 25 h, first at row 3, column 4 (38.0" in caught.value.where
    assert caught.value.got.startswith("1 of ")


def test_no_value_of_an_unused_point_has_any_effect(tmp_path: Path, cycle_file: Path) -> None:
    """Targets 17 km apart leave source points between them out, inside the window that is read."""
    sparse = TARGET.model_copy(
        update={"nx": 2, "ny": 2, "spacing_m": 17_000.0, "origin_x": 1.0, "origin_y": 0.7}
    )
    specification = specified(target=sparse, window=Window(y_start=0, x_start=0, ny=2, nx=2))
    headers = files.scan(cycle_file)
    weights = remap_weights(headers[0].grid, grid_from_definition(sparse))
    used = contributing(weights)
    assert 0 < used.sum() < used.size

    def spoiled(header: FieldHeader, region: Region) -> Values:
        values = files.read(header, region)
        values[~used] = np.where(
            np.arange((~used).sum()) % 2, np.nan, np.inf if header.lead_hours > 25 else 9999.0
        )
        return values

    np.testing.assert_array_equal(
        assemble(headers, spoiled, specification).values, read_cycle([cycle_file], specification).values
    )


def test_targets_outside_the_source_are_an_error(cycle_file: Path) -> None:
    far = TARGET.model_copy(update={"origin_x": -20.0})
    with pytest.raises(OutsideGrid):
        read_cycle([cycle_file], specified(target=far))


def test_every_field_is_read_once_and_only_where_needed(cycle_file: Path) -> None:
    headers, read = files.scan(cycle_file), Counter[str]()

    def counted(header: FieldHeader, region: Region) -> Values:
        read[header.label] += 1
        return files.read(header, region)

    one_lead = specified(leads_hours=(25,), channels=("temperature_2m", PRECIPITATION_CHANNEL))
    cycle = assemble([*headers, *headers], counted, one_lead)
    assert sorted(read.values()) == [1, 1, 1]
    assert_true(cycle, (25,))


def test_values_of_another_shape_than_the_grid_are_an_error(cycle_file: Path) -> None:
    with pytest.raises(WrongGrid, match="fill its grid"):
        assemble(files.scan(cycle_file), lambda *_: np.zeros((3, 3), np.float32), SPECIFICATION)


def test_remap_weights_are_kept_in_the_folder(tmp_path: Path, cycle_file: Path) -> None:
    first = read_cycle([cycle_file], SPECIFICATION, weights_folder=tmp_path / "weights")
    assert len(list((tmp_path / "weights").iterdir())) == 1
    np.testing.assert_array_equal(
        read_cycle([cycle_file], SPECIFICATION, weights_folder=tmp_path / "weights").values, first.values
    )


def test_nothing_is_written_beside_the_data(tmp_path: Path, cycle_file: Path) -> None:
    path = tmp_path / "cycle.grib2"
    path.write_bytes(cycle_file.read_bytes())
    read_cycle([path], SPECIFICATION)
    assert [entry.name for entry in tmp_path.iterdir()] == ["cycle.grib2"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", EmptyInput),
        (b"<html>503 Service Unavailable</html>", UnrecognisedInput),
        (b"PK\x03\x04 an archive", UnrecognisedInput),
        (b"CDF\x01\x00\x00", TruncatedInput),
        (b"\x89HDF\r\n\x1a\n", TruncatedInput),
        (b"GRIB\x00\x00\x00\x02\x00", TruncatedInput),
    ],
)
def test_what_is_no_forecast_file(tmp_path: Path, content: bytes, error: type[RainpostError]) -> None:
    path = tmp_path / "sent.grib2"
    path.write_bytes(content)
    with pytest.raises(error, match=r"sent\.grib2"):
        read_cycle([path], SPECIFICATION)


def test_no_files_are_no_cycle() -> None:
    with pytest.raises(EmptyInput):
        read_cycle([], SPECIFICATION)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.0, 0.999))
def test_a_cut_cycle_is_always_an_error(tmp_path: Path, cycle_file: Path, share: float) -> None:
    content = cycle_file.read_bytes()
    path = tmp_path / "cut.grib2"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RainpostError):
        read_cycle([path], SPECIFICATION)


def test_a_sample_of_one_lead_equals_that_lead_of_a_whole_cycle(cycle_file: Path) -> None:
    whole = read_cycle([cycle_file], SPECIFICATION).values
    for index, lead_hours in enumerate(LEADS_HOURS):
        one = read_cycle([cycle_file], specified(leads_hours=(lead_hours,))).values
        np.testing.assert_array_equal(one[0], whole[index])


def test_a_constant_sample(tmp_path: Path) -> None:
    constant = [
        replace(one, values=np.full((7, 9), 30.0)) if one.code == (0, 1, 1) else one for one in samples()
    ]
    cycle = read_cycle([write(tmp_path / "cycle.grib2", *constant)], SPECIFICATION)
    assert (cycle.values[:, cycle.channels.index("relative_humidity_500hpa")] == 30.0).all()
