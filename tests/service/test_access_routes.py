"""A protected service over HTTP: refusals, what is public, what is written down."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.routes.access import declare_security
from service.settings import Settings
from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import ServiceClient, problem, running

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def client(service_folder: Path) -> Iterator[ServiceClient]:
    with running(service_folder, access="protected", receive_timeout_seconds=60) as client:
        yield client


@pytest.fixture(scope="module")
def keys(client: ServiceClient) -> dict[str, str]:
    store = client.runtime.keys
    return {
        scope: store.create(f"{scope} key", [scope], "ops")[1]
        for scope in ("read", "submit", "observe", "admin")
    }


CHANGES = (
    ("POST", "/correct", "submit"),
    ("POST", "/ingest", "submit"),
    ("DELETE", "/jobs/unknown", "submit"),
    ("POST", "/observations", "observe"),
    ("PUT", "/models/active", "admin"),
    ("DELETE", "/models/active", "admin"),
    ("PUT", "/models/shadow", "admin"),
    ("DELETE", "/models/shadow", "admin"),
)


@pytest.mark.parametrize(("method", "path", "scope"), CHANGES)
def test_every_change_needs_a_key_with_its_scope(
    client: ServiceClient, keys: dict[str, str], method: str, path: str, scope: str
) -> None:
    # What is asked for is nonsense too: whoever may not, does not hear of that.
    ask = {"method": method, "url": path, "json": {"inputs": [], "model": "none-0.0.0"}}
    anonymous = client.request(**ask)  # type: ignore[arg-type]
    assert "Bearer" in problem(anonymous, 401, "unauthenticated")["expected"]
    assert anonymous.headers["www-authenticate"] == 'Bearer realm="rainpost"'
    for other in sorted(set(keys) - {scope}):
        answer = client.request(**ask, headers=bearer(keys[other]))  # type: ignore[arg-type]
        assert scope in problem(answer, 403, "missing-scope")["expected"]
        assert f'scope="{scope}"' in answer.headers["www-authenticate"]
    assert client.request(**ask, headers=bearer(keys[scope])).status_code not in {401, 403}  # type: ignore[arg-type]


def test_a_wrong_key_is_refused_even_where_reading_is_public(client: ServiceClient) -> None:
    assert client.get("/cycles").status_code == 200
    answer = client.get("/cycles", headers=bearer("rainpost_wrong"))
    problem(answer, 401, "unauthenticated")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "path", ["/", "/page/page.js", "/docs", "/openapi.json", "/livez", "/readyz", "/metrics"]
)
def test_the_page_and_the_machines_need_no_key(client: ServiceClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_where_reading_is_public_nobody_signs_in(client: ServiceClient, keys: dict[str, str]) -> None:
    answer = client.post("/session", json={"key": keys["read"]})
    assert (answer.status_code, "set-cookie" in answer.headers) == (204, False)
    cookie = {"Cookie": "rainpost_key=rainpost_old"}
    assert client.get("/cycles", headers=cookie).status_code == 200, "an old cookie hinders nobody"
    problem(
        client.delete("/models/active", headers={"Cookie": f"rainpost_key={keys['admin']}"}),
        401,
        "unauthenticated",
    )


def test_a_submission_with_a_key_runs_and_the_log_says_whose_it_was(
    client: ServiceClient, keys: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [("files", (path.name, path.read_bytes())) for path in write_cycle(tmp_path)]
    with caplog.at_level(logging.INFO, "service.routes.access"):
        answer = client.post("/correct", files=files, headers=bearer(keys["submit"]) | {"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    assert [record.getMessage() for record in caplog.records if record.name == "service.routes.access"] == [
        "POST /correct"
    ]


def test_the_history_of_models_says_whose_key_it_was(client: ServiceClient, keys: dict[str, str]) -> None:
    model = client.get("/models/active").json()["model"]
    answer = client.put("/models/active", json={"model": model, "by": "me"}, headers=bearer(keys["admin"]))
    assert answer.status_code == 200, answer.text
    assert answer.json()["by"].startswith("admin key (")
    assert answer.json()["by"].endswith("): me")


def test_other_sites_cannot_use_the_browser_of_somebody_who_may(
    client: ServiceClient, keys: dict[str, str]
) -> None:
    host = client.base_url.netloc.decode()
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://other.example.org"},
        {"Origin": "null"},
    ):
        answer = client.post(
            "/ingest", params={"reference_time": "2026112200"}, headers=bearer(keys["submit"]) | headers
        )
        problem(answer, 403, "cross-site")
        assert client.get("/cycles", headers=headers).status_code == 200, "reading is not a change"
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": f"http://{host}"}):
        answer = client.post(
            "/ingest", params={"reference_time": "2026112200"}, headers=bearer(keys["submit"]) | headers
        )
        problem(answer, 409, "conflict")


def test_openapi_says_which_scope_each_route_needs(client: ServiceClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for method, path, scope in CHANGES:
        route = document["paths"][path.replace("unknown", "{job_id}")][method.lower()]
        assert route["security"] == [{"key": [scope]}]
        assert {"401", "403", "429"} <= set(route["responses"])
    assert document["paths"]["/cycles"]["get"]["security"] == []
    assert "Needs a key with the scope submit" in client.get("/docs").text


def test_openapi_follows_the_setting_of_reading() -> None:
    def declared(**settings: str) -> dict[str, dict[str, dict[str, object]]]:
        document: dict[str, Any] = {
            "components": {},
            "paths": {"/cycles": {"get": {"responses": {}}}, "/livez": {"get": {"responses": {}}}},
        }
        declare_security(document, Settings.model_validate(settings))
        paths: dict[str, dict[str, dict[str, object]]] = document["paths"]
        return paths

    closed = declared(access="protected", reading="protected")
    assert closed["/cycles"]["get"]["security"] == [{"key": ["read"]}]
    assert closed["/livez"]["get"]["security"] == []
    assert "security" not in declared()["/cycles"]["get"]
