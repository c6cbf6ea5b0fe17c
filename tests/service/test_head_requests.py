"""HEAD for whatever answers GET."""

from __future__ import annotations

import pytest

from tests.service.sample_service import ServiceClient, problem


@pytest.mark.parametrize("path", ["/", "/livez", "/version", "/cycles", "/page/page.css", "/events"])
def test_the_headers_without_the_body(client: ServiceClient, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    if path != "/events":
        whole = client.get(path)
        assert {name: answer.headers[name] for name in ("content-type", "content-length")} == {
            name: whole.headers[name] for name in ("content-type", "content-length")
        }


def test_errors_and_what_is_no_get(client: ServiceClient) -> None:
    assert client.head("/nothing").status_code == 404
    assert client.head("/cycles/1999010100").status_code == 404
    problem(client.get("/correct"), 405, "method-not-allowed")
    assert client.head("/correct").status_code == 405


def test_the_route_is_counted(client: ServiceClient) -> None:
    client.head("/livez")
    assert 'method="HEAD",route="/livez"' in client.get("/metrics").text
