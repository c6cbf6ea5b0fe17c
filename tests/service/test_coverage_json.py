"""CoverageJSON, read back as the specification says and compared with the product."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from covjson_pydantic.coverage import Coverage
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from service.coverage_json import coverage_json
from service.edr_query import Sample
from service.geometry import cells_of_box
from service.product import EXCEEDANCE, NO_CLASS, RAW_PRECIPITATION
from service.product_coordinates import product_grid
from tests.service.sample_edr import cells_around, point_sample, sample
from tests.service.sample_product import DEGREES, sample_product

HEAVY = "class_probability_heavy_rain"


def written(part: Sample) -> dict[str, Any]:
    """The document, which a reader of CoverageJSON takes."""
    content = coverage_json(part)
    Coverage.model_validate_json(content)
    document: dict[str, Any] = json.loads(content)
    return document


def values_of(document: dict[str, Any], name: str) -> NDArray[np.float64]:
    """In the shape of its axes, NaN for null."""
    array = document["ranges"][name]
    numbers = [np.nan if one is None else one for one in array["values"]]
    return np.array(numbers, np.float64).reshape(array["shape"])


def test_a_point_is_a_series() -> None:
    product = sample_product()
    document = written(point_sample(product, 4, 9))
    domain = document["domain"]
    assert domain["domainType"] == "PointSeries"
    assert domain["axes"]["x"]["values"] == [round(float(product["longitude"][4, 9]), 5)]
    assert domain["axes"]["y"]["values"] == [round(float(product["latitude"][4, 9]), 5)]
    assert domain["axes"]["t"]["values"] == [f"2026-07-15T{hour}:00:00Z" for hour in (19, 20, 21)]
    assert domain["axes"]["t"]["bounds"][:2] == ["2026-07-15T18:00:00Z", "2026-07-15T19:00:00Z"]
    systems = {tuple(one["coordinates"]): one["system"] for one in domain["referencing"]}
    assert systems["x", "y"]["id"] == "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
    assert systems["t",] == {"type": "TemporalRS", "calendar": "Gregorian"}
    assert set(document["ranges"]) == set(document["parameters"])
    assert len(document["ranges"]) == 7
    here = product.isel(y=4, x=9)
    np.testing.assert_allclose(
        values_of(document, HEAVY)[:, 0, 0], here["class_probability"][:, 2], atol=5.1e-7, rtol=0
    )
    np.testing.assert_allclose(
        values_of(document, f"{EXCEEDANCE}_0.1_mm")[:, 0, 0], here[EXCEEDANCE][0], atol=5.1e-7, rtol=0
    )
    assert (
        values_of(document, "most_likely_class")[:, 0, 0].tolist()
        == here["most_likely_class"].values.tolist()
    )
    parameter = document["parameters"]["most_likely_class"]
    assert parameter["categoryEncoding"] == {"no_rain": 0, "rain": 1, "heavy_rain": 2}
    assert "unit" not in parameter
    assert document["parameters"][RAW_PRECIPITATION]["unit"]["symbol"]["value"] == "mm"
    assert document["comment"].startswith("The model was trained on simulated data")
    assert document["model"] == "sample-1.2.3"


def test_cells_of_a_projected_grid_are_points_in_degrees() -> None:
    product = sample_product()
    cells = cells_around(product, slice(3, 6), slice(2, 5))
    document = written(sample(product, cells, HEAVY, leads=(1,)))
    assert document["domain"]["domainType"] == "MultiPointSeries"
    composite = document["domain"]["axes"]["composite"]
    assert (composite["dataType"], composite["coordinates"]) == ("tuple", ["x", "y"])
    place = cells.rows, cells.columns
    expected = np.stack([product["longitude"].values[place], product["latitude"].values[place]], axis=1)
    np.testing.assert_allclose(np.array(composite["values"]), expected, atol=5.1e-6, rtol=0)
    assert document["ranges"][HEAVY]["axisNames"] == ["t", "composite"]
    heavy = product["class_probability"].values[1, 2][place]
    np.testing.assert_allclose(values_of(document, HEAVY)[0], heavy, atol=5.1e-7, rtol=0)


def test_the_own_plane_is_a_grid_and_says_which() -> None:
    product = sample_product()
    x, y = product["x"].values, product["y"].values
    box = f"{x[2]},{y[3]},{x[5]},{y[4]}"
    cells = cells_of_box(product_grid(product), box, "native")
    document = written(sample(product, cells, HEAVY, system="native"))
    domain = document["domain"]
    assert domain["domainType"] == "Grid"
    np.testing.assert_allclose(domain["axes"]["x"]["values"], x[2:6], atol=1e-3)
    np.testing.assert_allclose(domain["axes"]["y"]["values"], y[3:5], atol=1e-3)
    assert document["ranges"][HEAVY]["axisNames"] == ["t", "y", "x"]
    heavy = product["class_probability"].values[:, 2, 3:5, 2:6]
    np.testing.assert_allclose(values_of(document, HEAVY), heavy, atol=5.1e-7, rtol=0)
    system = domain["referencing"][0]["system"]
    assert system["type"] == "ProjectedCRS"
    plane = CRS.from_wkt(system["wkt"])
    assert plane.geodetic_crs is not None
    back = Transformer.from_crs(plane, plane.geodetic_crs, always_xy=True)
    longitude, latitude = back.transform(x[2], y[3])
    np.testing.assert_allclose([longitude, latitude], [product["longitude"][3, 2], product["latitude"][3, 2]])


def test_degrees_are_a_grid_whose_cells_outside_are_null() -> None:
    product = sample_product(DEGREES)
    cells = cells_around(product, slice(3, 6), slice(2, 5))
    cells = type(cells)(cells.rows[1:], cells.columns[1:])
    document = written(sample(product, cells, HEAVY, leads=(0,)))
    assert document["domain"]["domainType"] == "Grid"
    values = values_of(document, HEAVY)[0]
    assert np.argwhere(np.isnan(values)).tolist() == [[0, 0]]
    assert (
        document["domain"]["axes"]["y"]["values"] == np.round(product["latitude"].values[3:6, 2], 5).tolist()
    )


@pytest.mark.parametrize("name", [HEAVY, "most_likely_class", RAW_PRECIPITATION])
def test_a_missing_lead_is_null_and_never_zero(name: str) -> None:
    product = sample_product()
    product["lead_status"][1] = 0
    for variable, missing in (
        ("class_probability", np.nan),
        (RAW_PRECIPITATION, np.nan),
        ("most_likely_class", NO_CLASS),
    ):
        product[variable][1] = missing
    document = written(point_sample(product, 4, 9, name))
    values = document["ranges"][name]["values"]
    assert values[1] is None
    assert None not in (values[0], values[2])
    assert len(document["domain"]["axes"]["t"]["values"]) == 3
