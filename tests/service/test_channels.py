"""The channel table against independent knowledge of its codes and of the paper."""

from __future__ import annotations

import eccodes
import pytest

from service.channels import CHANNELS, PRECIPITATION_CHANNEL, QUANTITIES, LevelType

# Table 2 of the paper.
SURFACE = {"eastward_wind_10m", "northward_wind_10m", "temperature_2m", "mean_sea_level_pressure"}
LEVELS = {
    f"{quantity}_{level}hpa"
    for quantity in (
        "eastward_wind",
        "northward_wind",
        "temperature",
        "geopotential_height",
        "relative_humidity",
    )
    for level in (850, 500)
}


def test_the_channels_are_those_of_the_paper() -> None:
    assert set(CHANNELS) == SURFACE | LEVELS | {"geopotential_height_100hpa", PRECIPITATION_CHANNEL}
    assert len(CHANNELS) == 16


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_limits_of_a_channel_lie_within_those_of_its_quantity(name: str) -> None:
    channel = CHANNELS[name]
    quantity = QUANTITIES[channel.quantity]
    assert quantity.minimum <= channel.minimum < channel.maximum <= quantity.maximum
    if channel.level_type is LevelType.ISOBARIC:
        assert name.endswith(f"_{channel.level:g}hpa")
    elif channel.level_type is LevelType.HEIGHT_ABOVE_GROUND:
        assert name.endswith(f"_{channel.level:g}m")


@pytest.mark.parametrize(
    ("quantity", "short_names"),
    [
        ("geopotential_height", {"gh", "z"}),
        ("mean_sea_level_pressure", {"prmsl", "msl"}),
        ("relative_humidity", {"r"}),
        ("temperature", {"t"}),
        ("eastward_wind", {"u"}),
        ("northward_wind", {"v"}),
        ("precipitation", {"tp"}),
    ],
)
def test_codes_mean_what_eccodes_says(quantity: str, short_names: set[str]) -> None:
    found = set()
    surface = {"mean_sea_level_pressure": 101, "precipitation": 1}.get(quantity, 100)
    for discipline, category, number in QUANTITIES[quantity].grib2:
        handle = eccodes.codes_grib_new_from_samples("GRIB2")
        for key, value in {
            "centre": 7,
            "discipline": discipline,
            "productDefinitionTemplateNumber": 8 if quantity == "precipitation" else 0,
            "parameterCategory": category,
            "parameterNumber": number,
            "typeOfFirstFixedSurface": surface,
        }.items():
            eccodes.codes_set(handle, key, value)
        if quantity == "precipitation":
            eccodes.codes_set(handle, "typeOfStatisticalProcessing", 1)
        found.add(eccodes.codes_get(handle, "shortName"))
        eccodes.codes_release(handle)
    assert found <= short_names
    assert found
