"""The service with the sample artefact, in this process, and what tests ask it again and again."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.problems import MEDIA_TYPE
from service.runtime import Runtime
from service.server import Server
from service.settings import Settings
from tests.service.sample_artefact import write_artefact


class ServiceClient(httpx.Client):
    """A client that also knows what runs behind its address."""

    def __init__(self, port: int, runtime: Runtime) -> None:
        super().__init__(base_url=f"http://127.0.0.1:{port}", timeout=120)
        self.runtime = runtime


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[ServiceClient]:
    """A client of a service whose data and models lie in ``folder``. One at a time in a process."""
    models = folder / "models"
    if not models.exists():
        write_artefact(models)
    paths = {"models_folder": models, "data_folder": folder / "data"}
    runtime = Runtime(Settings.model_validate(paths | {"threads": 1} | settings))
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it each answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = Server(runtime)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server")
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            time.sleep(0.01)
        with ServiceClient(listener.getsockname()[1], runtime) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def submit(
    client: ServiceClient, paths: Sequence[Path], prefer: str | None = "wait=60", **parameters: str
) -> httpx.Response:
    """POST files as a multipart set; waits for the product unless told otherwise."""
    files = [("files", (path.name, path.read_bytes())) for path in paths]
    headers = {} if prefer is None else {"Prefer": prefer}
    return client.post("/correct", files=files, headers=headers, params=parameters)


def problem(response: httpx.Response, status: int, reason: str) -> dict[str, Any]:
    """The problem document of an answer, which must have this status and reason and its own form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["reason"] == reason
    assert document["type"] == f"urn:rainpost:problem:{reason}"
    assert document["title"]
    assert document["detail"]
    assert all(document.values()), "empty members are left out"
    return document


def reach(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, three minutes at most: the machine may be busy with other work."""
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


class Gate:
    """Holds every inference until it is opened."""

    def __init__(self, client: ServiceClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self._opened = threading.Event()
        self._passed = threading.Event()
        infer = client.runtime.inference.infer

        def held(values: NDArray[np.float32]) -> NDArray[np.float32]:
            assert self._opened.wait(60)
            try:
                return infer(values)
            finally:
                self._passed.set()

        monkeypatch.setattr(client.runtime.inference, "infer", held)

    def open(self) -> None:
        """Let the inference go on and wait until it is through."""
        self._opened.set()
        assert self._passed.wait(60)


def submit_held(client: ServiceClient, paths: list[Path]) -> str:
    """Submit and wait until the job stands before its inference; the path of the job."""
    job: str = submit(client, paths, prefer=None).headers["location"]
    reach(lambda: client.get(job).json()["stage"] == "infer")
    return job
