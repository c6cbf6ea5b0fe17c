"""NetCDF files: units, levels, times, grids, packing, damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service import files, netcdf
from service.channels import STANDARD_GRAVITY, LevelType
from service.errors import (
    InputError,
    MixedCycles,
    RainpostError,
    TruncatedInput,
    UnrecognisedInput,
    WrongGrid,
)
from service.fields import FieldHeader, Values
from service.grids import CurvilinearGrid, LambertGrid, LatitudeLongitudeGrid
from tests.service.sample_grib import REFERENCE_TIME, lambert, smooth
from tests.service.sample_netcdf import FileFormat, Form, Variable, write_netcdf

CLASSIC: tuple[FileFormat, ...] = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA")
FORMATS: tuple[FileFormat, ...] = ("NETCDF4", "NETCDF4_CLASSIC", *CLASSIC)


def read(header: FieldHeader) -> Values:
    """With a reader of its own."""
    with netcdf.Reader() as reader:
        return reader.read(header)


def only(path: Path) -> FieldHeader:
    """The header of a file of one field."""
    (header,) = netcdf.scan(path)
    return header


def two_metres(values: NDArray[np.float64], unit: str | None = "K", **options: Any) -> dict[str, Variable]:
    """A file's worth of T2."""
    return {"T2": Variable(values[None], unit, **options)}


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("unlimited", [False, True])
def test_every_format_gives_the_field_that_was_written(
    tmp_path: Path, file_format: FileFormat, *, unlimited: bool
) -> None:
    form = Form(file_format=file_format, unlimited=unlimited)
    header = only(write_netcdf(tmp_path / "t2", two_metres(smooth()), form))
    assert (header.quantity, header.level_type, header.level) == (
        "temperature", LevelType.HEIGHT_ABOVE_GROUND, 2.0,
    )  # fmt: skip
    assert (header.reference_time, header.lead_start_hours, header.lead_hours) == (REFERENCE_TIME, 25.0, 25.0)
    assert (header.centre, header.grid_relative_winds, header.packing_step) == (None, None, 0.0)
    np.testing.assert_array_equal(read(header), smooth().astype(np.float32))
    assert read(header).dtype == np.float32
    np.testing.assert_array_equal(files.read(files.scan(header.path)[0]), read(header))


def test_packed_values_and_fill_values(tmp_path: Path) -> None:
    values = smooth()
    values[3, 4] = np.nan
    header = only(write_netcdf(tmp_path / "t2.nc", two_metres(values, packed=True)))
    assert header.packing_step == pytest.approx(30.0 / 65000.0)
    np.testing.assert_allclose(read(header), values, rtol=0, atol=0.51 * header.packing_step + 2e-5)


def test_values_outside_the_valid_range_are_missing(tmp_path: Path) -> None:
    attributes = {"valid_min": np.float32(265.0)}
    path = write_netcdf(tmp_path / "t2.nc", two_metres(smooth(), attributes=attributes))
    np.testing.assert_array_equal(np.isnan(read(only(path))), smooth() < 265.0)


@pytest.mark.parametrize(
    ("name", "unit", "to_unit"),
    [
        ("GPH", "m", lambda value: value),
        ("GPH", "gpm", lambda value: value),
        ("z", "m2 s-2", lambda value: value / STANDARD_GRAVITY),
        ("HGT", "dam", lambda value: value * 10.0),
        ("MSLP", "Pa", lambda value: value),
        ("MSLP", "hPa", lambda value: value * 100.0),
        ("T", "K", lambda value: value),
        ("T2", "degC", lambda value: value + 273.15),
        ("U10", "m/s", lambda value: value),
        ("V10", "knot", lambda value: value * 1852.0 / 3600.0),
        ("RH", "%", lambda value: value),
        ("RH", "1", lambda value: value * 100.0),
        ("RAIN", "mm", lambda value: value),
        ("RAINC", "kg m-2", lambda value: value),
        ("tp", "m", lambda value: value * 1000.0),
    ],
)
def test_units(
    tmp_path: Path, name: str, unit: str, to_unit: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> None:
    header = only(write_netcdf(tmp_path / "field.nc", {name: Variable(smooth()[None], unit)}))
    np.testing.assert_allclose(read(header), to_unit(smooth()), rtol=2e-7)


@pytest.mark.parametrize("unit", ["furlong", "", None])
def test_an_unknown_unit_is_named_and_never_guessed(tmp_path: Path, unit: str | None) -> None:
    path = write_netcdf(tmp_path / "field.nc", two_metres(smooth(), unit))
    with pytest.raises(UnrecognisedInput, match=r"T2.*units") as caught:
        netcdf.scan(path)
    assert caught.value.got == repr(unit)


@pytest.mark.parametrize(
    ("name", "unit", "levels", "expected"),
    [
        ("level", "hPa", (850.0, 500.0), (LevelType.ISOBARIC, [850.0, 500.0])),
        ("plev", "Pa", (85000.0, 50000.0), (LevelType.ISOBARIC, [850.0, 500.0])),
        ("isobaricInhPa", "", (850.0, 500.0), (LevelType.ISOBARIC, [850.0, 500.0])),
        ("lev", "millibar", (850.0, 500.0), (LevelType.ISOBARIC, [850.0, 500.0])),
        ("height", "m", (2.0, 80.0), (LevelType.HEIGHT_ABOVE_GROUND, [2.0, 80.0])),
        ("eta", "1", (0.99, 0.5), (None, pytest.approx([0.99, 0.5]))),
    ],
)
def test_levels_of_any_name(
    tmp_path: Path, name: str, unit: str, levels: tuple[float, ...], expected: tuple[LevelType | None, Any]
) -> None:
    stack = np.stack([smooth(1), smooth(2)])
    variables = {"T": Variable(stack[None], "K", ("time", name, "y", "x"))}
    headers = netcdf.scan(write_netcdf(tmp_path / "t.nc", variables, Form(levels=(name, unit, levels))))
    assert [header.level_type for header in headers] == [expected[0]] * 2
    assert [header.level for header in headers] == expected[1]
    for header, values in zip(headers, stack, strict=True):
        np.testing.assert_array_equal(read(header), values.astype(np.float32))


def test_a_level_by_scalar_coordinate_by_dimension_of_one_and_by_name(tmp_path: Path) -> None:
    path = tmp_path / "levels.nc"
    attributes = {"standard_name": "air_temperature", "coordinates": "height lat lon"}
    variables = {
        "air": Variable(smooth()[None], "K", attributes=attributes),
        "U": Variable(smooth(0, -9, 9)[None, None], "m s-1", ("time", "height_10", "y", "x")),
        "U10": Variable(smooth(0, -9, 9)[None], "m s-1"),
        "MSLP": Variable(smooth(0, 1e5, 1.02e5)[None], "Pa"),
        "T": Variable(smooth()[None], "K"),
    }
    write_netcdf(path, variables, Form(levels=("height_10", "m", (10.0,))))
    with netCDF4.Dataset(path, "a") as dataset:
        height = dataset.createVariable("height", "f4", ())
        height.units = "m"
        height[...] = 2.0
    found = {header.locator[1]: (header.level_type, header.level) for header in netcdf.scan(path)}
    assert found == {
        "air": (LevelType.HEIGHT_ABOVE_GROUND, 2.0),
        "U": (LevelType.HEIGHT_ABOVE_GROUND, 10.0),
        "U10": (LevelType.HEIGHT_ABOVE_GROUND, 10.0),
        "MSLP": (LevelType.MEAN_SEA_LEVEL, 0.0),
        "T": (None, 0.0),
    }


def test_several_leads_of_several_levels(tmp_path: Path) -> None:
    values = np.stack([np.stack([smooth(lead * 2 + level) for level in range(2)]) for lead in range(3)])
    variables = {"T": Variable(values, "K", ("time", "level", "y", "x"))}
    form = Form(leads_hours=(24.0, 25.0, 26.0), levels=("level", "hPa", (850.0, 500.0)))
    headers = netcdf.scan(write_netcdf(tmp_path / "t.nc", variables, form))
    assert [(header.lead_hours, header.level) for header in headers] == [
        (lead, level) for lead in (24.0, 25.0, 26.0) for level in (850.0, 500.0)
    ]
    assert headers[5].label == "t.nc [variable T time 2 level 1]"
    with netcdf.Reader() as reader:
        for header, expected in zip(headers, values.reshape(6, 7, 9), strict=True):
            np.testing.assert_array_equal(reader.read(header), expected.astype(np.float32))


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("coordinate", "2022-08-09T18:00:00"),
        ("units", "2022-08-09T18:00:00"),
        ("forecast_reference_time", "2022-08-09T18:00:00Z"),
        ("reference_time", "2022-08-10T03:00:00+09:00"),
        ("START_DATE", "2022-08-09_18:00:00"),
        ("reference_time", "2022080918"),
        ("SIMULATION_START_DATE", "2022-08-09 18:00:00 UTC"),
    ],
)
def test_reference_times(tmp_path: Path, reference: str, text: str) -> None:
    form = Form(reference=reference, reference_text="2022-08-09T18:00:00")
    path = write_netcdf(tmp_path / "t2.nc", two_metres(smooth()), form)
    if reference not in {"coordinate", "units"}:
        with netCDF4.Dataset(path, "a") as dataset:
            dataset.setncattr(reference, text)
    header = only(path)
    assert header.reference_time == REFERENCE_TIME
    assert header.reference_time.dtype == np.dtype("datetime64[s]")
    assert header.lead_hours == 25.0


def test_the_declared_reference_time_wins_over_the_epoch_of_the_unit(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "t2.nc", two_metres(smooth()))
    with netCDF4.Dataset(path, "a") as dataset:
        hours = (REFERENCE_TIME - np.datetime64("1970-01-01", "s")).astype(float) / 3600.0 + 25.0
        dataset["time"].units = "hours since 1970-01-01"
        dataset["time"][:] = hours
    assert (only(path).reference_time, only(path).lead_hours) == (REFERENCE_TIME, 25.0)


def test_a_forecast_period_in_minutes(tmp_path: Path) -> None:
    header = only(write_netcdf(tmp_path / "t2.nc", two_metres(smooth()), Form(period=True)))
    assert (header.reference_time, header.lead_hours) == (REFERENCE_TIME, 25.0)


def test_the_times_of_wrf(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "wrf.nc", two_metres(smooth()), Form(reference="START_DATE"))
    with netCDF4.Dataset(path, "a") as dataset:
        dataset.renameVariable("time", "unused")
        dataset["unused"].setncatts({"units": "1", "standard_name": "unused"})
        dataset.createDimension("DateStrLen", 19)
        times = dataset.createVariable("Times", "S1", ("time", "DateStrLen"))
        times[0] = netCDF4.stringtochar(np.array(["2022-08-10_19:00:00"], "S19"))
        dataset.START_DATE = "2022-08-09_18:00:00"
    assert (only(path).reference_time, only(path).lead_hours) == (REFERENCE_TIME, 25.0)


def test_no_reference_time_is_an_error(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "t2.nc", two_metres(smooth()), Form(reference="units"))
    with netCDF4.Dataset(path, "a") as dataset:
        dataset["time"].units = "hours since 1970-01-01"
        dataset["time"][:] = 461000.0
    with pytest.raises(UnrecognisedInput, match="when its forecast starts") as caught:
        netcdf.scan(path)
    assert "1970" in caught.value.got


def test_several_reference_times_are_an_error(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "t2.nc", two_metres(smooth()), Form(reference="reference_time"))
    with netCDF4.Dataset(path, "a") as dataset:
        dataset.createDimension("run", 2)
        run = dataset.createVariable("run", "f8", ("run",))
        run.setncatts({"standard_name": "forecast_reference_time", "units": "hours since 2022-08-09 18:00"})
        run[:] = [0.0, 6.0]
    with pytest.raises(MixedCycles, match="more than one cycle"):
        netcdf.scan(path)


def test_rain_is_accumulated_since_the_start_unless_bounds_say_otherwise(tmp_path: Path) -> None:
    summed = {"cell_methods": "time: sum"}
    variables = {
        "RAINNC": Variable(smooth(1, 0, 20)[None], "mm"),
        "RAINC": Variable(smooth(2, 0, 20)[None], "mm"),
        "RAIN": Variable(smooth(3, 0, 20)[None], "mm", attributes=summed),
        "T2": Variable(smooth()[None], "K"),
    }
    path = write_netcdf(tmp_path / "rain.nc", variables, Form(bounds=((24.0, 25.0),)))
    found = {
        header.quantity: (header.level_type, header.lead_start_hours, header.lead_hours)
        for header in netcdf.scan(path)
    }
    assert found == {
        "large_scale_precipitation": (LevelType.SURFACE, 0.0, 25.0),
        "convective_precipitation": (LevelType.SURFACE, 0.0, 25.0),
        "precipitation": (LevelType.SURFACE, 24.0, 25.0),
        "temperature": (LevelType.HEIGHT_ABOVE_GROUND, 25.0, 25.0),
    }


@pytest.mark.parametrize(
    ("standard_name", "relative"), [("eastward_wind", False), ("x_wind", True), (None, None)]
)
def test_what_winds_point_along(tmp_path: Path, standard_name: str | None, *, relative: bool | None) -> None:
    attributes = {} if standard_name is None else {"standard_name": standard_name}
    variables = {"U10": Variable(smooth(0, -9, 9)[None], "m s-1", attributes=attributes)}
    assert only(write_netcdf(tmp_path / "u.nc", variables)).grid_relative_winds is relative


@pytest.mark.parametrize(
    ("positions", "kind"),
    [("lambert", LambertGrid), ("curvilinear", CurvilinearGrid), ("latlon", LatitudeLongitudeGrid)],
)
def test_grids(tmp_path: Path, positions: str, kind: type) -> None:
    grid = only(write_netcdf(tmp_path / "t2.nc", two_metres(smooth()), Form(positions=positions))).grid
    assert isinstance(grid, kind)
    north, east = grid.latitude_longitude()
    if positions == "latlon":
        np.testing.assert_allclose(north[:, 0], 36.0 + 0.05 * np.arange(7), atol=1e-5)
        np.testing.assert_allclose(east[0], 125.0 + 0.05 * np.arange(9), atol=1e-5)
        return
    projection, x, y = lambert()
    longitude, latitude = projection(*np.meshgrid(x, y), inverse=True)
    np.testing.assert_allclose(north, latitude, rtol=0, atol=1e-7)
    np.testing.assert_allclose(east, longitude, rtol=0, atol=1e-7)


def test_no_positions_is_an_error(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "t2.nc", two_metres(smooth()), Form(positions="none"))
    with pytest.raises(WrongGrid, match="where its points lie"):
        netcdf.scan(path)


def test_an_ensemble_is_refused(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "t2.nc", two_metres(smooth()))
    with netCDF4.Dataset(path, "a") as dataset:
        dataset.createDimension("member", 3)
        dataset.createDimension("level", 2)
        variable = dataset.createVariable("T", "f4", ("time", "member", "level", "y", "x"))
        variable.units = "K"
        variable[:] = 280.0
    with pytest.raises(UnrecognisedInput, match="more dimensions"):
        netcdf.scan(path)


def test_a_file_without_a_known_variable_is_refused(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "q.nc", {"QVAPOR": Variable(smooth()[None], "kg kg-1")})
    with pytest.raises(UnrecognisedInput, match="no variable of the channel table") as caught:
        netcdf.scan(path)
    assert "QVAPOR" in caught.value.got


_WHOLE: dict[str, bytes] = {}


def whole(folder: Path, file_format: FileFormat) -> bytes:
    """The bytes of a file of three leads, made once for each format."""
    if file_format not in _WHOLE:
        values = np.stack([smooth(lead) for lead in range(3)])
        form = Form(leads_hours=(24.0, 25.0, 26.0), file_format=file_format, unlimited=True)
        variables = {"T2": Variable(values, "K"), "RAIN": Variable(values, "mm", packed=True)}
        _WHOLE[file_format] = write_netcdf(folder / "whole.nc", variables, form).read_bytes()
    return _WHOLE[file_format]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file_format=st.sampled_from(("NETCDF4", *CLASSIC)), share=st.floats(0, 1, exclude_max=True))
@example(file_format="NETCDF3_CLASSIC", share=0.9999)
def test_cutting_a_file_anywhere_is_noticed(tmp_path: Path, file_format: FileFormat, share: float) -> None:
    content = whole(tmp_path, file_format)
    path = tmp_path / "cut.nc"
    # The last bytes of a classic file may be padding.
    path.write_bytes(content[: int(share * (len(content) - 3))])
    with pytest.raises(RainpostError, match=r"cut\.nc"):
        [files.read(header) for header in files.scan(path)]


@pytest.mark.parametrize("file_format", CLASSIC)
@pytest.mark.parametrize("variables", [("T2",), ("RAIN",), ("T2", "RAIN")])
def test_the_size_of_a_whole_classic_file_is_enough(
    tmp_path: Path, file_format: FileFormat, variables: tuple[str, ...]
) -> None:
    for unlimited in (False, True):
        form = Form(file_format=file_format, unlimited=unlimited, leads_hours=(24.0, 25.0))
        stack = np.stack([smooth(1), smooth(2)])
        content = {
            name: Variable(stack, "K" if name == "T2" else "mm", packed=name == "RAIN") for name in variables
        }
        path = write_netcdf(tmp_path / "whole.nc", content, form)
        assert len(netcdf.scan(path)) == 2 * len(variables)
        path.write_bytes(path.read_bytes()[:-4])
        with pytest.raises(TruncatedInput, match="bytes"):
            netcdf.scan(path)


def test_a_file_that_changed_after_the_scan_is_an_error(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "t2.nc", two_metres(smooth()))
    header = only(path)
    write_netcdf(path, {"U10": Variable(smooth(0, -9, 9)[None], "m s-1")})
    with pytest.raises(InputError, match=r"t2\.nc"):
        read(header)


def test_many_threads_share_a_reader(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    paths = [
        write_netcdf(tmp_path / f"{number}.nc", two_metres(smooth(number), packed=True))
        for number in range(6)
    ]
    headers = [only(path) for path in paths] * 5
    with netcdf.Reader() as reader, ThreadPoolExecutor(4) as pool:
        together = list(pool.map(reader.read, headers))
    for header, values in zip(headers, together, strict=True):
        np.testing.assert_array_equal(values, read(header))
