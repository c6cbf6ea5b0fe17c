"""A receiver of events: an HTTP server that notes what comes and answers as a test wants it to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.service.sample_service import reach

SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

HANG = 0
"""In place of a status: no answer, until the receiver is closed."""

DRIP = -1
"""In place of a status: a header every now and then, and never an end."""


@dataclass(frozen=True)
class Request:
    """What came. headers: names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class SampleReceiver:
    """answers: the next statuses, in their order; 204 when there are none left."""

    port: int = 0
    answers: list[int] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/events") -> str:
        """An address of this receiver."""
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def name(self) -> str:
        """As logs and metrics have it."""
        return f"127.0.0.1:{self.port}"

    def await_requests(self, count: int) -> list[Request]:
        """What came, once it is so many."""
        reach(lambda: len(self.requests) >= count)
        return self.requests[:]


@contextmanager
def receiving(*answers: int, port: int = 0) -> Iterator[SampleReceiver]:
    """A receiver at an address of its own, or at a port that was its before."""
    receiver = SampleReceiver(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = receiver.answers.pop(0) if receiver.answers else 204
            receiver.requests.append(Request(self.path, headers, self.rfile.read(length)))
            if status == HANG:
                receiver.closed.wait()
                return
            if status == DRIP:
                self._drip()
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if 300 <= status < 400:
                self.send_header("Location", receiver.url("/elsewhere"))
            self.end_headers()

        def _drip(self) -> None:
            self.wfile.write(b"HTTP/1.1 204 No Content\r\n")
            while not receiver.closed.wait(0.02):
                try:
                    self.wfile.write(b"X-Wait: yes\r\n")
                except OSError:
                    return

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="receiver")
    thread.start()
    try:
        yield receiver
    finally:
        receiver.closed.set()
        server.shutdown()
        thread.join()
        server.server_close()


def addressed(url: str) -> dict[str, str]:
    """The settings of a service that tells a receiver of its cycles."""
    return {"webhook_urls": url, "webhook_secret": SIGNING}


def free_port() -> int:
    """One at which nobody answers."""
    with receiving() as receiver:
        return receiver.port


def seconds_ago(seconds: float) -> float:
    """A moment, in seconds since 1970."""
    return time.time() - seconds
