"""Explanations beside a product: which there are, as a layer and as a file, and bound to their product."""

from __future__ import annotations

import logging
from pathlib import Path

import httpx
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from service.explanations import MISSING, STEP, Cell, build_explanation
from service.routes.state import NETCDF
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_service import ServiceClient, problem, submit

CELL = Cell(lead_hours=3, class_name="heavy_rain", row=2, column=4)
NAME = "h003_heavy_rain_y002_x004"
DEPTHS = ("stage 1", "fusion")


def heat() -> dict[str, NDArray[np.float32]]:
    """Of the sample's window: one that rises along x, and one where nothing speaks for the class."""
    rising = np.broadcast_to(np.arange(6, dtype=np.float32) * 7, (8, 6))
    return {"stage 1": rising, "fusion": np.zeros((8, 6), np.float32)}


@pytest.fixture
def explained(client: ServiceClient, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The path of a cycle of the test's own with one explanation."""
    days = sum(map(ord, request.node.name))
    time = REFERENCE_TIME + np.timedelta64(days, "D")
    assert submit(client, write_cycle(tmp_path / "cycle", replaced(reference_time=time))).status_code == 200
    runtime = client.runtime
    record = runtime.store.record(time)
    dataset = build_explanation(runtime.shelf.dataset(record), record.sha256, CELL, heat())
    runtime.explanations.write(dataset, CELL, time)
    return f"/cycles/{time}Z"


def test_a_product_says_which_explanations_there_are(client: ServiceClient, explained: str) -> None:
    document = client.get(f"{explained}/explanations").json()
    (one,) = document["explanations"]
    place = client.get(
        f"{explained}/product", params={"lat": one["latitude"], "lon": one["longitude"]}
    ).json()
    assert (place["cell"]["row"], place["cell"]["column"]) == (CELL.row, CELL.column)
    assert one == {
        "name": NAME,
        "lead_hours": 3,
        "class_name": "heavy_rain",
        "row": 2,
        "column": 4,
        "latitude": one["latitude"],
        "longitude": one["longitude"],
        "depths": list(DEPTHS),
        "href": f"{explained}/explanations/{NAME}?revision=1",
        "file": f"{explained}/explanations/{NAME}.nc?revision=1",
    }
    assert document["sha256"] == client.get(explained).json()["revisions"][0]["sha256"]
    assert (document["step"], document["missing"]) == (STEP, MISSING)


def test_the_layer_has_the_relevance_of_every_depth(client: ServiceClient, explained: str) -> None:
    answer = client.get(f"{explained}/explanations/{NAME}")
    values = np.frombuffer(answer.content, np.uint8).reshape(2, 8, 6)
    np.testing.assert_array_equal(values[0], np.broadcast_to([0, 40, 80, 120, 160, 200], (8, 6)))
    np.testing.assert_array_equal(values[1], 0)
    again = client.get(f"{explained}/explanations/{NAME}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_file_is_a_dataset_of_its_own_that_names_its_product(
    client: ServiceClient, explained: str, tmp_path: Path
) -> None:
    answer = client.get(f"{explained}/explanations/{NAME}.nc")
    assert answer.headers["content-type"] == NETCDF
    (tmp_path / "why.nc").write_bytes(answer.content)
    product = client.get(f"{explained}/product")
    (tmp_path / "product.nc").write_bytes(product.content)
    with xr.open_dataset(tmp_path / "why.nc") as why, xr.open_dataset(tmp_path / "product.nc") as of:
        assert f'"{why.attrs["product_sha256"]}"' == product.headers["etag"]
        assert why["relevance"].dims == ("depth", "y", "x")
        np.testing.assert_allclose(why["relevance"][0, 0], np.arange(6) / 5)
        assert [str(name) for name in why["depth_name"].values] == list(DEPTHS)
        assert (int(why["lead"]), str(why["class_name"].values)) == (3, "heavy_rain")
        for name in ("x", "y", "latitude", "longitude", "forecast_reference_time"):
            np.testing.assert_array_equal(why[name], of[name])
        assert set(why["crs"].attrs) == set(of["crs"].attrs)
        np.testing.assert_array_equal(
            why["crs"].attrs["standard_parallel"], of["crs"].attrs["standard_parallel"]
        )
        assert "No forecast" in why.attrs["comment"]


def test_another_revision_has_no_part_in_it(client: ServiceClient, explained: str, tmp_path: Path) -> None:
    """The explanation is of the file that has its digest."""
    time = np.datetime64(explained.removeprefix("/cycles/").removesuffix("Z"))
    other = write_cycle(tmp_path / "other", replaced(reference_time=time), scale=0.5)
    assert submit(client, other).status_code == 200
    assert client.get(f"{explained}/explanations").json()["explanations"] == []
    problem(client.get(f"{explained}/explanations/{NAME}"), 404, "not-found")
    old = client.get(f"{explained}/explanations", params={"revision": 1}).json()["explanations"]
    assert client.get(old[0]["href"]).status_code == 200


def test_what_is_not_there_or_cannot_be_read(
    client: ServiceClient, explained: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("h003_rain_y002_x004", "..", "..%2F..%2Fr1", "H", "x" * 101):
        answer: httpx.Response = client.get(f"{explained}/explanations/{name}")
        if name != "..":
            problem(answer, 404, "not-found")
    problem(client.get(f"{explained}/explanations/absent.nc"), 404, "not-found")
    record = client.runtime.store.record(np.datetime64(explained.removeprefix("/cycles/").removesuffix("Z")))
    (path,) = (one.path for one in client.runtime.explanations.of(record))
    path.with_name("broken.nc").write_text("no NetCDF")
    with caplog.at_level(logging.WARNING):
        names = [one["name"] for one in client.get(f"{explained}/explanations").json()["explanations"]]
    assert names == [NAME]
    assert "broken.nc" in caplog.text


def test_the_same_cell_again_replaces_what_was_there(client: ServiceClient, explained: str) -> None:
    time = np.datetime64(explained.removeprefix("/cycles/").removesuffix("Z"))
    runtime = client.runtime
    record = runtime.store.record(time)
    before = client.get(f"{explained}/explanations/{NAME}")
    turned = {depth: one[:, ::-1] for depth, one in heat().items()}
    dataset = build_explanation(runtime.shelf.dataset(record), record.sha256, CELL, turned)
    runtime.explanations.write(dataset, CELL, time)
    after = client.get(f"{explained}/explanations/{NAME}")
    assert after.headers["etag"] != before.headers["etag"]
    assert after.content[:6] == before.content[:6][::-1]
    assert len(client.get(f"{explained}/explanations").json()["explanations"]) == 1
