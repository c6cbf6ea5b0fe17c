"""Products as clients open them by their address, without a download of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr

from service.routes.state import NETCDF
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle
from tests.service.sample_service import ServiceClient, problem, submit

TIME = f"{REFERENCE_TIME}Z"
FILE = f"/cycles/{TIME}/revisions/1.nc"


@pytest.fixture(scope="module")
def product(client: ServiceClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[xr.Dataset]:
    """The product of a cycle as it lies on disk."""
    assert submit(client, write_cycle(tmp_path_factory.mktemp("cycle"))).status_code == 200
    store = client.runtime.store
    with xr.open_dataset(store.product_path(store.record(REFERENCE_TIME))) as dataset:
        yield dataset.load()


@pytest.mark.parametrize("path", [FILE, f"/cycles/{TIME}/product?revision=1", "/cycles/latest/product"])
def test_xarray_opens_an_address_and_reads_parts_of_it(
    client: ServiceClient, product: xr.Dataset, path: str
) -> None:
    with xr.open_dataset(f"{client.base_url}{path}#mode=bytes") as opened:
        xr.testing.assert_identical(opened.isel(lead=1).load(), product.isel(lead=1))


def test_fsspec_keeps_a_copy(client: ServiceClient, product: xr.Dataset, tmp_path: Path) -> None:
    address = f"filecache::{client.base_url}{FILE}"
    copy = fsspec.open_local(address, filecache={"cache_storage": str(tmp_path), "same_names": True})
    assert Path(copy).name == "1.nc"
    with xr.open_dataset(copy) as opened:
        xr.testing.assert_identical(opened.load(), product)


@pytest.mark.usefixtures("product")
@pytest.mark.parametrize("path", [FILE, f"/cycles/{TIME}/product", "/cycles/latest/product"])
def test_the_head_of_a_file_tells_its_size_and_that_it_comes_in_parts(
    client: ServiceClient, path: str
) -> None:
    head, whole = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "accept-ranges", "last-modified"):
        assert head.headers[name] == whole.headers[name]
    assert head.headers.get("vary") == whole.headers.get("vary")
    assert head.headers["accept-ranges"] == "bytes"
    assert int(head.headers["content-length"]) == len(whole.content)
    assert whole.headers["content-type"] == NETCDF


@pytest.mark.usefixtures("product")
def test_parts_of_a_file_are_those_of_the_whole(client: ServiceClient) -> None:
    whole = client.get(FILE).content
    part = client.get(FILE, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    tail = client.get(FILE, headers={"Range": "bytes=-16"})
    assert (tail.status_code, tail.content) == (206, whole[-16:])
    problem(client.get(FILE, headers={"Range": f"bytes={len(whole)}-"}), 416, "http-416")


def test_a_file_is_for_ever_under_its_own_name_alone(client: ServiceClient, product: xr.Dataset) -> None:
    del product
    document = client.get(f"/cycles/{TIME}").json()["revisions"][-1]
    assert document["file"] == FILE
    answer = client.get(FILE)
    assert answer.headers["etag"] == f'"{document["sha256"]}"'
    assert "immutable" in answer.headers["cache-control"]
    again = client.get(FILE, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    newest = client.get("/cycles/latest/revisions/1.nc")
    assert newest.content == answer.content
    assert newest.headers["cache-control"] == "no-cache"


def test_files_that_are_not_there(client: ServiceClient, product: xr.Dataset) -> None:
    assert np.isfinite(product["class_probability"]).all()
    problem(client.get(f"/cycles/{TIME}/revisions/9.nc"), 404, "not-found")
    problem(client.get(f"/cycles/{TIME}/revisions/0.nc"), 400, "bad-request")
    problem(client.get("/cycles/1999010100/revisions/1.nc"), 404, "not-found")
    assert client.head("/cycles/1999010100/revisions/1.nc").status_code == 404
