"""Observations from every form, on the grid of the model; what is none is refused by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import (
    EmptyInput,
    MissingChannel,
    MissingValues,
    OutsideGrid,
    PhysicalLimit,
    RainpostError,
    TruncatedInput,
    UnrecognisedInput,
    WrongPeriod,
    WrongSource,
)
from service.observation import read_observation
from service.observation_dfs import HEADER_BYTES
from service.specification import (
    CycleSpecification,
    LambertDefinition,
    LatitudeLongitudeDefinition,
    Source,
    Window,
)
from tests.service.sample_grib import EARTH_RADIUS_M, NX, NY, REFERENCE_TIME, SPACING_M, Sample, write
from tests.service.sample_netcdf import Form, Variable, write_netcdf
from tests.service.sample_observation import dfs_text

WINDOW = Window(y_start=2, x_start=3, ny=4, nx=5)
HOUR = np.timedelta64(3600, "s")
KST_NAME = "rn1.2022081004.txt"
VALID_TIME = REFERENCE_TIME + HOUR


def sample_specification(**changes: Any) -> CycleSpecification:
    """A model whose target is the very grid of the sample files."""
    target = LambertDefinition(
        nx=NX,
        ny=NY,
        spacing_m=SPACING_M,
        standard_parallels_degrees=(30.0, 60.0),
        origin_latitude_degrees=38.0,
        origin_longitude_degrees=126.0,
        origin_x=4.0,
        origin_y=3.0,
        earth_radius_m=EARTH_RADIUS_M,
    )
    members: dict[str, Any] = {
        "source": Source(name="sample"),
        "channels": ("precipitation_1h",),
        "leads_hours": (6,),
        "target": target,
        "window": WINDOW,
    }
    return CycleSpecification.model_validate(members | changes)


SPECIFICATION = sample_specification()


def amounts() -> NDArray[np.float64]:
    """(y, x): 0 to 37.2 mm, one hole inside the window and one outside."""
    values = 0.6 * np.arange(float(NX * NY)).reshape(NY, NX)
    values[3, 5] = values[0, 0] = np.nan
    return values


def window_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[WINDOW.y_start : WINDOW.y_start + WINDOW.ny, WINDOW.x_start : WINDOW.x_start + WINDOW.nx]


def rain(values: NDArray[np.float64], start: int = 0, end: int = 1, **members: Any) -> Sample:
    """A GRIB2 message of accumulated precipitation."""
    return Sample(values, (0, 1, 8), (1, 0), end, start, **members)


def netcdf(path: Path, values: NDArray[np.float64], **members: Any) -> Path:
    """One hour with bounds; no start of a run."""
    form = Form(leads_hours=(1.0,), reference="units", bounds=((0.0, 1.0),), positions="lambert")
    return write_netcdf(path, {"rn1": rate(values)}, Form(**(vars(form) | members)))


def rate(values: NDArray[np.float64], unit: str = "mm") -> Variable:
    name = {"standard_name": "lwe_thickness_of_precipitation_amount", "cell_methods": "time: sum"}
    return Variable(values.reshape(-1, NY, NX), unit, attributes=name)


def write_text(path: Path, values: NDArray[np.float64]) -> Path:
    path.write_text(dfs_text(values))
    return path


def write_binary(path: Path, values: NDArray[np.float64]) -> Path:
    path.write_bytes(bytes(HEADER_BYTES) + np.nan_to_num(values, nan=-99.0).astype("<f4").tobytes())
    return path


@pytest.mark.parametrize("form", ["text", "binary", "grib2", "netcdf"])
def test_every_form_gives_the_same_observation(tmp_path: Path, form: str) -> None:
    path = tmp_path / KST_NAME
    match form:
        case "text":
            write_text(path, amounts())
        case "binary":
            write_binary(path, amounts())
        case "grib2":
            write(path, rain(amounts()))
        case _:
            netcdf(path, amounts())
    found = read_observation(path, SPECIFICATION)
    assert found.valid_time == VALID_TIME
    assert found.rain_mm.dtype == np.float32
    np.testing.assert_allclose(found.rain_mm, window_of(amounts()), rtol=0, atol=1e-4)
    assert read_observation(path, SPECIFICATION, valid_time=VALID_TIME).valid_time == VALID_TIME
    with pytest.raises(
        WrongPeriod, match=r"another time than was declared.*2022-08-09T18:00.*2022-08-09T19:00"
    ):
        read_observation(path, SPECIFICATION, valid_time=REFERENCE_TIME)


def test_another_grid_is_remapped_and_holes_stay_holes(tmp_path: Path) -> None:
    degrees = LatitudeLongitudeDefinition(
        nx=4,
        ny=3,
        first_latitude_degrees=37.95,
        first_longitude_degrees=125.9,
        latitude_step_degrees=0.04,
        longitude_step_degrees=0.05,
    )
    specification = sample_specification(target=degrees, window=Window(y_start=0, x_start=0, ny=3, nx=4))
    constant = np.full((NY, NX), 2.5)
    path = write(tmp_path / "rain.gb2", rain(constant))
    np.testing.assert_allclose(read_observation(path, specification).rain_mm, 2.5, atol=1e-4)
    constant[3, 4] = np.nan
    holed = read_observation(write(path, rain(constant)), specification, weights_folder=tmp_path / "weights")
    assert 0 < np.isnan(holed.rain_mm).sum() < 12
    np.testing.assert_allclose(holed.rain_mm[~np.isnan(holed.rain_mm)], 2.5, atol=1e-4)
    far = degrees.model_copy(update={"first_latitude_degrees": 20.0})
    with pytest.raises(OutsideGrid):
        read_observation(path, sample_specification(target=far, window=specification.window))


def test_rounding_below_nothing_is_nothing(tmp_path: Path) -> None:
    values = np.zeros((NY, NX))
    values[3, 4] = -0.02
    found = read_observation(write_text(tmp_path / KST_NAME, values), SPECIFICATION)
    assert (found.rain_mm == 0.0).all()
    assert not np.signbit(found.rain_mm).any()


def test_the_period_is_chosen_among_several(tmp_path: Path) -> None:
    whole, hour = np.full((NY, NX), 9.0), np.full((NY, NX), 2.0)
    path = write(tmp_path / "rain.gb2", rain(whole, -5, 1), rain(hour, 0, 1))
    assert read_observation(path, SPECIFICATION).rain_mm.max() == pytest.approx(2.0)
    six = sample_specification(precipitation_hours=6)
    assert read_observation(path, six).rain_mm.max() == pytest.approx(9.0)
    days = netcdf(
        tmp_path / "day.nc",
        np.stack([hour, whole]),
        leads_hours=(1.0, 2.0),
        bounds=((0.0, 1.0), (1.0, 2.0)),
    )
    with pytest.raises(WrongPeriod, match=r"several periods.*19:00:00Z, 2022-08-09T20:00:00Z"):
        read_observation(days, SPECIFICATION)
    found = read_observation(days, SPECIFICATION, valid_time=VALID_TIME)
    assert found.rain_mm.max() == pytest.approx(2.0)


def test_an_observation_of_another_period_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rain.gb2", rain(amounts(), 0, 3))
    with pytest.raises(WrongPeriod, match=r"expected: the amount of 1 h; got: 3 h"):
        read_observation(path, SPECIFICATION)
    text = write_text(tmp_path / KST_NAME, amounts())
    with pytest.raises(WrongPeriod, match="expected: the amount of 6 h; got: 1 h, as in all DFS files"):
        read_observation(text, sample_specification(precipitation_hours=6))
    with pytest.raises(WrongPeriod, match="over which period"):
        read_observation(netcdf(tmp_path / "rain.nc", amounts(), bounds=()), SPECIFICATION)
    half = write_text(tmp_path / "202208100430", amounts())
    with pytest.raises(WrongPeriod, match=r"does not end on the hour; .*19:30"):
        read_observation(half, SPECIFICATION)
    nameless = write_text(tmp_path / "rn1.txt", amounts())
    with pytest.raises(WrongPeriod, match="does not say when"):
        read_observation(nameless, SPECIFICATION)
    assert read_observation(nameless, SPECIFICATION, valid_time=VALID_TIME).valid_time == VALID_TIME


def test_a_forecast_is_no_observation(tmp_path: Path) -> None:
    path = write(tmp_path / "forecast.gb2", rain(amounts(), 24, 25))
    with pytest.raises(WrongSource, match="got: 24-25 h after 2022-08-09T18:00:00Z"):
        read_observation(path, SPECIFICATION)
    declared = netcdf(
        tmp_path / "forecast.nc",
        amounts(),
        leads_hours=(25.0,),
        reference="coordinate",
        bounds=((24.0, 25.0),),
    )
    with pytest.raises(WrongSource, match="got: 24-25 h"):
        read_observation(declared, SPECIFICATION)


def test_impossible_amounts_are_told_before_they_are_smeared(tmp_path: Path) -> None:
    values = amounts()
    values[4, 4] = -999.0
    for path in (
        write_text(tmp_path / KST_NAME, values),
        write(tmp_path / "rain.gb2", rain(values)),
        netcdf(tmp_path / "rain.nc", values),
    ):
        with pytest.raises(PhysicalLimit, match=r"first -999 mm; 100% of them are -999, a sentinel"):
            read_observation(path, SPECIFICATION)
    values[4, 4] = 401.0
    with pytest.raises(PhysicalLimit, match="expected: 0 to 400 mm"):
        read_observation(write_text(tmp_path / KST_NAME, values), SPECIFICATION)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", EmptyInput),
        (b"<html>no data</html>", UnrecognisedInput),
        (bytes(HEADER_BYTES + 4 * NX * NY - 1), UnrecognisedInput),
        (dfs_text(np.full((NY, NX), np.nan)).encode(), MissingValues),
        (b"\x89HDF\r\n\x1a\n", TruncatedInput),
        (Sample(np.ones((NY, NX))).message(), MissingChannel),
        (rain(np.ones((NY, NX))).message()[:-30], TruncatedInput),
    ],
)
def test_what_is_no_observation(tmp_path: Path, content: bytes, kind: type[RainpostError]) -> None:
    path = tmp_path / KST_NAME
    path.write_bytes(content)
    with pytest.raises(kind, match=KST_NAME):
        read_observation(path, SPECIFICATION)
