"""Work in processes: order, exceptions, and processes that die."""

import os
import time
from collections.abc import Iterator

import pytest
from distributed import Client

from service.errors import InputError, WorkerDied
from training.cluster import connected, in_order


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connected(2) as client:
        assert client is not None
        yield client


def slow_square(number: int) -> int:
    time.sleep(0.05 * (number % 3 == 0))
    return number * number


def deadly(number: int) -> int:
    if number == 3:
        os._exit(1)
    return -number


def wrong(number: int) -> int:
    raise InputError("not a number", where=str(number))


def test_without_workers_the_work_is_done_here() -> None:
    with connected(0) as client:
        assert client is None
        assert list(in_order(client, slow_square, range(5))) == [0, 1, 4, 9, 16]


def test_results_come_in_the_order_of_the_tasks(client: Client) -> None:
    assert list(in_order(client, slow_square, range(30))) == [number * number for number in range(30)]


def test_exceptions_are_raised(client: Client) -> None:
    with pytest.raises(InputError, match="not a number; where: 7"):
        list(in_order(client, wrong, [7]))


def test_only_what_kills_a_process_is_lost(client: Client) -> None:
    results = list(in_order(client, deadly, range(12)))
    assert isinstance(results[3], WorkerDied)
    assert "where: 3" in str(results[3])
    assert results[:3] + results[4:] == [-number for number in range(12) if number != 3]


def test_an_address_is_connected_to(client: Client) -> None:
    address = client.scheduler_info()["address"]
    with connected(0, address) as other:
        assert other is not None
        assert other.scheduler_info()["address"] == address
        assert list(in_order(other, slow_square, [5])) == [25]
