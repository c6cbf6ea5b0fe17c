"""Parameters of EDR queries. The sample's leads end at 19, 20 and 21 UTC of 15 July 2026."""

from __future__ import annotations

import pytest

from service.edr_query import chosen_format, chosen_leads, chosen_parameters, chosen_system
from service.errors import RequestError
from tests.service.sample_product import DEGREES, sample_product

DAY = "2026-07-15T"


@pytest.mark.parametrize(
    ("text", "leads"),
    [
        (None, [0, 1, 2]),
        (f"{DAY}20:00Z", [1]),
        (f"{DAY}19:30Z", [1]),
        (f"{DAY}21:00:00+01:00", [1]),
        (f"{DAY}19:00Z/{DAY}20:00Z", [0, 1]),
        (f"{DAY}20:00Z/..", [1, 2]),
        (f"../{DAY}19:59Z", [0, 1]),
        (f"/{DAY}19:00Z", [0]),
        ("../..", [0, 1, 2]),
        (f"{DAY}18:00Z", []),
        (f"{DAY}21:00:01Z", []),
        (f"{DAY}17:00Z/{DAY}18:00Z", []),
    ],
)
def test_leads_whose_period_meets_the_time(text: str | None, leads: list[int]) -> None:
    assert chosen_leads(sample_product(), text).tolist() == leads


@pytest.mark.parametrize(
    "text", ["soon", "..", "", f"{DAY}20:00Z/{DAY}19:00Z", f"{DAY}19Z/{DAY}20Z/{DAY}21Z", "2026-07-15"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        chosen_leads(sample_product(), text)
    assert caught.value.where == "datetime"


def test_parameters_by_name() -> None:
    product = sample_product()
    chosen = chosen_parameters(product, "most_likely_class, class_probability_rain")
    assert [one.name for one in chosen] == ["class_probability_rain", "most_likely_class"]
    assert len(chosen_parameters(product, None)) == 7
    for names in ("snow", "", "most_likely_class,"):
        with pytest.raises(RequestError, match="class_probability_rain"):
            chosen_parameters(product, names)


def test_reference_systems() -> None:
    product = sample_product()
    for crs in (None, "CRS84", "OGC:CRS84", "http://www.opengis.net/def/crs/OGC/1.3/CRS84"):
        assert chosen_system(product, crs) == "CRS84"
    assert chosen_system(product, "native") == "native"
    with pytest.raises(RequestError, match="CRS84, native"):
        chosen_system(product, "EPSG:5179")
    with pytest.raises(RequestError, match="CRS84"):
        chosen_system(sample_product(DEGREES), "native")


def test_formats() -> None:
    assert chosen_format(None) is None
    assert chosen_format("coveragejson") == "CoverageJSON"
    assert chosen_format("NetCDF") == "NetCDF"
    with pytest.raises(RequestError, match="CoverageJSON, NetCDF"):
        chosen_format("html")
