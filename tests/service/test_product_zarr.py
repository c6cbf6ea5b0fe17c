"""Zarr stores of products, in memory and over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from service.product import RAW_PRECIPITATION, write_product
from service.product_zarr import zarr_store
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle
from tests.service.sample_product import sample_product
from tests.service.sample_service import ServiceClient, problem, submit

TIME = f"{REFERENCE_TIME.astype('datetime64[s]')}Z"


def reopened(product: xr.Dataset, folder: Path) -> xr.Dataset:
    """As the service reads it: with the encoding of the file."""
    write_product(product, folder / "product.nc")
    with xr.open_dataset(folder / "product.nc", engine="netcdf4") as dataset:
        return dataset.load()


def compare(found: xr.Dataset, product: xr.Dataset) -> None:
    """Values, dimensions and attributes; names of classes may be strings of another kind."""
    assert set(found.variables) == set(product.variables)
    for name in product.variables:
        one, other = found[name], product[name]
        assert one.dims == other.dims
        assert one.attrs.keys() == other.attrs.keys(), name
        if other.dtype.kind in "USOT":
            assert one.values.tolist() == other.values.tolist()
        else:
            np.testing.assert_array_equal(one.values, other.values, err_msg=str(name))
    assert found.attrs.keys() == product.attrs.keys()


def test_a_store_is_the_product(tmp_path: Path) -> None:
    product = reopened(sample_product(), tmp_path)
    content = zarr_store(product)
    root = json.loads(content["zarr.json"])
    assert (root["zarr_format"], root["node_type"]) == (3, "group")
    assert set(root["consolidated_metadata"]["metadata"]) == set(product.variables)
    for key, value in content.items():
        path = tmp_path / "store" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value)
    with xr.open_zarr(tmp_path / "store") as found:
        compare(found.load(), product)
    array = zarr.open_array(tmp_path / "store" / "class_probability", mode="r")
    assert array.chunks == (1, 1, *product["class_probability"].shape[2:])


def test_a_missing_lead_has_no_chunk(tmp_path: Path) -> None:
    product = sample_product()
    product[RAW_PRECIPITATION][1] = np.nan
    content = zarr_store(reopened(product, tmp_path))
    assert f"{RAW_PRECIPITATION}/c/0/0/0" in content
    assert f"{RAW_PRECIPITATION}/c/1/0/0" not in content


@pytest.fixture(scope="module")
def product(client: ServiceClient, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """The product of a cycle as it lies on disk."""
    answer = submit(client, write_cycle(tmp_path_factory.mktemp("cycle")))
    assert answer.status_code == 200, answer.text
    store = client.runtime.store
    with xr.open_dataset(store.product_path(store.record(REFERENCE_TIME))) as dataset:
        return dataset.load()


def test_xarray_opens_an_address(client: ServiceClient, product: xr.Dataset) -> None:
    address = f"{str(client.base_url).rstrip('/')}/cycles/{TIME}/revisions/1.zarr"
    with xr.open_zarr(address) as found:
        compare(found.load(), product)


def test_what_is_not_there(client: ServiceClient, product: xr.Dataset) -> None:
    store = f"/cycles/{TIME}/revisions/1.zarr"
    assert problem(client.get(f"{store}/snow/zarr.json"), 404, "not-found")["where"] == "snow/zarr.json"
    problem(client.get(f"{store}/../1.zarr/.zgroup"), 404, "not-found")
    problem(client.get(f"/cycles/{TIME}/revisions/9.zarr/zarr.json"), 404, "not-found")
    problem(client.get("/cycles/latest/revisions/1.zarr/zarr.json"), 400, "bad-request")
    assert client.put(f"{store}/zarr.json", content=b"{}").status_code == 405
