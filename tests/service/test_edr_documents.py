"""Documents of OGC API - EDR 1.1, each rule by the identifier of its requirement.

The schemas of the standard are not in this repository.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pyproj import CRS

from service.edr_documents import (
    CONFORMANCE,
    collection_document,
    collections_document,
    conformance,
    instance_document,
    instances_document,
    landing_page,
    offer_of,
)
from tests.service.sample_edr import DATE_LINE
from tests.service.sample_product import DEGREES, REFERENCE_TIME, sample_product

ROOT = "http://rain.example/"
HERE = f"{ROOT}collections/precipitation"
OFFER = offer_of(sample_product())
LATER = REFERENCE_TIME + np.timedelta64(6, "h")


def dumped(model: Any) -> dict[str, Any]:
    """As it is sent."""
    document: dict[str, Any] = model.model_dump(mode="json", exclude_none=True, by_alias=True)
    return document


COLLECTION = dumped(collection_document(ROOT, OFFER, REFERENCE_TIME, LATER))
INSTANCE = dumped(instance_document(ROOT, OFFER, REFERENCE_TIME))
BOTH = pytest.mark.parametrize(
    ("document", "path"), [(COLLECTION, HERE), (INSTANCE, f"{HERE}/instances/2026-07-14T18:00:00Z")]
)


def links(document: dict[str, Any], rel: str) -> list[str]:
    return [link["href"] for link in document["links"] if link["rel"] == rel]


def test_req_core_root_success() -> None:
    page = dumped(landing_page(ROOT))
    assert links(page, "service-desc") == [f"{ROOT}openapi.json"]
    assert links(page, "service-doc") == [f"{ROOT}docs"]
    assert links(page, "conformance") == [f"{ROOT}conformance"]
    assert links(page, "data") == [f"{ROOT}collections"]
    assert all(link["rel"] and link["type"] for link in page["links"])


def test_req_core_conformance_success() -> None:
    classes = dumped(conformance())["conformsTo"]
    assert classes == list(CONFORMANCE)
    assert "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/core" in classes
    assert not any("oas30" in name or "html" in name for name in classes), "not claimed: it is OpenAPI 3.1"


@BOTH
def test_req_core_rc_collection_info_links_and_rc_md_query_links(document: dict[str, Any], path: str) -> None:
    assert links(document, "self") == [path]
    assert links(document, "data") == [f"{path}/{name}" for name in ("position", "area", "cube")]
    assert all(link["rel"] and link["type"] for link in document["links"])


@BOTH
def test_req_edr_rc_collection_info(document: dict[str, Any], path: str) -> None:
    required = {"id", "links", "extent", "data_queries", "crs", "output_formats", "parameter_names"}
    assert required | {"title", "description", "keywords"} <= set(document)
    assert document["output_formats"] == ["CoverageJSON", "NetCDF"]
    assert "simulated data" in document["description"]


@BOTH
def test_req_edr_rc_data_queries_and_rc_common_variables(document: dict[str, Any], path: str) -> None:
    queries = document["data_queries"]
    for name in ("position", "area", "cube"):
        link = queries[name]["link"]
        assert (link["href"], link["rel"]) == (f"{path}/{name}", "data")
        variables = link["variables"]
        assert variables["query_type"] == name
        assert variables["default_output_format"] in variables["output_formats"] == document["output_formats"]
        assert [one["crs"] for one in variables["crs_details"]] == document["crs"] == ["CRS84", "native"]
        for one in variables["crs_details"]:
            assert CRS.from_wkt(one["wkt"])
    assert queries["cube"]["link"]["variables"]["height_units"], "/req/edr/rc-cube-variables"
    assert ("instances" in queries) == (document is COLLECTION)


@BOTH
def test_req_edr_rc_parameters(document: dict[str, Any], path: str) -> None:
    parameters = document["parameter_names"]
    assert len(parameters) == 7
    for name, parameter in parameters.items():
        assert parameter["type"] == "Parameter"
        assert parameter["id"] == name
        observed = parameter["observedProperty"]
        assert observed["id"]
        assert observed["label"]
        assert ("unit" in parameter) != ("categories" in observed)
    categories = parameters["most_likely_class"]
    assert list(categories["categoryEncoding"]) == [
        one["id"] for one in categories["observedProperty"]["categories"]
    ]
    rain = parameters["lwe_thickness_of_precipitation_amount"]
    assert rain["unit"]["symbol"] == {"value": "mm", "type": "http://www.opengis.net/def/uom/UCUM/"}
    assert rain["measurementType"] == {"method": "sum", "duration": "PT1H"}


@BOTH
def test_req_core_rc_extent(document: dict[str, Any], path: str) -> None:
    product = sample_product()
    ((west, south, east, north),) = document["extent"]["spatial"]["bbox"]
    np.testing.assert_allclose(
        [west, south, east, north],
        [
            product["longitude"].min(),
            product["latitude"].min(),
            product["longitude"].max(),
            product["latitude"].max(),
        ],
        atol=1e-5,
    )
    temporal = document["extent"]["temporal"]
    last = "2026-07-16T03:00:00Z" if document is COLLECTION else "2026-07-15T21:00:00Z"
    assert temporal["interval"] == [["2026-07-15T19:00:00Z", last]]
    assert temporal["values"]


def test_an_extent_over_the_date_line_goes_from_west_to_east() -> None:
    west, south, east, north = offer_of(sample_product(DATE_LINE)).bbox
    assert 179.0 < west < 180.0
    assert -180.0 < east < -179.0
    assert south < north
    assert list(offer_of(sample_product(DEGREES)).systems) == ["CRS84"]


def test_req_collections_and_instances() -> None:
    """rc-md-success and src-md-success: a list holds the very documents."""
    collections = dumped(
        collections_document(ROOT, [collection_document(ROOT, OFFER, REFERENCE_TIME, LATER)])
    )
    assert collections["collections"] == [COLLECTION]
    assert links(collections, "self") == [f"{ROOT}collections"]
    instances = dumped(instances_document(ROOT, [instance_document(ROOT, OFFER, REFERENCE_TIME)]))
    assert instances["instances"] == [INSTANCE]
    assert links(instances, "self") == [f"{HERE}/instances"]
    assert INSTANCE["id"] == "2026-07-14T18:00:00Z"
