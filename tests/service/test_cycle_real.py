"""The shared path on real files of other models, against values read independently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

from service import files
from service.channels import CHANNELS, PRECIPITATION_CHANNEL
from service.cycle import read_cycle
from service.specification import CycleSpecification, LambertDefinition, Source, Window

import eccodes  # isort: skip


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
