"""Reads in short: ten clients for two seconds, on a small model with a cycle at work; nothing goes wrong."""

from __future__ import annotations

import itertools
import random
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_server import Server
from tests.torture.load import KOREA, Answers, Place, requests, run, table

SAMPLE = Place((125.9, 37.9, 126.1, 38.1), (2, 3))
CLIENTS = 10
KINDS = {"point", "NetCDF", "PNG", "EDR position", "WMS GetMap"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    write_artefact(tmp_path / "models")
    (tmp_path / "cycle").mkdir()
    server = Server(tmp_path, RAINPOST_INPUT_FOLDERS=str(tmp_path / "cycle"))
    server.start()
    yield server
    server.stop(signal.SIGTERM)
    server.client.close()


def test_many_reads_while_cycles_are_computed(server: Server, tmp_path: Path) -> None:
    numbers = itertools.count()

    def next_cycle() -> Sequence[Path]:
        time = REFERENCE_TIME + next(numbers) * np.timedelta64(6, "h")
        return write_cycle(tmp_path / "cycle", replaced(reference_time=time))

    (answers,) = run(server, SAMPLE, next_cycle, [CLIENTS], 1.0)
    assert answers.broken == []
    assert dict(answers.errors) == {}
    assert answers.seconds.keys() == KINDS | {"event loop"}
    assert answers.requests >= CLIENTS
    assert len(answers.cycles) >= 1
    assert "Traceback" not in server.log.read_text()


def test_clients_ask_for_everything_always_the_same() -> None:
    first, again, other = (
        list(itertools.islice(requests(KOREA, random.Random(seed)), 200)) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert {kind for kind, _, _ in first} == KINDS
    assert len({path for kind, path, _ in first if kind == "point"}) > 50, "no two look at the same point"


def test_percentiles_are_of_all_that_was_answered() -> None:
    answers = Answers(3, duration_seconds=10.0)
    answers.seconds["point"] = [0.001 * number for number in range(1, 102)]
    (cells,) = zip(*(column.cells for column in table([answers]).columns), strict=True)
    assert cells == ("3", "point", "101", "10.1", "51.0", "100.0", "101.0")
