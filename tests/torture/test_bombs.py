"""Bombs over HTTP: a real service refuses each with a reason, within its memory, and works on beside it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_server import Server, children
from tests.service.sample_service import reach
from tests.torture.bombs import (
    grib_of_a_billion_points,
    netcdf_in_one_chunk,
    netcdf_of_many_gigabytes,
    zip_of_zeros,
)
from tests.torture.memory import peak_bytes

MEBIBYTE = 1024**2
DECODING_BYTES = 512 * MEBIBYTE
SERVICE_GROWTH_BYTES = 150 * MEBIBYTE

BOMBS = {
    "a NetCDF4 file of 28.8 GB": ("wrong-grid",),
    "a NetCDF4 file in one chunk": ("worker-died", "truncated-file", "wrong-grid", "missing-lead"),
    "a GRIB2 message of 10^9 points": ("wrong-grid",),
    "a zip file": ("unrecognised-format",),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With two jobs at once, and the least memory for decoding that may be set."""
    folder = tmp_path_factory.mktemp("service")
    write_artefact(folder / "models")
    server = Server(folder, RAINPOST_JOBS_AT_ONCE="2", RAINPOST_DECODE_MEMORY_BYTES=str(DECODING_BYTES))
    server.start()
    try:
        # What a sound cycle needs comes before what a bomb may not.
        assert server.post(write_cycle(folder / "first"), "wait=120").status_code == 200
        yield server
    finally:
        server.stop(signal.SIGTERM)
        server.client.close()


def content_of(name: str, folder: Path) -> bytes:
    match name:
        case "a NetCDF4 file of 28.8 GB":
            return netcdf_of_many_gigabytes(folder / "wide.nc").read_bytes()
        case "a NetCDF4 file in one chunk":
            return netcdf_in_one_chunk(folder / "chunk.nc").read_bytes()
        case "a zip file":
            return zip_of_zeros()
    return grib_of_a_billion_points()


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_its_own_job_alone(server: Server, tmp_path: Path, name: str) -> None:
    content = content_of(name, tmp_path)
    assert len(content) < 4 * MEBIBYTE
    before = peak_bytes(server.process.pid)
    answer = server.client.post("/correct", content=content)
    days = (1 + list(BOMBS).index(name)) * np.timedelta64(1, "D")
    sound = server.post(
        write_cycle(tmp_path / "sound", replaced(reference_time=REFERENCE_TIME + days)), "wait=120"
    )
    assert sound.status_code == 200, sound.text

    problem = answer.json() if answer.is_error else ended(server, answer.headers["location"])
    assert problem["reason"] in BOMBS[name]
    assert 400 <= problem["status"] < 500
    assert problem["detail"]
    assert peak_bytes(server.process.pid) - before < SERVICE_GROWTH_BYTES
    workers = [peak_bytes(child) for child in children(server.process.pid)]
    assert max(workers) < DECODING_BYTES + 256 * MEBIBYTE
    assert server.client.get("/readyz").is_success


def ended(server: Server, job: str) -> dict[str, Any]:
    """The problem of a job that must fail."""
    document: dict[str, Any] = {}

    def finished() -> bool:
        document.update(server.client.get(job).json())
        return document["state"] in {"succeeded", "failed"}

    reach(finished)
    problem: dict[str, Any] = document["problem"]
    return problem
