"""The product as GRIB2: what eccodes, cfgrib and our own reader find in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service import grib
from service.grib_grids import LAMBERT
from service.product import EXCEEDANCE, build_product, write_product
from service.product_coordinates import product_grid
from service.product_grib import ABOVE, BELOW, BETWEEN, DECIMALS, Event, events, grib_messages
from service.specification import GridDefinition
from tests.service.sample_product import (
    DEGREES,
    PROVENANCE,
    REFERENCE_TIME,
    SOUTH,
    WINDOW,
    sample_cycle,
    sample_manifest,
    sample_probabilities,
    sample_product,
)
from tests.service.test_grids import QPE

import eccodes  # isort: skip  # pyproj first: see service/__init__.py

STEP = 10.0**-DECIMALS
SHAPE = (WINDOW.ny, WINDOW.nx)
HOLE = -9.0
TOLERANCE = 0.5 * STEP + 1e-9
GRIDS = pytest.mark.parametrize("target", [QPE, DEGREES], ids=["Lambert", "latitude-longitude"])

Decoded = dict[str, Any]

KEYS = (
    "discipline", "parameterCategory", "parameterNumber", "productDefinitionTemplateNumber",
    "gridDefinitionTemplateNumber", "probabilityType", "lowerLimit", "upperLimit",
    "forecastProbabilityNumber", "totalNumberOfForecastProbabilities", "typeOfStatisticalProcessing",
    "lengthOfTimeRange", "startStep", "endStep", "dataDate", "dataTime", "validityDate", "validityTime",
    "typeOfGeneratingProcess", "typeOfProcessedData:int", "productionStatusOfProcessedData", "centre:int",
    "generatingProcessIdentifier", "typeOfLevel", "shapeOfTheEarth", "radius", "scanningMode",
    "decimalScaleFactor", "packingType", "isMessageValid",
)  # fmt: skip


def decoded(content: bytes, keys: tuple[str, ...] = KEYS) -> list[Decoded]:
    """Keys of every message as eccodes has them, None for missing; values, latitude and longitude (y, x)."""
    found, start = [], 0
    while start < len(content):
        length = int.from_bytes(content[start + 8 : start + 16], "big")
        handle = eccodes.codes_new_from_message(content[start : start + length])
        start += length
        try:
            eccodes.codes_set(handle, "missingValue", HOLE)
            one = {name: _value(handle, name) for name in keys}
            values = eccodes.codes_get_values(handle).reshape(SHAPE)
            one["values"] = np.where(values == HOLE, np.nan, values)
            for name in ("latitudes", "longitudes"):
                one[name] = eccodes.codes_get_double_array(handle, name).reshape(SHAPE)
        finally:
            eccodes.codes_release(handle)
        found.append(one)
    return found


def _value(handle: int, key: str) -> Any:
    name, _, kind = key.partition(":")
    if eccodes.codes_is_missing(handle, name):
        return None
    return eccodes.codes_get(handle, name, int if kind else None)


def field_of(product: xr.Dataset, message: Decoded) -> NDArray[np.float32]:
    """The field of the NetCDF product that a message must hold, found by what its keys mean."""
    lead = product.sel(lead=message["endStep"])
    lower = message["lowerLimit"]
    if message["probabilityType"] == ABOVE:
        return np.asarray(lead[EXCEEDANCE].sel(threshold=lower))
    if message["probabilityType"] == BELOW:
        return np.asarray(1.0 - lead[EXCEEDANCE].sel(threshold=lower))
    upper = message["upperLimit"]
    return np.asarray(lead[EXCEEDANCE].sel(threshold=lower) - lead[EXCEEDANCE].sel(threshold=upper))


@GRIDS
def test_every_message_holds_what_its_keys_say(target: GridDefinition) -> None:
    product = sample_product(target)
    found = decoded(grib_messages(product))
    assert len(found) == 12
    for message in found:
        # float32 of the product's own cumulative sums beside the rounding
        np.testing.assert_allclose(
            message["values"], field_of(product, message), atol=0.5 * STEP + 2e-7, rtol=0
        )
        np.testing.assert_allclose(message["latitudes"], product["latitude"], atol=1e-6, rtol=0)
        turn = (message["longitudes"] - product["longitude"].values + 180.0) % 360.0 - 180.0
        np.testing.assert_allclose(turn, 0.0, atol=1e-6)


def test_keys_of_the_messages() -> None:
    found = decoded(grib_messages(sample_product()))
    assert [(one["endStep"], one["probabilityType"]) for one in found] == [
        (lead, kind) for lead in (25, 26, 27) for kind in (BELOW, BETWEEN, ABOVE, ABOVE)
    ]
    limits = [(one["lowerLimit"], one["upperLimit"]) for one in found[:4]]
    assert limits == [(0.1, None), (0.1, 10.0), (0.1, None), (10.0, None)]
    second = {name: value for name, value in found[5].items() if not isinstance(value, np.ndarray)}
    assert second == {
        "discipline": 0,
        "parameterCategory": 1,
        "parameterNumber": 8,
        "productDefinitionTemplateNumber": 9,
        "gridDefinitionTemplateNumber": LAMBERT,
        "probabilityType": BETWEEN,
        "lowerLimit": 0.1,
        "upperLimit": 10.0,
        "forecastProbabilityNumber": 2,
        "totalNumberOfForecastProbabilities": 4,
        "typeOfStatisticalProcessing": 1,
        "lengthOfTimeRange": 1,
        "startStep": 25,
        "endStep": 26,
        "dataDate": 20260714,
        "dataTime": 1800,
        "validityDate": 20260715,
        "validityTime": 2000,
        "typeOfGeneratingProcess": 5,
        "typeOfProcessedData:int": 8,
        "productionStatusOfProcessedData": 2,
        "centre:int": 65535,
        "generatingProcessIdentifier": 255,
        "typeOfLevel": "surface",
        "shapeOfTheEarth": 1,
        "radius": pytest.approx(6371008.77, abs=1e-6),
        "scanningMode": 0x40,
        "decimalScaleFactor": DECIMALS,
        "packingType": "grid_simple",
        "isMessageValid": 1,
    }


def test_only_a_model_of_simulated_data_is_called_research() -> None:
    manifest = sample_manifest(simulated=False)
    product = build_product(sample_cycle(), sample_probabilities(), manifest, PROVENANCE)
    keys = ("productionStatusOfProcessedData",)
    assert [one[keys[0]] for one in decoded(grib_messages(product, 25), keys)] == [255] * 4


def test_three_hours_of_rain() -> None:
    manifest = sample_manifest(precipitation_hours=3)
    product = build_product(sample_cycle(), sample_probabilities(), manifest, PROVENANCE)
    one = decoded(grib_messages(product))[0]
    assert (one["startStep"], one["endStep"], one["lengthOfTimeRange"]) == (22, 25, 3)


def test_events_of_any_number_of_thresholds() -> None:
    assert events([1.0]) == (Event(BELOW, 1.0), Event(ABOVE, 1.0))
    assert [(one.kind, one.lower_mm, one.upper_mm) for one in events([0.1, 5.0, 30.0])] == [
        (BELOW, 0.1, None), (BETWEEN, 0.1, 5.0), (BETWEEN, 5.0, 30.0),
        (ABOVE, 0.1, None), (ABOVE, 5.0, None), (ABOVE, 30.0, None),
    ]  # fmt: skip


def test_one_lead() -> None:
    product = sample_product()
    whole = grib_messages(product)
    parts = [grib_messages(product, lead) for lead in (25, 26, 27)]
    assert b"".join(parts) == whole
    assert all(parts)
    assert grib_messages(product, 28) == b""


def test_a_cone_of_the_south() -> None:
    """With the other pole, and a westward longitude."""
    product = sample_product(SOUTH)
    keys = ("projectionCentreFlag", "LoVInDegrees", "radius")
    one = decoded(grib_messages(product, 25), keys)[0]
    assert [one[key] for key in keys] == [0x80, 289.0, 6371229.0]
    np.testing.assert_allclose(one["latitudes"], product["latitude"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(one["longitudes"] - 360.0, product["longitude"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.375])
@pytest.mark.parametrize("hole", [False, True])
def test_a_constant_field_has_no_decimal_scale(value: float, hole: bool) -> None:
    """A dry cycle: readers that apply the scale to a field without bits read what the others read."""
    product = sample_product()
    product[EXCEEDANCE][0, 0] = value
    product[EXCEEDANCE][0, 0, 3, 4] = np.nan if hole else value
    one = decoded(grib_messages(product, 25), ("decimalScaleFactor", "bitsPerValue"))[2]
    assert (one["decimalScaleFactor"], one["bitsPerValue"]) == (0, 0)
    np.testing.assert_array_equal(one["values"], product[EXCEEDANCE][0, 0])


@settings(max_examples=40, deadline=None)
@given(
    present=st.sets(st.sampled_from((25, 26, 27)), min_size=1),
    holes=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_leads_and_any_holes_come_back(present: set[int], holes: float, seed: int) -> None:
    leads = tuple(sorted(present))
    cycle, probabilities = sample_cycle(leads), sample_probabilities(len(leads))
    product = build_product(cycle, probabilities, sample_manifest(), PROVENANCE)
    missing = np.random.default_rng(seed).random((3, *SHAPE)) < holes
    for name in ("class_probability", EXCEEDANCE):
        values = product[name].transpose("lead", ..., "y", "x").values
        values[np.broadcast_to(missing[:, None], values.shape)] = np.nan
    found = decoded(grib_messages(product), ("endStep", "forecastProbabilityNumber"))
    assert [one["endStep"] for one in found] == [lead for lead in leads for _ in range(4)]
    for one in found:
        lead = product.sel(lead=one["endStep"])
        fields = [*lead["class_probability"].values[:-1], *lead[EXCEEDANCE].values]
        field = fields[one["forecastProbabilityNumber"] - 1]
        np.testing.assert_allclose(one["values"], field, atol=TOLERANCE, rtol=0)
        there = one["values"][~np.isnan(one["values"])]
        assert ((there >= 0.0) & (there <= 1.0)).all()


@pytest.mark.parametrize(
    ("keys", "name", "index"),
    [
        ({"probabilityType": BELOW}, "class_probability", {"class": 0}),
        ({"probabilityType": BETWEEN}, "class_probability", {"class": 1}),
        ({"probabilityType": ABOVE, "scaledValueOfLowerLimit": 1}, EXCEEDANCE, {"threshold": 0}),
        ({"probabilityType": ABOVE, "scaledValueOfLowerLimit": 10}, EXCEEDANCE, {"threshold": 1}),
        ({"forecastProbabilityNumber": 4}, EXCEEDANCE, {"threshold": 1}),
    ],
)
def test_cfgrib_reads_what_the_netcdf_says(
    keys: dict[str, int], name: str, index: dict[str, int], tmp_path: Path
) -> None:
    product = sample_product()
    write_product(product, tmp_path / "product.nc")
    (tmp_path / "product.grib2").write_bytes(grib_messages(product))
    options = {"indexpath": "", "filter_by_keys": keys}
    with (
        xr.open_dataset(tmp_path / "product.nc") as netcdf,
        xr.open_dataset(tmp_path / "product.grib2", engine="cfgrib", backend_kwargs=options) as read,
    ):
        assert list(read.data_vars) == ["unknown"], "eccodes has no name for probabilities of this quantity"
        np.testing.assert_allclose(read["unknown"], netcdf[name].isel(index), atol=TOLERANCE, rtol=0)
        for axis in ("latitude", "longitude"):
            np.testing.assert_allclose(read[axis], netcdf[axis], atol=1e-4, rtol=0)
        np.testing.assert_array_equal(read["valid_time"], netcdf["time"])
        assert read["time"].values == netcdf["forecast_reference_time"].values == REFERENCE_TIME


@GRIDS
def test_our_own_reader_finds_the_grid_and_no_rain(target: GridDefinition, tmp_path: Path) -> None:
    """A product among the input files is not taken for a forecast of rain."""
    product, path = sample_product(target), tmp_path / "product.grib2"
    path.write_bytes(grib_messages(product))
    headers = grib.scan(path)
    assert {one.quantity for one in headers} == {"0-1-8 of template 4.9"}
    assert len(headers) == 12
    southward = product["latitude"].values[0, 0] > product["latitude"].values[-1, 0]
    northward = product.isel(y=slice(None, None, -1)) if southward else product
    for one in headers:
        assert type(one.grid) is type(product_grid(product))
        assert one.reference_time == REFERENCE_TIME
        for found, name in zip(one.grid.latitude_longitude(), ("latitude", "longitude"), strict=True):
            np.testing.assert_allclose(found, northward[name], atol=1e-6, rtol=0)
