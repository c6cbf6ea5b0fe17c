"""Requests by somebody who means harm: to a real service, over HTTP."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import ServiceClient, problem, running

SECRET = "what nobody outside may read"  # noqa: S105 - not one


@pytest.fixture(scope="module")
def client(service_folder: Path) -> Iterator[ServiceClient]:
    """With an inbox that holds ways out of it."""
    inbox = service_folder / "inbox"
    (service_folder / "secret.gb2").write_text(SECRET)
    (service_folder / "outside").mkdir()
    (service_folder / "outside" / "file.gb2").write_text(SECRET)
    (inbox / "folder").mkdir()
    (inbox / "link.gb2").symlink_to(service_folder / "secret.gb2")
    (inbox / "way-out").symlink_to(service_folder / "outside")
    (inbox / "ring").symlink_to(inbox / "ring")
    (inbox / "zeros").symlink_to("/dev/zero")
    os.mkfifo(inbox / "pipe")
    # A folder whose name only begins like that of the allowed one.
    (service_folder / "inbox-of-others").mkdir()
    (service_folder / "inbox-of-others" / "file.gb2").write_text(SECRET)
    with running(service_folder, input_folders=(inbox,), max_queued_jobs=10, requests_per_minute=0) as client:
        yield client


OUTSIDE = (
    "{folder}/secret.gb2",
    "{inbox}/link.gb2",
    "{inbox}/way-out/file.gb2",
    "{inbox}/zeros",
    "{inbox}/../secret.gb2",
    "{inbox}/folder/../../secret.gb2",
    "{folder}/inbox-of-others/file.gb2",
    "file://{folder}/secret.gb2",
    "file://localhost{folder}/secret.gb2",
    "file://{inbox}/%2e%2e/secret.gb2",
    "file://{inbox}/..%2Fsecret.gb2",
    "/etc/passwd",
    "//etc/passwd",
    "/proc/self/environ",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "file://other.example.org{inbox}/folder",
    "http://127.0.0.1:{port}/metrics",
    "http://169.254.169.254/latest/meta-data/",
    "https://[::1]/",
    "ftp://127.0.0.1/x",
    "gopher://127.0.0.1:6379/_",
    "s3://bucket/key",
    "netdoc:///etc/passwd",
    "relative/path",
    "",
)


@pytest.mark.parametrize("uri", OUTSIDE)
def test_a_reference_reaches_nothing_outside_the_allowed_folders(client: ServiceClient, uri: str) -> None:
    folder = client.runtime.settings.input_folders[0].parent
    named = uri.format(folder=folder, inbox=folder / "inbox", port=client.base_url.port)
    answer = client.post("/correct", json={"inputs": [{"uri": named}]})
    problem(answer, 403, "forbidden-input")
    assert SECRET not in answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("name", ["pipe", "ring", "folder", "missing", "a" * 300, "nul%00byte"])
def test_what_is_no_file_inside_is_refused_at_once(client: ServiceClient, name: str) -> None:
    inbox = client.runtime.settings.input_folders[0]
    problem(client.post("/correct", json={"inputs": [{"uri": f"file://{inbox}/{name}"}]}), 400, "bad-request")


def test_outside_the_answer_does_not_tell_what_is_there(client: ServiceClient) -> None:
    folder = client.runtime.settings.input_folders[0].parent

    def ask(path: Path) -> dict[str, Any]:
        answer = client.post("/correct", json={"inputs": [{"uri": str(path)}]})
        return {
            name: value for name, value in problem(answer, 403, "forbidden-input").items() if name != "where"
        }

    assert ask(folder / "secret.gb2") == ask(folder / "not-there.gb2") == ask(folder / "outside")


def test_nobody_was_called(client: ServiceClient) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(0.2)
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}/file"
        for body in ({"inputs": [{"uri": uri}]}, {"inputs": [{"uri": f"file:{uri[5:]}"}]}):
            assert client.post("/correct", json=body).status_code == 403
        with pytest.raises(TimeoutError):
            listener.accept()


PATHS = (
    "/page/..%2f..%2fsettings.py",
    "/page/%2e%2e%2fsettings.py",
    "/page/..%5c..%5csettings.py",
    "/page/%00",
    "/page//etc/passwd",
    "/page/__init__.py",
    "/page/../settings.py",
    "/cycles/..%2f..%2f..%2fsecret/product",
    "/cycles/%2e%2e/product",
    "/cycles/%00/product",
    "/cycles/" + "9" * 5000 + "/product",
    "/cycles/2026-11-22T00Z%0d%0aX-Injected:%20yes/product",
    "/jobs/..%2f..%2fidentity",
    "/jobs/%00",
    "/jobs/" + "a" * 5000,
    "/cycles/2026112200/layers/..%2f..%2fx",
)


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out_of_the_service(client: ServiceClient, path: str) -> None:
    with closing(socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=60)) as one:
        # As it is: a client of HTTP would tidy it up.
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := one.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] in {b"400", b"404", b"422"}, head
    assert b"application/problem+json" in head
    assert b"x-injected" not in head.lower()
    assert SECRET.encode() not in body
    assert b"BaseSettings" not in body


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped.gb2",
        "/escaped.gb2",
        "..\\..\\escaped.gb2",
        ".escaped.gb2",
        "%2e%2e%2fescaped.gb2",
        "a\x07b.gb2",
    ],
)
def test_a_file_name_leads_nowhere(client: ServiceClient, tmp_path: Path, name: str) -> None:
    data_folder = client.runtime.settings.data_folder
    content = write_cycle(tmp_path)[0].read_bytes() + name.encode()
    answer = client.post("/correct", files=[("files", (name, content))])
    assert answer.status_code == 202, answer.text
    (given,) = answer.json()["inputs"]
    assert "/" not in given["name"]
    assert not given["name"].startswith(".")
    written = {path for path in data_folder.parent.rglob("*escaped*") if path.is_file()}
    assert all(path.is_relative_to(data_folder / "work") for path in written)
    assert not Path("/escaped.gb2").exists()
    client.delete(f"/jobs/{answer.json()['id']}")


@pytest.mark.parametrize(
    "value", ["2026112200\r\nX-Injected: yes", "2026112200\x00", "\u2028", "' OR 1=1 --"]
)
def test_no_parameter_becomes_a_header(client: ServiceClient, value: str) -> None:
    for answer in (
        client.post("/correct", content=b"GRIB", params={"reference_time": value}),
        client.post("/ingest", params={"reference_time": value}),
        client.get("/verification", params={"from": value}),
        client.post("/observations", content=b"x", params={"valid_time": value}),
    ):
        assert answer.status_code in {400, 409, 422}
        assert "x-injected" not in answer.headers


def test_json_that_is_deep_or_odd_is_refused(client: ServiceClient) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    for content in (
        deep,
        '{"inputs":' + deep + "}",
        '{"inputs": NaN}',
        "\ud800".encode("utf-16-le", "surrogatepass"),
        b"",
    ):
        for method, path in (("POST", "/correct"), ("PUT", "/models/active")):
            answer = client.request(
                method, path, content=content, headers={"Content-Type": "application/json"}
            )
            problem(answer, 400, "bad-request")


def test_parts_without_an_end_take_no_memory(client: ServiceClient) -> None:
    """A multipart body of very many headers, fields or files stops at a limit."""
    head = {"Content-Type": "multipart/form-data; boundary=b"}
    part = b'--b\r\nContent-Disposition: form-data; name="%d"\r\n\r\nx\r\n'
    fields = b"".join(part % number for number in range(20_000)) + b"--b--\r\n"
    header = b'--b\r\nContent-Disposition: form-data; name="a"\r\n' + b"X-A: " + b"a" * 2_000_000
    headers = b'--b\r\nContent-Disposition: form-data; name="a"\r\n' + b"X-A: a\r\n" * 100_000
    file = b'--b\r\nContent-Disposition: form-data; name="files"; filename="f"\r\n\r\n%d\r\n'
    files = b"".join(file % number for number in range(300)) + b"--b--\r\n"
    for content in (fields, header, headers, files):
        answer = client.post("/correct", content=content, headers=head)
        assert answer.status_code in {400, 413}, answer.text
    assert list((client.runtime.settings.data_folder / "work" / "uploads").iterdir()) == []


def test_very_many_submissions_are_limited_by_the_queue(client: ServiceClient) -> None:
    """Each is another job, for a submission is known by its content."""
    statuses = [
        client.post("/correct", content=f"GRIB {number}".encode()).status_code for number in range(60)
    ]
    assert set(statuses) <= {202, 429}
    assert client.get("/readyz").is_success
    assert client.get("/cycles").is_success


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/verification?lead=" + "9" * 400, 400),
        ("/verification?lead=" + "9" * 5000, 400),
        ("/verification?threshold=nan", 400),
        ("/verification?threshold=1e400", 400),
        ("/verification?from=0001-01-01T00:00%2B14:00", 400),
        ("/verification?to=9999-12-31T23:00-14:00", 400),
        ("/verification?cycle=0001-01-01T00Z", 200),
        ("/cycles?limit=" + "9" * 400, 400),
        ("/cycles/0001-01-01T00Z", 404),
        ("/cycles/9999-12-31T23Z/product?revision=" + "9" * 400, 404),
        ("/cycles/2026112200/product?lat=nan&lon=inf", 400),
        ("/cycles/2026112200/revisions/" + "9" * 400 + ".nc", 404),
    ],
)
def test_numbers_and_times_at_the_end_of_the_world(client: ServiceClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("uri", ["http://[", "file://[::1/x", "http://[::1", "//[x]/"])
def test_addresses_that_are_none_are_refused(client: ServiceClient, uri: str) -> None:
    problem(client.post("/correct", json={"inputs": [{"uri": uri}]}), 403, "forbidden-input")


@pytest.mark.parametrize("by", ["a\x00b", "a\nb", "\x1b[2J"])
def test_nobody_is_called_by_control_characters(client: ServiceClient, by: str) -> None:
    problem(client.put("/models/active", json={"model": "sample-0.1.0", "by": by}), 400, "bad-request")
    problem(client.delete("/models/active", params={"by": by}), 400, "bad-request")


def test_ranges_do_not_multiply_a_file(client: ServiceClient, tmp_path: Path) -> None:
    files = [("files", (path.name, path.read_bytes())) for path in write_cycle(tmp_path)]
    answer = client.post("/correct", files=files, headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    path = answer.headers["content-location"]
    many = client.get(path, headers={"Range": "bytes=" + ",".join(["0-"] * 5000)})
    assert len(many.content) <= 2 * len(answer.content)
    digits = client.get(path, headers={"Range": "bytes=" + "9" * 5000 + "-"})
    problem(digits, 400, "bad-request")
