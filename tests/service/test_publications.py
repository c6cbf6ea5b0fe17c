"""Listeners learn what is published, by whom and whenever."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from service.expiry import expire
from service.publications import Publication, Publications

POLL_SECONDS = 0.01
OLD, NEW = "20261122T000000Z", "20261122T060000Z"


def publish(folder: Path, name: str, revision: int) -> None:
    """As the stores do: the content, then the record by a rename."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / f"r{revision}.nc").touch()
    (folder / name / ".record.tmp").touch()
    (folder / name / ".record.tmp").rename(folder / name / f"r{revision}.json")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Of products and observations, with a product that was there before."""
    products, observations = tmp_path / "products", tmp_path / "observations"
    observations.mkdir()
    publish(products, OLD, 1)
    return products, observations


def play(folders: tuple[Path, Path], scene: Callable[[Publications], Awaitable[None]]) -> None:
    products, observations = folders
    publications = Publications({"published": products, "observed": observations}, POLL_SECONDS)
    asyncio.run(asyncio.wait_for(scene(publications), 60))


def test_what_is_published_is_told_once_and_what_was_there_is_not(folders: tuple[Path, Path]) -> None:
    products, observations = folders

    async def scene(publications: Publications) -> None:
        async with publications.listener() as queue:
            publish(products, NEW, 1)
            assert await queue.get() == Publication("published", "2026-11-22T06:00:00Z", 1)
            publish(products, OLD, 2)
            assert await queue.get() == Publication("published", "2026-11-22T00:00:00Z", 2)
            publish(observations, OLD, 1)
            assert await queue.get() == Publication("observed", "2026-11-22T00:00:00Z", 1)
            await asyncio.sleep(5 * POLL_SECONDS)
            assert queue.empty()

    play(folders, scene)


def test_a_product_without_a_record_is_not_published(folders: tuple[Path, Path]) -> None:
    products, _ = folders

    async def scene(publications: Publications) -> None:
        async with publications.listener() as queue:
            (products / NEW).mkdir()
            (products / NEW / "r1.nc").touch()
            (products / "notes").mkdir()
            await asyncio.sleep(5 * POLL_SECONDS)
            assert queue.empty()
            publish(products, NEW, 1)
            assert (await queue.get()) == Publication("published", "2026-11-22T06:00:00Z", 1)

    play(folders, scene)


def test_what_comes_again_after_it_expired_is_told_again(folders: tuple[Path, Path]) -> None:
    products, _ = folders

    async def scene(publications: Publications) -> None:
        async with publications.listener() as queue:
            expire(products / OLD)
            await asyncio.sleep(5 * POLL_SECONDS)
            publish(products.parent, OLD, 1)
            (products / OLD).rename(products / ".removed-1")
            (products.parent / OLD).rename(products / OLD)
            assert await queue.get() == Publication("published", "2026-11-22T00:00:00Z", 1)

    play(folders, scene)


def test_every_listener_is_told_and_nobody_looks_without_one(folders: tuple[Path, Path]) -> None:
    products, _ = folders

    async def scene(publications: Publications) -> None:
        async with publications.listener() as first, publications.listener() as second:
            assert publications.listeners == 2
            publish(products, NEW, 1)
            assert await first.get() == await second.get()
        assert publications.listeners == 0
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 2, "this scene and its time limit"
        publish(products, NEW, 2)
        async with publications.listener() as third:
            publish(products, NEW, 3)
            publication = await third.get()
            assert publication is not None
            assert publication.revision == 3

    play(folders, scene)


def test_a_store_that_cannot_be_read_is_looked_at_again(folders: tuple[Path, Path]) -> None:
    products, _ = folders

    async def scene(publications: Publications) -> None:
        async with publications.listener() as queue:
            moved = products.with_name("moved")
            products.rename(moved)
            await asyncio.sleep(5 * POLL_SECONDS)
            moved.rename(products)
            publish(products, NEW, 1)
            assert await queue.get() == Publication("published", "2026-11-22T06:00:00Z", 1)

    play(folders, scene)


def test_a_cycle_that_is_removed_is_no_news(folders: tuple[Path, Path]) -> None:
    products, _ = folders

    async def scene(publications: Publications) -> None:
        async with publications.listener() as queue:
            shutil.rmtree(products / OLD)
            publish(products, NEW, 1)
            assert await queue.get() == Publication("published", "2026-11-22T06:00:00Z", 1)

    play(folders, scene)


def test_a_listener_that_does_not_listen_is_let_go(folders: tuple[Path, Path]) -> None:
    products, _ = folders

    async def scene(publications: Publications) -> None:
        async with publications.listener() as lazy:
            for revision in range(1, 400):
                publish(products, NEW, revision)
            while lazy.qsize() != 1:
                await asyncio.sleep(POLL_SECONDS)
            assert await lazy.get() is None

    play(folders, scene)


def test_closing_ends_all_listeners(folders: tuple[Path, Path]) -> None:
    async def scene(publications: Publications) -> None:
        async with publications.listener() as queue:
            publications.close()
            assert await queue.get() is None
        async with publications.listener() as late:
            assert await late.get() is None

    play(folders, scene)


def test_who_goes_before_the_first_look_is_forgotten(folders: tuple[Path, Path]) -> None:
    async def listen(publications: Publications) -> None:
        async with publications.listener():
            pytest.fail("it went before")

    async def scene(publications: Publications) -> None:
        gone = asyncio.create_task(listen(publications))
        await asyncio.sleep(0)
        assert publications.listeners == 1
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert publications.listeners == 0

    play(folders, scene)
