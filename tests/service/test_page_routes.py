"""The page's files over HTTP."""

from __future__ import annotations

from service.assets import asset_names
from tests.service.sample_service import ServiceClient, problem


def test_the_page_may_ask_nobody_else(client: ServiceClient) -> None:
    answer = client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script" in answer.text


def test_programs_get_the_landing_page(client: ServiceClient) -> None:
    for parameters, accept, media_type in (
        ({}, "*/*", "application/json"),
        ({}, "application/json", "application/json"),
        ({"f": "json"}, "text/html", "application/json"),
        ({"f": "html"}, "*/*", "text/html; charset=utf-8"),
    ):
        answer = client.get("/", params=parameters, headers={"Accept": accept})
        assert answer.headers["content-type"] == media_type
    problem(client.get("/", params={"f": "xml"}), 400, "bad-request")
    problem(client.get("/", headers={"Accept": "image/png"}), 406, "not-acceptable")


def test_every_file_is_served_and_revalidated(client: ServiceClient) -> None:
    for name in asset_names():
        answer = client.get(f"/page/{name}", headers={"Accept-Encoding": "identity"})
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers
        assert client.get(f"/page/{name}").content == answer.content
        again = client.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_no_other_file_is_served(client: ServiceClient) -> None:
    for name in ("none.js", "__init__.py", "..%2fassets.py", "%2e%2e/assets.py"):
        problem(client.get(f"/page/{name}"), 404, "not-found")
