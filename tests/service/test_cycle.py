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
from scipy.interpolate import RegularGridInterpolator

from service import files
from service.channels import CHANNELS, PRECIPITATION_CHANNEL
from service.cycle import CycleInput, assemble, contributing, read_cycle
from service.errors import (
    EmptyInput,
    MissingValues,
    OutsideGrid,
    PhysicalLimit,
    RainpostError,
    TruncatedInput,
    UnrecognisedInput,
    WrongGrid,
)
from service.fields import FieldHeader, Values
from service.grids import grid_from_definition
from service.remapping import remap_weights
from service.specification import CycleSpecification, LambertDefinition, Source, Window
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
from tests.service.sample_grib import EARTH_RADIUS_M, REFERENCE_TIME, lambert, smooth, write
from tests.service.sample_netcdf import Form, Variable, write_netcdf

import eccodes  # isort: skip


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

    def spoiled(header: FieldHeader) -> Values:
        values = files.read(header)
        window = values[weights.source_rows, weights.source_columns]
        window[~used] = np.where(
            np.arange((~used).sum()) % 2, np.nan, np.inf if header.lead_hours > 25 else 9999.0
        )
        return values

    np.testing.assert_array_equal(
        assemble(headers, spoiled, specification).values, read_cycle([cycle_file], specification).values
    )


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


def test_targets_outside_the_source_are_an_error(cycle_file: Path) -> None:
    far = TARGET.model_copy(update={"origin_x": -20.0})
    with pytest.raises(OutsideGrid):
        read_cycle([cycle_file], specified(target=far))


def test_every_field_is_read_once_and_only_where_needed(cycle_file: Path) -> None:
    headers, read = files.scan(cycle_file), Counter[str]()

    def counted(header: FieldHeader) -> Values:
        read[header.label] += 1
        return files.read(header)

    one_lead = specified(leads_hours=(25,), channels=("temperature_2m", PRECIPITATION_CHANNEL))
    cycle = assemble([*headers, *headers], counted, one_lead)
    assert sorted(read.values()) == [1, 1, 1]
    assert_true(cycle, (25,))


def test_values_of_another_shape_than_the_grid_are_an_error(cycle_file: Path) -> None:
    with pytest.raises(WrongGrid, match="fill its grid"):
        assemble(files.scan(cycle_file), lambda _: np.zeros((3, 3), np.float32), SPECIFICATION)


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


CENTRAL_UNITED_STATES = CycleSpecification(
    source=Source(name="Eta", centres=(7,)),
    channels=tuple(CHANNELS),
    leads_hours=(24,),
    precipitation_hours=12,
    target=LambertDefinition(
        nx=60,
        ny=50,
        spacing_m=20_000.0,
        standard_parallels_degrees=(30.0, 50.0),
        origin_latitude_degrees=39.0,
        origin_longitude_degrees=-97.0,
        origin_x=29.5,
        origin_y=24.5,
        earth_radius_m=6_371_000.0,
    ),
    window=Window(y_start=2, x_start=3, ny=45, nx=50),
)


OFF_NORTH_CAROLINA = LambertDefinition(
    nx=60,
    ny=50,
    spacing_m=5_000.0,
    standard_parallels_degrees=(30.0, 50.0),
    origin_latitude_degrees=36.0,
    origin_longitude_degrees=-70.5,
    origin_x=29.5,
    origin_y=24.5,
    earth_radius_m=6_371_000.0,
)


def test_the_eta_file_gives_all_channels(real_data: Path) -> None:
    """Against eccodes' own keys and positions, a rotation and an interpolation written here."""
    path = real_data / "grib2_lambert" / "eta_2004120812_f024_awip211.grib2"
    cycle = read_cycle([path], CENTRAL_UNITED_STATES)
    assert cycle.reference_time == np.datetime64("2004-12-08T12:00:00")
    theirs = _eta_by_eccodes(path)
    for index, name in enumerate(cycle.channels):
        np.testing.assert_allclose(cycle.values[0, index], theirs[name], rtol=1e-5, atol=2e-3, err_msg=name)


def _eta_by_eccodes(path: Path) -> dict[str, NDArray[np.float64]]:
    keys = {
        "geopotential_height": "gh", "relative_humidity": "r", "temperature": "t", "eastward_wind": "u",
        "northward_wind": "v",
    }  # fmt: skip
    wanted = {
        (keys[CHANNELS[name].quantity], "isobaricInhPa", int(CHANNELS[name].level)): name
        for name in CHANNELS
        if name.endswith("hpa")
    }
    wanted |= {
        ("2t", "heightAboveGround", 2): "temperature_2m",
        ("10u", "heightAboveGround", 10): "eastward_wind_10m",
        ("10v", "heightAboveGround", 10): "northward_wind_10m",
        ("prmsl", "meanSea", 0): "mean_sea_level_pressure",
        ("tp", "surface", 0): PRECIPITATION_CHANNEL,
    }
    found: dict[str, NDArray[np.float64]] = {}
    eccodes.codes_grib_multi_support_on()
    try:
        with path.open("rb") as file:
            while (handle := eccodes.codes_grib_new_from_file(file)) is not None:
                address = tuple(
                    eccodes.codes_get(handle, key) for key in ("shortName", "typeOfLevel", "level")
                )
                if address in wanted:
                    found[wanted[address]] = eccodes.codes_get_values(handle).reshape(65, 93)
                eccodes.codes_release(handle)
    finally:
        eccodes.codes_grib_multi_support_off()
    return {name: _at_central_targets(values) for name, values in _turned(found).items()}


def _eta_projection() -> tuple[pyproj.Proj, NDArray[np.float64], NDArray[np.float64]]:
    projection = pyproj.Proj("+proj=lcc +lat_1=25 +lat_2=25 +lat_0=25 +lon_0=265 +R=6371229")
    x_first, y_first = projection(226.541, 12.19)
    return projection, x_first + 81271.0 * np.arange(93.0), y_first + 81271.0 * np.arange(65.0)


def _turned(fields: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Winds along the grid to winds along parallels: the cone of one parallel turns by sin(25) per degree."""
    projection, x, y = _eta_projection()
    longitude, _ = projection(*np.meshgrid(x, y), inverse=True)
    angle = np.sin(np.radians(25.0)) * np.radians((longitude - 265.0 + 180.0) % 360.0 - 180.0)
    turned = dict(fields)
    for level in ("10m", "500hpa", "850hpa"):
        u, v = fields[f"eastward_wind_{level}"], fields[f"northward_wind_{level}"]
        turned[f"eastward_wind_{level}"] = u * np.cos(angle) + v * np.sin(angle)
        turned[f"northward_wind_{level}"] = v * np.cos(angle) - u * np.sin(angle)
    return turned


def _at_central_targets(values: NDArray[np.float64]) -> NDArray[np.float64]:
    projection, x, y = _eta_projection()
    target = pyproj.Proj("+proj=lcc +lat_1=30 +lat_2=50 +lat_0=39 +lon_0=-97 +R=6371000")
    columns, rows = (np.arange(3.0, 53.0) - 29.5) * 20_000.0, (np.arange(2.0, 47.0) - 24.5) * 20_000.0
    longitude, latitude = target(*np.meshgrid(columns, rows), inverse=True)
    source_x, source_y = projection(longitude, latitude)
    return np.asarray(RegularGridInterpolator((y, x), values)((source_y, source_x)))


def test_of_two_accumulations_the_hour_is_taken(real_data: Path) -> None:
    path = real_data / "grib2_lambert" / "hrrr_2020121400_f012_apcp.grib2"
    specification = CENTRAL_UNITED_STATES.model_copy(
        update={
            "channels": (PRECIPITATION_CHANNEL,),
            "leads_hours": (12,),
            "precipitation_hours": 1,
            "target": OFF_NORTH_CAROLINA,
        }
    )
    cycle = read_cycle([path], specification)
    assert cycle.sources[12, PRECIPITATION_CHANNEL][0].endswith("[message 2 field 1 byte 887244]")
    assert cycle.values.max() > 10.0
    whole = read_cycle([path], specification.model_copy(update={"precipitation_hours": 12}))
    assert whole.sources[12, PRECIPITATION_CHANNEL][0].endswith("[message 1 field 1 byte 0]")
    assert (whole.values >= cycle.values - 0.02).all()
    assert whole.values.mean() > 2 * cycle.values.mean()


def test_one_field_of_a_large_real_file_reads(real_data: Path) -> None:
    (header,) = files.scan(real_data / "grib2_lambert" / "hrrr_2023072206_f001_u10.grib2")
    values = files.read(header)
    assert (header.quantity, header.level, header.lead_hours) == ("eastward_wind", 10.0, 1.0)
    with header.path.open("rb") as file:
        handle = eccodes.codes_grib_new_from_file(file)
        theirs = eccodes.codes_get_values(handle).reshape(1059, 1799)
        eccodes.codes_release(handle)
    np.testing.assert_array_equal(values, theirs.astype(np.float32))


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
