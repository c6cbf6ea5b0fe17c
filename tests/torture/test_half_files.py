"""The reader of the kill campaign: it is content with what is whole, and notices what is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.store import Store
from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import running, submit
from tests.torture.half_files import HalfFileReader


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where one cycle is published."""
    folder = tmp_path_factory.mktemp("service")
    with running(folder) as client:
        assert submit(client, write_cycle(folder / "cycle")).status_code == 200
        yield folder


@pytest.fixture
def product(folder: Path) -> Iterator[Path]:
    """The file of the product, which is put back."""
    (path,) = (folder / "data" / "products").glob("*/r1.nc")
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


def test_whole_files_are_read_once(folder: Path) -> None:
    reader = HalfFileReader(folder / "data")
    reader.look()
    reader.look()
    assert (reader.broken, reader.looks, reader.files) == ([], 2, 2)


def test_a_product_that_is_not_its_records_is_noticed(folder: Path, product: Path) -> None:
    content = product.read_bytes()
    product.write_bytes(content + b"\0")
    reader = HalfFileReader(folder / "data")
    reader.look()
    assert len(reader.broken) == 1
    product.write_bytes(content[: len(content) // 2])
    with HalfFileReader(folder / "data") as reader:
        while not reader.broken:
            pass
    assert "a reader failed" in reader.broken[0]


def test_a_cycle_that_is_published_twice_is_noticed(folder: Path) -> None:
    store = Store(folder / "data" / "products")
    record = store.record(store.latest())
    twice = record.model_copy(update={"revision": 2})
    path = store.product_path(record).with_name("r2.json")
    path.write_text(twice.model_dump_json())
    try:
        reader = HalfFileReader(folder / "data")
        reader.look()
    finally:
        path.unlink()
    assert any("published 2 times" in one for one in reader.broken)
