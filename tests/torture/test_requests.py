"""The short form: some requests of each operation, always the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import ServiceClient, running, submit
from tests.torture.requests import Findings, ask_everything, faults

# schemathesis draws a few choices past hypothesis.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceClient]:
    folder: Path = tmp_path_factory.mktemp("service")
    (folder / "inbox").mkdir()
    with running(folder, input_folders=(folder / "inbox",), max_queued_jobs=10_000) as client:
        assert submit(client, write_cycle(folder / "cycle")).status_code == 200
        yield client


@pytest.fixture(scope="module")
def found(client: ServiceClient) -> Findings:
    return ask_everything(str(client.base_url).rstrip("/"), count=2, seed_number=1, quiet=True)


def test_no_request_breaks_the_service(client: ServiceClient, found: Findings) -> None:
    assert found.broken == []
    assert found.requests > 100
    assert {200, 202, 400, 404} <= set(found.statuses)
    assert found.statuses[200] > 30, "chance alone finds little that there is"
    assert client.get("/readyz").is_success


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (500, {"content-type": ["application/problem+json"]}, "500"),
        (418, {"content-type": ["application/problem+json"]}, "not documented"),
        (404, {"content-type": ["text/plain"]}, "without a problem document"),
        (200, {"x-content-type-options": [""]}, "no security headers"),
    ],
)
def test_what_is_wrong_is_found(status: int, headers: dict[str, list[str]], words: str) -> None:
    definition = SimpleNamespace(raw={"responses": {"200": {}, "500": {}}})
    case = SimpleNamespace(operation=SimpleNamespace(definition=definition))
    response = SimpleNamespace(
        status_code=status, headers={"x-content-type-options": ["nosniff"]} | headers, text=""
    )
    assert any(words in fault for fault in faults(case, response))


@pytest.mark.parametrize(("status", "content", "count"), [(200, b"", 0), (404, b"", 1), (200, b"x", 1)])
def test_a_head_that_differs_is_found(status: int, content: bytes, count: int) -> None:
    found = Findings()
    head = httpx.Response(status, content=content, request=httpx.Request("HEAD", "http://localhost/"))
    found.take_head(SimpleNamespace(status_code=200), head)
    assert len(found.broken) == count
