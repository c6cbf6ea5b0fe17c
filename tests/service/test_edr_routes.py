"""OGC API - EDR over HTTP, asked by OWSLib where it can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import xarray as xr
from owslib.ogcapi.edr import EnvironmentalDataRetrieval

from service.edr_documents import COVERAGE_JSON_TYPE
from service.routes.state import NETCDF
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_edr import centre
from tests.service.sample_service import ServiceClient, problem, submit

HERE = "/collections/precipitation"
HEAVY = "class_probability_heavy_rain"


@pytest.fixture(scope="module")
def products(client: ServiceClient, tmp_path_factory: pytest.TempPathFactory) -> list[xr.Dataset]:
    """Of two cycles, the older one first; before them the service has none."""
    folder = tmp_path_factory.mktemp("cycles")
    assert client.get("/collections").json()["collections"] == []
    problem(client.get(HERE), 404, "not-found")
    found = []
    for day in (1, 2):
        paths = write_cycle(
            folder / str(day), replaced(reference_time=REFERENCE_TIME + np.timedelta64(day, "D")), day
        )
        answer = submit(client, paths)
        assert answer.status_code == 200, answer.text
        found.append(opened(answer, folder))
    return found


def opened(answer: httpx.Response, folder: Path) -> xr.Dataset:
    (folder / "answer.nc").write_bytes(answer.content)
    with xr.open_dataset(folder / "answer.nc", engine="netcdf4") as dataset:
        return dataset.load()


def name_of(product: xr.Dataset) -> str:
    return f"{product['forecast_reference_time'].values.astype('datetime64[s]')}Z"


def box_around(product: xr.Dataset, margin: float = 0.01) -> str:
    """Of all cells, by their centres, as west,south,east,north."""
    longitude, latitude = product["longitude"].values, product["latitude"].values
    edges = longitude.min(), latitude.min(), longitude.max(), latitude.max()
    return ",".join(str(edge + sign * margin) for edge, sign in zip(edges, (-1, -1, 1, 1), strict=True))


def test_a_foreign_client_finds_its_way(client: ServiceClient, products: list[xr.Dataset]) -> None:
    service = EnvironmentalDataRetrieval(str(client.base_url))
    assert "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/core" in service.conformance()["conformsTo"]
    assert service.data() == ["precipitation"]
    collection = service.collection("precipitation")
    assert collection["data_queries"]["position"]["link"][
        "href"
    ] == f"{client.base_url}{HERE}/position".replace("//collections", "/collections")
    answer = service.query_data("precipitation", "position", coords=centre(products[1], 3, 2))
    assert answer["domain"]["domainType"] == "PointSeries"
    np.testing.assert_allclose(
        answer["ranges"][HEAVY]["values"], products[1]["class_probability"][:, 2, 3, 2], atol=5.1e-7
    )


def test_the_collection_is_the_newest_cycle_and_the_instances_are_all(
    client: ServiceClient, products: list[xr.Dataset]
) -> None:
    listed = client.get(f"{HERE}/instances").json()["instances"]
    assert [one["id"] for one in listed] == [name_of(products[1]), name_of(products[0])]
    assert len(client.get(f"{HERE}/instances", params={"limit": 1}).json()["instances"]) == 1
    parameters = {"coords": centre(products[0], 3, 2), "parameter-name": HEAVY}
    newest = client.get(f"{HERE}/position", params=parameters).content
    answers = []
    for product in products:
        document = client.get(f"{HERE}/instances/{name_of(product)}").json()
        assert document in listed
        answer = client.get(document["data_queries"]["position"]["link"]["href"], params=parameters)
        heavy = product["class_probability"].values[:, 2, 3, 2]
        np.testing.assert_allclose(answer.json()["ranges"][HEAVY]["values"], heavy, atol=5.1e-7)
        answers.append(answer.content)
    assert answers[1] == newest != answers[0]
    assert client.get(f"{HERE}/instances/latest").json()["id"] == name_of(products[1])


def test_every_query_in_every_format(
    client: ServiceClient, products: list[xr.Dataset], tmp_path: Path
) -> None:
    product = products[1]
    west, south, east, north = box_around(product).split(",")
    ring = f"{west} {south},{east} {south},{east} {north},{west} {north},{west} {south}"
    cells = product.sizes["y"] * product.sizes["x"]
    for query, parameters, size in (
        ("position", {"coords": centre(product, 1, 1)}, 1),
        ("area", {"coords": f"POLYGON(({ring}))"}, cells),
        ("cube", {"bbox": box_around(product)}, cells),
        ("cube", {"bbox": box_around(product), "z": "0/10"}, cells),
    ):
        for choice, media_type in (
            ({"f": "CoverageJSON"}, COVERAGE_JSON_TYPE),
            ({"f": "netcdf"}, NETCDF),
            ({}, COVERAGE_JSON_TYPE),
        ):
            answer = client.get(f"{HERE}/{query}", params=parameters | choice)
            assert answer.headers["content-type"] == media_type
            if media_type == NETCDF:
                assert opened(answer, tmp_path)["most_likely_class"].size == 2 * size
            else:
                assert len(answer.json()["ranges"][HEAVY]["values"]) == 2 * size
    for accept, media_type in (
        (NETCDF, NETCDF),
        ("application/json", "application/json"),
        (COVERAGE_JSON_TYPE, COVERAGE_JSON_TYPE),
    ):
        answer = client.get(
            f"{HERE}/position", params={"coords": centre(product, 1, 1)}, headers={"Accept": accept}
        )
        assert answer.headers["content-type"] == media_type
    answer = client.get(
        f"{HERE}/position",
        params={"coords": centre(product, 1, 1), "f": "NetCDF"},
        headers={"Accept": COVERAGE_JSON_TYPE},
    )
    assert answer.headers["content-type"] == NETCDF


def test_time_and_plane(client: ServiceClient, products: list[xr.Dataset]) -> None:
    product = products[1]
    last = f"{product['time'].values[1].astype('datetime64[s]')}Z"
    x, y = product["x"].values, product["y"].values
    box = f"{x.min()},{y.min()},{x.max()},{y.max()}"
    answer = client.get(f"{HERE}/cube", params={"bbox": box, "crs": "native", "datetime": f"{last}/.."})
    assert answer.json()["ranges"][HEAVY]["shape"] == [1, product.sizes["y"], product.sizes["x"]]
    assert answer.json()["domain"]["axes"]["t"]["values"] == [last]


def test_req_edr_query_type_no_data(client: ServiceClient, products: list[xr.Dataset]) -> None:
    for query, parameters in (
        ("position", {"coords": "POINT(0 0)"}),
        ("area", {"coords": "POLYGON((0 0,1 0,1 1,0 0))"}),
        ("cube", {"bbox": "0,0,1,1"}),
        ("position", {"coords": centre(products[1], 1, 1), "datetime": "1999-01-01T00:00Z"}),
    ):
        answer = client.get(f"{HERE}/{query}", params=parameters)
        assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("position", "query coords"),
        ("area", "query coords"),
        ("cube", "query bbox"),
        ("area?coords=POINT(126 37)", "coords"),
        ("position?coords=POINT(126 37)&crs=EPSG:1", "crs"),
        ("position?coords=POINT(126 37)&f=html", "f"),
        ("position?coords=POINT(126 37)&parameter-name=snow", "parameter-name"),
        ("position?coords=POINT(126 37)&datetime=soon", "datetime"),
        ("cube?bbox=1", "bbox"),
    ],
)
def test_bad_queries_are_problems(
    client: ServiceClient, products: list[xr.Dataset], path: str, where: str
) -> None:
    assert problem(client.get(f"{HERE}/{path}"), 400, "bad-request")["where"] == where


def test_what_is_not_there(client: ServiceClient, products: list[xr.Dataset]) -> None:
    for path in ("instances/1999010100", "instances/1999010100/position?coords=POINT(1 1)"):
        problem(client.get(f"{HERE}/{path}"), 404, "not-found")
    problem(client.get("/collections/snow"), 404, "not-found")
    problem(
        client.get(f"{HERE}/position?coords=POINT(1 1)", headers={"Accept": "text/html"}),
        406,
        "not-acceptable",
    )


def test_the_definition_names_the_parameters(client: ServiceClient) -> None:
    """Definitions of coords, bbox, datetime, parameter-name, crs, f and z: /req/edr/...-definition."""
    paths: dict[str, Any] = json.loads(client.get("/openapi.json").text)["paths"]
    for path in (HERE, f"{HERE}/instances/{{reference_time}}"):
        for query, own in (("position", "coords"), ("area", "coords"), ("cube", "bbox")):
            parameters = {one["name"]: one for one in paths[f"{path}/{query}"]["get"]["parameters"]}
            assert parameters[own]["required"] is True
            for name in ("parameter-name", "datetime", "crs", "f", "z", "revision"):
                assert parameters[name]["required"] is False
