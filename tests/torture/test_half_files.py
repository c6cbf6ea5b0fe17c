"""The reader and the watch of the kill campaign: content with what is whole, they notice what is not."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.durability import TEMPORARY_SUFFIX, write_durably
from service.store import Store
from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import running, submit
from tests.torture.half_files import HalfFileReader
from tests.torture.published_names import watching


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


def write(path: Path) -> None:
    path.write_bytes(b"some content")


def write_in_place(path: Path, content: Callable[[Path], object]) -> None:
    content(path)


def write_and_copy(path: Path, content: Callable[[Path], object]) -> None:
    temporary = path.with_name(f"{path.name}{TEMPORARY_SUFFIX}")
    content(temporary)
    shutil.copyfile(temporary, path)


def rename_and_write(path: Path, content: Callable[[Path], object]) -> None:
    write_durably(path, lambda temporary: temporary.touch())
    content(path)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked by inotify")
@pytest.mark.parametrize(
    ("publish", "breaches"),
    [
        (write_durably, []),
        (write_in_place, ["appeared", "was written", "was open"]),
        (write_and_copy, ["appeared", "was written", "was open"]),
        (rename_and_write, ["was written", "was open"]),
    ],
)
@pytest.mark.parametrize("name", ["r1.nc", "r12.json", "r1.original", "r1.npy"])
def test_a_name_that_comes_before_its_content_is_noticed(
    tmp_path: Path, publish: Callable[..., None], breaches: list[str], name: str
) -> None:
    folder = tmp_path / "products" / "20261122T000000Z"
    with watching() as names:
        names.watch(folder)
        (folder / ".lock").touch()
        publish(folder / name, write)
        names.look()
        found = sorted(text.removeprefix(f"{folder / name} ") for text in names.broken)
        assert len(found) == len(breaches)
        assert all(text.startswith(breach) for text, breach in zip(found, sorted(breaches), strict=True))
        assert names.renames == (publish in {write_durably, rename_and_write})
        (folder / name).read_bytes()
        names.look()
        assert len(names.broken) == len(breaches), "to read is no breach"
