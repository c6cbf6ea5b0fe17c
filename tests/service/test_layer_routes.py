"""Layers and map of a product over HTTP."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from service.product import EXCEEDANCE, RAW_PRECIPITATION
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_observation import sample_rain_mm, window_of, write_dfs
from tests.service.sample_service import ServiceClient, problem, submit

DAY = np.timedelta64(1, "D")
HOUR = np.timedelta64(1, "h")
SHAPE = (2, 8, 6)


def publish(client: ServiceClient, folder: Path, day: int, scale: float = 1.0) -> tuple[str, xr.Dataset]:
    """Reference time and product of a cycle so many days after the sample's."""
    time = REFERENCE_TIME + day * DAY
    answer = submit(client, write_cycle(folder / f"{day}-{scale}", replaced(reference_time=time), scale))
    assert answer.status_code == 200, answer.text
    path = folder / f"{day}-{scale}.nc"
    path.write_bytes(answer.content)
    with xr.open_dataset(path, engine="netcdf4") as dataset:
        return f"{time}Z", dataset.load()


def observe(client: ServiceClient, folder: Path, time: str, lead: int, seed: int) -> NDArray[np.float64]:
    values = sample_rain_mm(seed)
    path = write_dfs(folder / str(seed), np.datetime64(time[:-1]) + lead * HOUR, values)
    answer = client.post("/observations", files=[("files", (path.name, path.read_bytes()))])
    assert answer.status_code == 201, answer.text
    return window_of(values)


def described(client: ServiceClient, time: str, **parameters: Any) -> dict[str, Any]:
    answer = client.get(f"/cycles/{time}/layers", params=parameters)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def fetched(
    client: ServiceClient, document: dict[str, Any], name: str
) -> tuple[NDArray[Any], httpx.Response]:
    """Values of a layer by what its document says, NaN where missing, and the answer."""
    (layer,) = [one for one in document["layers"] if one["name"] == name]
    answer = client.get(layer["href"])
    assert answer.status_code == 200, answer.text
    shape = (len(document["leads"]), document["grid"]["rows"], document["grid"]["columns"])
    integers = np.frombuffer(answer.content, np.dtype(layer["storage"]).newbyteorder("<")).reshape(shape)
    return np.where(integers == layer["missing"], np.nan, integers * layer["step"]), answer


def test_layers_are_described_and_hold_the_product(client: ServiceClient, tmp_path: Path) -> None:
    time, dataset = publish(client, tmp_path, 1)
    document = described(client, time)
    assert document["simulated"] is True
    assert document["statement"] == "A model for tests; its weights are random."
    assert document["source"] == "sample"
    assert [lead["lead_hours"] for lead in document["leads"]] == [2, 3]
    assert document["leads"][0]["valid_time"] == f"{np.datetime64(time[:-1]) + 2 * HOUR}Z"
    for name, values in (
        ("probability-0.1", dataset[EXCEEDANCE].values[0]),
        ("probability-10", dataset[EXCEEDANCE].values[1]),
        ("raw", dataset[RAW_PRECIPITATION].values),
        ("class", dataset["most_likely_class"].values),
    ):
        found, _ = fetched(client, document, name)
        (step,) = [one["step"] for one in document["layers"] if one["name"] == name]
        assert found.shape == SHAPE
        assert (np.abs(found - values) <= step).all()


def test_what_has_the_digest_is_kept_for_ever_and_what_has_not_is_asked_for(
    client: ServiceClient, tmp_path: Path
) -> None:
    time, _ = publish(client, tmp_path, 2)
    document = described(client, time)
    _, answer = fetched(client, document, "raw")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get(document["map"]).headers["cache-control"].endswith("immutable")
    for path in (f"/cycles/{time}/layers/raw", f"/cycles/{time}/layers", f"/cycles/{time}/map"):
        first = client.get(path)
        assert first.headers["cache-control"] == "no-cache"
        again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    wrong = client.get(f"/cycles/{time}/layers/raw", params={"revision": 1, "sha256": "0" * 64})
    assert problem(wrong, 404, "not-found")["where"] == "sha256"


def test_answers_come_by_gzip_where_it_is_accepted(client: ServiceClient, tmp_path: Path) -> None:
    time, _ = publish(client, tmp_path, 3)
    for path in (f"/cycles/{time}/layers/raw", f"/cycles/{time}/layers", f"/cycles/{time}/map"):
        bodies = []
        for coding in ("gzip", "identity"):
            with client.stream("GET", path, headers={"Accept-Encoding": coding}) as answer:
                assert answer.headers["vary"] == "Accept-Encoding"
                assert answer.headers.get("content-encoding") == ("gzip" if coding == "gzip" else None)
                bodies.append(b"".join(answer.iter_raw()))
        assert gzip.decompress(bodies[0]) == bodies[1]


def test_observations_lie_beside_their_leads(client: ServiceClient, tmp_path: Path) -> None:
    time, _ = publish(client, tmp_path, 4)
    document = described(client, time)
    nothing, before = fetched(client, document, "observed")
    assert np.isnan(nothing).all()
    assert [lead["observation_revision"] for lead in document["leads"]] == [None, None]

    rain_mm = observe(client, tmp_path, time, 3, seed=5)
    document = described(client, time)
    assert [lead["observation_revision"] for lead in document["leads"]] == [None, 1]
    found, after = fetched(client, document, "observed")
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], rain_mm, atol=1e-6)
    assert after.headers["etag"] != before.headers["etag"]
    assert after.headers["cache-control"] == "no-cache"

    revised_mm = observe(client, tmp_path, time, 3, seed=6)
    document = described(client, time)
    assert [lead["observation_revision"] for lead in document["leads"]] == [None, 2]
    np.testing.assert_allclose(fetched(client, document, "observed")[0][1], revised_mm, atol=1e-6)


def test_a_revision_keeps_its_own_layers(client: ServiceClient, tmp_path: Path) -> None:
    time, first = publish(client, tmp_path, 5)
    _, second = publish(client, tmp_path, 5, scale=3.0)
    for revision, dataset in ((1, first), (2, second)):
        document = described(client, time, revision=revision)
        assert document["revision"] == revision
        found, _ = fetched(client, document, "raw")
        np.testing.assert_allclose(found, dataset[RAW_PRECIPITATION].values, atol=0.0101)
    assert described(client, time)["revision"] == 2


def test_the_map_is_that_of_the_grid(client: ServiceClient, tmp_path: Path) -> None:
    time, dataset = publish(client, tmp_path, 6)
    document = described(client, time)
    lines = client.get(document["map"]).json()
    assert lines["mesh"]["rows"] == [0, 7]
    np.testing.assert_allclose(lines["mesh"]["latitude"], dataset["latitude"].values[::7, ::5], atol=1e-5)
    assert lines["land"]


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/cycles/2001-01-01T00Z/layers", 404, "not-found"),
        ("/cycles/2001-01-01T00Z/map", 404, "not-found"),
        ("/cycles/latest/layers/snow", 404, "not-found"),
        ("/cycles/latest/layers?revision=99", 404, "not-found"),
        ("/cycles/latest/layers?revision=0", 400, "bad-request"),
        ("/cycles/tomorrow/layers/raw", 400, "bad-request"),
    ],
)
def test_what_is_not_there(
    client: ServiceClient, tmp_path: Path, path: str, status: int, reason: str
) -> None:
    publish(client, tmp_path, 7)
    problem(client.get(path), status, reason)
