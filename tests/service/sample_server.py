"""``rainpost serve`` as a process of its own, on a data folder that outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.service.sample_service import reach


class Server:
    """``rainpost serve``. settings: by the names of their variables, besides folders, port and threads.

    arguments: what Python is started with.
    """

    arguments: tuple[str, ...] = ("-m", "service", "serve")

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120)
        self.log = folder / f"{self.port}.log"
        self.process: subprocess.Popen[bytes]

        self.settings = {
            "RAINPOST_MODELS_FOLDER": str(self.folder / "models"),
            "RAINPOST_DATA_FOLDER": str(self.folder / "data"),
            "RAINPOST_PORT": str(self.port),
            "RAINPOST_THREADS": "1",
            **settings,
        }

    def start(self) -> None:
        """Run it and wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments], env=os.environ | self.settings, stderr=log
            )
        reach(lambda: self._is_ready() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    def stop(self, number: signal.Signals) -> int:
        """End it; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def workers(self) -> list[int]:
        """The processes that decode, as many as there are jobs at once."""
        count = int(self.settings.get("RAINPOST_JOBS_AT_ONCE", "1"))
        found: list[int] = []

        def look() -> bool:
            found[:] = [
                child
                for child in children(self.process.pid)
                if b"--multiprocessing-fork" in command_line(child)
            ]
            return len(found) == count

        reach(look)
        return found

    def post(self, paths: Sequence[Path], prefer: str) -> httpx.Response:
        """Submit files."""
        files = [("files", (path.name, path.read_bytes())) for path in paths]
        return self.client.post("/correct", files=files, headers={"Prefer": prefer})

    def post_held(self, *cycles: Sequence[Path]) -> tuple[list[int], list[str]]:
        """Submit cycles while the workers stand still; their processes and the paths of the jobs."""
        workers = self.workers()
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        jobs: list[str] = [self.post(paths, "wait=0").headers["location"] for paths in cycles]
        reach(lambda: all(self.client.get(job).json()["stage"] == "decode" for job in jobs))
        return workers, jobs

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
