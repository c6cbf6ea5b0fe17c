"""An object store of the tests' own that speaks S3 on loopback, and may be out of order for a while."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class ObjectStore:
    """moto's server. requests: method, path and query of all that it was asked.

    bucket: of this store alone; moto keeps what it stores for as long as the process lives.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._application: Any = DomainDispatcherApplication(create_backend_app)
        self.bucket = f"rainpost-{uuid.uuid4().hex}"
        self.requests: list[tuple[str, str, str]] = []
        self._left: int | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        """Answer at an address that stays the same; what was stored is still there."""
        from werkzeug.serving import make_server

        self._left = None
        self._server = make_server("127.0.0.1", self.port, self._answer, threaded=True)
        self.port = self._server.port
        self._thread = threading.Thread(target=self._server.serve_forever, name="object-store")
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fail_after(self, requests: int) -> None:
        """Answer so many further requests, and all others with a fault, until the next start."""
        self._left = requests

    def listings(self) -> list[str]:
        """Queries of the listings that it was asked for since the last call, which forgets all requests."""
        found = [query for method, _, query in self.requests if method == "GET" and "list-type=2" in query]
        self.requests.clear()
        return found

    def _answer(self, environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = [str(environment.get(name, "")) for name in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING")]
        self.requests.append((asked[0], asked[1], asked[2]))
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                start_response("503 Service Unavailable", [("Content-Length", "0")])
                return [b""]
        answer: Iterable[bytes] = self._application(environment, start_response)
        return answer


@contextmanager
def object_store(patch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A store that s3:// leads to, with an empty bucket; skips where its packages are not installed."""
    for package in ("moto", "flask_cors", "s3fs"):
        pytest.importorskip(package, reason="the S3 packages of the extra `test` are not installed")
    import s3fs

    store = ObjectStore()
    settings = {"ENDPOINT_URL": f"http://127.0.0.1:{store.port}", "DEFAULT_REGION": "us-east-1"}
    for name, value in (settings | {"ACCESS_KEY_ID": "tests", "SECRET_ACCESS_KEY": "tests"}).items():
        patch.setenv(f"AWS_{name}", value)
    # What fails may fail at once.
    patch.setenv("AWS_MAX_ATTEMPTS", "1")
    patch.setattr(s3fs.S3FileSystem, "retries", 1)
    try:
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir(store.bucket)
        yield store
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        store.stop()
