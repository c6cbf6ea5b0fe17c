"""Every form of a product asks for a key where reading needs one, and is kept by no cache of others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.rates import Rate
from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import ServiceClient, problem, running

TIME = "2026-11-22T00:00:00Z"
CYCLE = f"/cycles/{TIME}"
HERE = "/collections/precipitation"
MAP = "/wms?SERVICE=WMS&REQUEST=GetMap&LAYERS=raw&STYLES=&CRS=CRS:84&BBOX=125,37,127,39&FORMAT=image/png"
FORMS = (
    "/cycles",
    CYCLE,
    f"{CYCLE}/product",
    f"{CYCLE}/product?lat=38&lon=126",
    f"{CYCLE}/revisions/1.nc",
    f"{CYCLE}/revisions/1.zarr/zarr.json",
    f"{CYCLE}/layers",
    f"{CYCLE}/layers/raw",
    f"{CYCLE}/map",
    f"{CYCLE}/explanations",
    "/conformance",
    "/collections",
    HERE,
    f"{HERE}/instances",
    f"{HERE}/instances/{TIME}/position?coords=POINT(126 38)",
    f"{HERE}/position?coords=POINT(126 38)",
    f"{HERE}/position?coords=POINT(126 38)&f=NetCDF",
    "/wms?SERVICE=WMS&REQUEST=GetCapabilities",
    "/wms?SERVICE=WMS&REQUEST=GetLegendGraphic&LAYER=raw",
    f"{MAP}&WIDTH=64&HEIGHT=64",
    "/verification",
    "/models",
    "/metrics",
)


@pytest.fixture(scope="module")
def client(service_folder: Path) -> Iterator[ServiceClient]:
    with running(service_folder, access="protected", reading="protected", requests_per_minute=0) as client:
        yield client


@pytest.fixture(scope="module")
def reader(client: ServiceClient, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The header of a key; there is a product."""
    keys = {scope: client.runtime.keys.create(scope, [scope], "ops")[1] for scope in ("read", "submit")}
    paths = write_cycle(tmp_path_factory.mktemp("cycle"))
    files = [("files", (path.name, path.read_bytes())) for path in paths]
    headers = {"Authorization": f"Bearer {keys['submit']}", "Prefer": "wait=60"}
    assert client.post("/correct", files=files, headers=headers).status_code == 200
    return {"Authorization": f"Bearer {keys['read']}"}


@pytest.mark.parametrize("path", FORMS)
def test_every_form_needs_a_key_and_is_kept_by_no_shared_cache(
    client: ServiceClient, reader: dict[str, str], path: str
) -> None:
    refused = client.get(path)
    assert "Bearer" in problem(refused, 401, "unauthenticated")["expected"]
    head = client.head(path)
    assert (head.status_code, head.content) == (401, b"")
    answer = client.get(path, headers=reader)
    assert answer.status_code == 200, answer.text
    assert answer.content != refused.content
    for one in (answer, client.head(path, headers=reader)):
        assert one.status_code == 200
        caching = {part.strip() for part in one.headers["cache-control"].split(",")}
        assert caching & {"private", "no-cache", "no-store"}
        assert "public" not in caching
        assert one.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in one.headers["content-security-policy"]


def test_wms_refuses_without_a_key_what_it_would_refuse_in_xml(client: ServiceClient) -> None:
    problem(client.get("/wms?REQUEST=Nonsense"), 401, "unauthenticated")


def test_a_tag_that_somebody_knows_opens_nothing(client: ServiceClient, reader: dict[str, str]) -> None:
    path = f"{CYCLE}/revisions/1.nc"
    etag = client.get(path, headers=reader).headers["etag"]
    known = {"If-None-Match": etag}
    assert client.get(path, headers=reader | known).status_code == 304
    problem(client.get(path, headers=known), 401, "unauthenticated")
    problem(client.get(path, headers={"Range": "bytes=0-3"}), 401, "unauthenticated")


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_the_first_page_holds_no_forecast_and_asks_nobody(client: ServiceClient, accept: str) -> None:
    answer = client.get("/", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(accept)
    assert "2026-11" not in answer.text
    assert "public" not in answer.headers["cache-control"]


def test_all_that_can_be_read_is_of_these_forms_or_needs_a_key_too(client: ServiceClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for template, verbs in paths.items():
        if "get" not in verbs or template in {"/", "/livez", "/readyz"}:
            continue
        path = template.replace("{reference_time}", TIME).replace("{revision}", "1").replace("{", "")
        problem(client.get(path.replace("}", "")), 401, "unauthenticated")


def test_requests_of_every_kind_are_counted(
    client: ServiceClient, reader: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.runtime.access, "_rate", Rate(4))
    paths = ("/collections", MAP, f"{CYCLE}/revisions/1.zarr/zarr.json", "/cycles")
    assert [client.head(path, headers=reader).status_code for path in paths] == [200] * 4
    for path in paths:
        answer = client.get(path, headers=reader)
        assert problem(answer, 429, "too-many-requests")
        assert int(answer.headers["retry-after"]) > 0
