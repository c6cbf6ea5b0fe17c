"""The real server process: killed at work, and what it refuses at its start."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import write_cycle


def reach(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until the condition holds, unless the process ends."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        assert process is None or process.poll() is None, "the server ended"
        time.sleep(0.02)


class Server:
    """``rainpost serve`` on a data folder that outlives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120)
        self.log = folder / f"{self.port}.log"
        self.process: subprocess.Popen[bytes]

    def command(self) -> subprocess.Popen[bytes]:
        """Run it."""
        settings = {
            "RAINPOST_MODELS_FOLDER": str(self.folder / "models"),
            "RAINPOST_DATA_FOLDER": str(self.folder / "data"),
            "RAINPOST_PORT": str(self.port),
            "RAINPOST_THREADS": "1",
        }
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "service", "serve"], env=os.environ | settings, stderr=log
            )

    def start(self) -> None:
        """Run it and wait until it is ready."""
        self.process = self.command()
        reach(self._is_ready, self.process)

    def stop(self, number: signal.Signals) -> int:
        """End it; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def worker(self) -> int:
        """The process that decodes."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [
                child
                for child in children(self.process.pid)
                if b"--multiprocessing-fork" in command_line(child)
            ]
            return len(found) == 1

        reach(look, self.process)
        return found[0]

    def post(self, paths: list[Path], prefer: str) -> httpx.Response:
        """Submit files."""
        files = [("files", (path.name, path.read_bytes())) for path in paths]
        return self.client.post("/correct", files=files, headers={"Prefer": prefer})

    def post_held(self, paths: list[Path]) -> tuple[int, str]:
        """Submit files while the worker stands still; its process and the path of the job."""
        worker = self.worker()
        os.kill(worker, signal.SIGSTOP)
        job: str = self.post(paths, "wait=0").headers["location"]
        reach(lambda: bool(self.client.get(job).json()["stage"] == "decode"))
        return worker, job

    def _is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").is_success
        except httpx.TransportError:
            return False


def children(process: int) -> list[int]:
    """Child processes, started by any thread."""
    return [
        int(child)
        for tasks in Path(f"/proc/{process}/task").glob("*/children")
        for child in tasks.read_text().split()
    ]


def command_line(process: int) -> bytes:
    """Arguments of a process, empty once it is gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the module; a test that ends it starts it again."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc to find the worker process")
    folder = tmp_path_factory.mktemp("server")
    write_artefact(folder / "models")
    server = Server(folder)
    server.start()
    yield server
    if server.process.poll() is None:
        server.stop(signal.SIGKILL)
    server.client.close()


def test_a_decoder_that_dies_fails_its_job_alone(server: Server, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path)
    worker, job = server.post_held(paths)
    os.kill(worker, signal.SIGKILL)
    reach(lambda: bool(server.client.get(job).json()["state"] == "failed"))
    assert server.client.get(job).json()["problem"]["reason"] == "worker-died"
    assert server.client.get("/cycles").json() == {"cycles": []}
    again = server.post(paths, "wait=60")
    assert again.status_code == 200, again.text
    assert again.headers["location"] == job


def test_a_job_survives_the_death_of_the_server(server: Server, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path, scale=2.0)
    worker, job = server.post_held(paths)
    server.stop(signal.SIGKILL)
    os.kill(worker, signal.SIGCONT)
    reach(lambda: command_line(worker) == b"")
    server.start()
    answer = server.post(paths, "wait=60")
    assert answer.status_code == 200, answer.text
    assert answer.headers["location"] == job
    document = server.client.get("/cycles/latest").json()
    assert [revision["revision"] for revision in document["revisions"]] == [1, 2]
    assert list((server.folder / "data" / "work" / "jobs").iterdir()) == []


def test_a_second_server_on_the_same_data_is_refused(server: Server) -> None:
    other = Server(server.folder)
    other.client.close()
    assert other.command().wait(timeout=60) == 1
    log = other.log.read_text()
    assert "another service process uses this data folder" in log
    assert "Traceback" not in log
    assert server.client.get("/readyz").is_success


def test_a_stop_is_clean(server: Server) -> None:
    worker = server.worker()
    assert server.stop(signal.SIGTERM) in {0, -signal.SIGTERM}
    assert "Traceback" not in server.log.read_text()
    assert command_line(worker) == b""
