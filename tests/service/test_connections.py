"""Clients that send slowly, never, too much, nonsense, or that do not take their answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.service.sample_service import ServiceClient, reach, running

SECONDS = 0.5


@pytest.fixture(scope="module")
def client(service_folder: Path) -> Iterator[ServiceClient]:
    """Impatient, and with room for few."""
    with running(service_folder, receive_timeout_seconds=SECONDS, max_connections=6) as client:
        yield client


@contextmanager
def connection(client: ServiceClient) -> Iterator[socket.socket]:
    port = client.base_url.port
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as one:
        yield one


def everything(one: socket.socket) -> bytes:
    """What the service sends until it ends the connection."""
    parts = []
    try:
        while part := one.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def document(answer: bytes) -> dict[str, Any]:
    """The problem document of an answer as bytes."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head.lower()
    found: dict[str, Any] = json.loads(body)
    return found


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", b"GET /cycles HTTP/1.1\r\nHost: localhost\r\nX-Slow: "],
    ids=["none", "line", "header"],
)
def test_a_head_that_does_not_come_ends_the_connection(client: ServiceClient, sent: bytes) -> None:
    with connection(client) as one:
        one.sendall(sent)
        assert everything(one) == b""
    assert client.get("/livez").status_code == 200


def drip(one: socket.socket) -> None:
    """Send a header every now and then, and look for an end."""
    one.settimeout(0.05)
    for number in range(1000):
        one.sendall(b"X-%d: slow\r\n" % number)
        try:
            if one.recv(1) == b"":
                raise ConnectionResetError("reset")
        except TimeoutError:
            continue


def test_a_head_that_drips_ends_the_connection(client: ServiceClient) -> None:
    with connection(client) as one:
        one.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
        with pytest.raises(OSError, match=r"reset|Broken"):
            drip(one)


def test_a_second_head_that_drips_is_no_better(client: ServiceClient) -> None:
    with connection(client) as one:
        one.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while b'"alive"' not in answer:
            answer += (part := one.recv(65536))
            assert part, answer
        one.sendall(b"GET /livez HT")
        assert everything(one) == b""


def test_a_body_that_drips_gets_a_problem_and_leaves_nothing(client: ServiceClient) -> None:
    uploads = client.runtime.settings.data_folder / "work" / "uploads"
    with connection(client) as one:
        one.sendall(b"POST /correct HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nGRIB")
        answer = document(everything(one))
    assert (answer["status"], answer["reason"]) == (408, "too-slow")
    assert list(uploads.iterdir()) == []


def test_a_json_body_that_drips_too(client: ServiceClient) -> None:
    with connection(client) as one:
        one.sendall(
            b"PUT /models/active HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99\r\n\r\n{"
        )
        assert document(everything(one))["reason"] == "too-slow"


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Name: a\r\n\r\n",
        b"POST /correct HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /correct HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50 + b"\r\n\r\n",
    ],
    ids=["words", "no-host", "null", "name", "two-lengths", "negative", "long", "tls"],
)
def test_what_is_no_request_gets_a_problem(client: ServiceClient, sent: bytes) -> None:
    with connection(client) as one:
        one.sendall(sent)
        answer = document(everything(one))
    assert (answer["status"], answer["reason"]) == (400, "bad-request")


def test_a_body_that_nobody_reads_ends_the_connection(
    client: ServiceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.connections._LINGER_SECONDS", 0.2)
    with connection(client) as one:
        one.sendall(
            b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n" + b"a" * 1000
        )
        answer = everything(one)
    assert answer.startswith(b"HTTP/1.1 404 ")


def test_who_takes_no_answer_is_let_go(client: ServiceClient) -> None:
    with connection(client) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        # More answers than buffers hold.
        request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        one.sendall(request * 1000)
        port = one.getsockname()[1]
        assert is_connected(port)
        reach(lambda: not is_connected(port))


def is_connected(port: int) -> bool:
    """Whether the other side of the connection from a port of this machine is established still."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_beyond_the_limit_requests_are_told_so_and_the_others_go_on(client: ServiceClient) -> None:
    with ExitStack() as held:
        assert client.get("/livez").status_code == 200
        streams = [held.enter_context(client.stream("GET", "/events")) for _ in range(6)]
        assert all(stream.status_code == 200 for stream in streams)
        with connection(client) as one:
            one.sendall(b"GET /cycles HTTP/1.1\r\nHost: localhost\r\n\r\n")
            raw = everything(one)
        assert b"\r\nretry-after: 30\r\n" in raw
        assert document(raw)["reason"] == "unavailable"
        many = [held.enter_context(connection(client)) for _ in range(20)]
        for one in many[10:]:
            assert everything(one) == b"", "these are not even listened to"
    reach(lambda: client.get("/livez").status_code == 200)
