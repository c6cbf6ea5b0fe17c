"""What the octets of a GRIB2 field say: quantity, level, time range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from service import grib
from service.channels import LevelType
from service.errors import TruncatedInput
from service.fields import FieldHeader
from service.grib_sections import scaled, signed
from tests.service.sample_grib import (
    REFERENCE_TIME,
    Keys,
    Sample,
    end_of_interval,
    joined,
    sections,
    smooth,
    write,
)


def header(tmp_path: Path, sample: Sample) -> FieldHeader:
    """As scanned from a file of one message."""
    (found,) = grib.scan(write(tmp_path / "field.grib2", sample))
    return found


def altered(message: bytes, section: int, octets: Mapping[int, Sequence[int]]) -> bytes:
    """The message with other octets in a section, counted from 1."""
    parts = []
    for number, content in sections(message):
        changed = bytearray(content)
        for octet, values in octets.items() if number == section else ():
            changed[octet - 1 : octet - 1 + len(values)] = bytes(values)
        parts.append(bytes(changed))
    return joined(message[6], parts)


def test_signed_numbers_have_a_sign_bit() -> None:
    assert signed(b"\x00\x05", 1, 2) == 5
    assert signed(b"\x80\x05", 1, 2) == -5
    assert scaled(b"\x82\x00\x00\x00\x07", 1) == 700.0
    assert scaled(b"\x01\x00\x00\x00\x19", 1) == 2.5
    assert scaled(b"\xff\xff\xff\xff\xff", 1) == 0.0
    with pytest.raises(IndexError):
        signed(b"\x00", 1, 2)


@pytest.mark.parametrize(
    ("surface", "expected"),
    [
        ((100, 85000), (LevelType.ISOBARIC, 850.0)),
        ((103, 2), (LevelType.HEIGHT_ABOVE_GROUND, 2.0)),
        ((101, 0), (LevelType.MEAN_SEA_LEVEL, 0.0)),
        ((1, 0), (LevelType.SURFACE, 0.0)),
        ((102, 3000), (None, 3000.0)),
    ],
)
def test_levels(tmp_path: Path, surface: tuple[int, int], expected: tuple[LevelType | None, float]) -> None:
    found = header(tmp_path, Sample(smooth(), surface=surface))
    assert (found.level_type, found.level) == expected


def test_a_layer_between_two_surfaces_is_no_level(tmp_path: Path) -> None:
    keys: Keys = {
        "typeOfSecondFixedSurface": 100,
        "scaleFactorOfSecondFixedSurface": 0,
        "scaledValueOfSecondFixedSurface": 50000,
    }
    assert header(tmp_path, Sample(smooth(), keys=keys)).level_type is None


@pytest.mark.parametrize(
    ("unit", "count", "hours"),
    [
        (0, 1500, 25.0),
        (1, 25, 25.0),
        (2, 1, 24.0),
        (10, 9, 27.0),
        (11, 4, 24.0),
        (12, 2, 24.0),
        (13, 90000, 25.0),
    ],
)
def test_units_of_time(tmp_path: Path, unit: int, count: int, hours: float) -> None:
    message = altered(Sample(smooth()).message(), 4, {18: [unit], 19: count.to_bytes(4, "big")})
    (found,) = grib.scan(write(tmp_path / "field.grib2", message))
    assert (found.lead_start_hours, found.lead_hours, found.quantity) == (hours, hours, "temperature")


def test_months_are_no_lead(tmp_path: Path) -> None:
    message = altered(Sample(smooth()).message(), 4, {18: [3]})
    (found,) = grib.scan(write(tmp_path / "field.grib2", message))
    assert found.quantity == "0-0-0 with time unit 3"


def test_an_accumulation_has_its_own_range(tmp_path: Path) -> None:
    found = header(tmp_path, Sample(smooth(), code=(0, 1, 8), surface=(1, 0), lead_hours=30, start_hours=24))
    assert (found.quantity, found.unit) == ("precipitation", "mm")
    assert (found.lead_start_hours, found.lead_hours) == (24.0, 30.0)


def test_the_end_of_the_interval_counts_across_days(tmp_path: Path) -> None:
    reference = np.datetime64("2023-12-31T18:00:00", "s")
    sample = Sample(
        smooth(), code=(0, 1, 9), surface=(1, 0), lead_hours=78, start_hours=0, reference_time=reference
    )
    found = header(tmp_path, sample)
    assert (found.reference_time, found.lead_hours) == (reference, 78.0)


@pytest.mark.parametrize(
    ("code", "process", "quantity"),
    [
        ((0, 0, 0), 0, "0-0-0 of statistical process 0"),
        ((0, 2, 2), 2, "0-2-2 of statistical process 2"),
        ((0, 1, 8), 0, "0-1-8 of statistical process 0"),
        ((0, 0, 0), 1, "0-0-0 accumulation"),
        ((0, 1, 8), 1, "precipitation"),
    ],
)
def test_means_and_extremes_over_time_are_other_quantities(
    tmp_path: Path, code: tuple[int, int, int], process: int, quantity: str
) -> None:
    sample = Sample(smooth(), code=code, start_hours=23, keys={"typeOfStatisticalProcessing": process})
    assert header(tmp_path, sample).quantity == quantity


def test_rain_without_a_range_is_no_amount(tmp_path: Path) -> None:
    assert header(tmp_path, Sample(smooth(), code=(0, 1, 8), surface=(1, 0))).quantity == "0-1-8"


@pytest.mark.parametrize(
    ("template", "keys", "quantity"),
    [
        (
            1,
            {"typeOfEnsembleForecast": 1, "perturbationNumber": 0, "numberOfForecastsInEnsemble": 10},
            "temperature",
        ),
        (1, {"typeOfEnsembleForecast": 3, "perturbationNumber": 4}, "0-0-0 of ensemble member 4"),
        (5, {"forecastProbabilityNumber": 0}, "0-0-0 of template 4.5"),
        (2, {"derivedForecast": 0}, "0-0-0 of template 4.2"),
    ],
)
def test_only_one_deterministic_forecast_is_the_forecast(
    tmp_path: Path, template: int, keys: Keys, quantity: str
) -> None:
    sample = Sample(smooth(), keys={"productDefinitionTemplateNumber": template, "forecastTime": 24, **keys})
    assert header(tmp_path, sample).quantity == quantity


@pytest.mark.parametrize(("member", "quantity"), [(1, "precipitation"), (3, "0-1-8 of ensemble member 7")])
def test_an_accumulation_of_an_ensemble(tmp_path: Path, member: int, quantity: str) -> None:
    keys: Keys = {
        "productDefinitionTemplateNumber": 11,
        "forecastTime": 24,
        "typeOfEnsembleForecast": member,
        "perturbationNumber": 7,
        "typeOfStatisticalProcessing": 1,
        **end_of_interval(REFERENCE_TIME + np.timedelta64(25, "h")),
    }
    found = header(tmp_path, Sample(smooth(), code=(0, 1, 8), surface=(1, 0), lead_hours=25, keys=keys))
    assert (found.quantity, found.lead_start_hours, found.lead_hours) == (quantity, 24.0, 25.0)


def test_a_verifying_time_is_no_reference_time(tmp_path: Path) -> None:
    found = header(tmp_path, Sample(smooth(), keys={"significanceOfReferenceTime": 2}))
    assert found.quantity == "0-0-0 with a verifying time in place of the reference time"


def test_centre_and_winds(tmp_path: Path) -> None:
    found = header(tmp_path, Sample(smooth(), centre=7, grid_relative=True))
    assert (found.centre, found.grid_relative_winds) == (7, True)
    assert header(tmp_path, Sample(smooth())).grid_relative_winds is False


def test_a_local_quantity_is_shown_by_its_code(tmp_path: Path) -> None:
    found = header(tmp_path, Sample(smooth(), code=(0, 3, 192)))
    assert (found.quantity, found.unit) == ("0-3-192", "unknown")


@pytest.mark.parametrize(
    ("section", "octets"),
    [
        (1, {15: [13]}),
        (1, {16: [0]}),
        (5, {6: [0, 0, 1, 0]}),
    ],
)
def test_octets_without_a_meaning_are_damage(
    tmp_path: Path, section: int, octets: dict[int, list[int]]
) -> None:
    path = write(tmp_path / "field.grib2", altered(Sample(smooth()).message(), section, octets))
    with pytest.raises(TruncatedInput, match=r"field\.grib2, message 1"):
        grib.scan(path)


@pytest.mark.parametrize("octet", [36, 37, 47])
def test_impossible_groups_of_complex_packing_never_reach_the_library(tmp_path: Path, octet: int) -> None:
    message = altered(Sample(smooth(), packing="grid_complex").message(), 5, {octet: [200]})
    with pytest.raises(TruncatedInput, match="200"):
        grib.scan(write(tmp_path / "field.grib2", message))


def test_an_image_of_another_size_never_reaches_the_library(tmp_path: Path) -> None:
    message = altered(Sample(smooth(), packing="grid_jpeg").message(), 7, {20: [42]})
    (found,) = grib.scan(write(tmp_path / "field.grib2", message))
    with pytest.raises(TruncatedInput, match="image of"):
        grib.read(found)
