"""Every route has its scope, and what nobody thought of needs the highest."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.app import create_app
from service.runtime import Runtime
from service.scopes import Scope, allows, needed_scope
from service.settings import Settings
from tests.service.sample_artefact import write_artefact

EXPECTED: dict[tuple[str, str], Scope | None] = {
    ("post", "/correct"): "submit",
    ("get", "/jobs/{job_id}"): "read",
    ("delete", "/jobs/{job_id}"): "submit",
    ("post", "/ingest"): "submit",
    ("post", "/observations"): "observe",
    ("put", "/models/active"): "admin",
    ("delete", "/models/active"): "admin",
    ("put", "/models/shadow"): "admin",
    ("delete", "/models/shadow"): "admin",
    ("post", "/session"): None,
    ("delete", "/session"): None,
    ("get", "/"): None,
    ("get", "/livez"): None,
    ("get", "/readyz"): None,
    ("get", "/metrics"): "read",
}


def test_every_route_needs_what_is_written_here(tmp_path: Path) -> None:
    write_artefact(tmp_path / "models")
    settings = Settings(models_folder=tmp_path / "models", data_folder=tmp_path / "data")
    paths = create_app(Runtime(settings)).openapi()["paths"]
    found = {
        (method, path): needed_scope(method.upper(), path)
        for path, methods in paths.items()
        for method in methods
    }
    changes = {route: scope for route, scope in found.items() if route[0] != "get"}
    assert changes == {route: scope for route, scope in EXPECTED.items() if route[0] != "get"}
    assert {route: found[route] for route in EXPECTED} == EXPECTED
    assert {scope for route, scope in found.items() if route not in EXPECTED} == {"read"}


@pytest.mark.parametrize("path", ["/", "/page/{name}", "/docs", "/openapi.json"])
def test_the_page_and_the_reference_ask_nobody(path: str) -> None:
    assert needed_scope("GET", path) is None


def test_a_new_route_needs_the_highest_scope_until_it_has_its_own() -> None:
    assert needed_scope("POST", "/new") == "admin"
    assert needed_scope("PATCH", "/livez") == "admin"
    assert needed_scope("GET", "/new") == "read"


def test_any_scope_lets_read_and_none_lets_do_more() -> None:
    for scope in ("read", "submit", "observe", "admin"):
        assert allows(frozenset([scope]), "read")
    assert not allows(frozenset(), "read")
    assert not allows(frozenset(["read", "observe", "admin"]), "submit")
    assert not allows(frozenset(["read", "submit", "observe"]), "admin")
