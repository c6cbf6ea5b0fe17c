"""Cycles and their products as they are asked for: times, media types, entity tags, ranges."""

from __future__ import annotations

import re

import numpy as np
import pytest

from service.routes.state import GEOTIFF, GRIB2
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_service import ServiceClient, problem, submit


@pytest.fixture(scope="module")
def newest(client: ServiceClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The newest cycle of the module, published."""
    time = REFERENCE_TIME + np.timedelta64(300, "D")
    paths = write_cycle(tmp_path_factory.mktemp("cycle"), replaced(reference_time=time))
    assert submit(client, paths).status_code == 200
    return f"{time}Z"


def test_forms_of_the_reference_time(client: ServiceClient, newest: str) -> None:
    compact = re.sub(r"\D", "", newest)[:10]
    documents = [
        client.get(f"/cycles/{one}").json() for one in (newest, newest[:16] + "Z", compact, "latest")
    ]
    assert documents[0]["reference_time"] == newest
    assert all(document == documents[0] for document in documents)


def test_the_list_is_newest_first(client: ServiceClient, newest: str) -> None:
    times = [one["reference_time"] for one in client.get("/cycles").json()["cycles"]]
    assert times[0] == newest
    assert times == sorted(times, reverse=True)


def test_absent_and_malformed_times(client: ServiceClient, newest: str) -> None:
    problem(client.get("/cycles/1999010100"), 404, "not-found")
    problem(client.get("/cycles/yesterday"), 400, "bad-request")
    problem(client.get("/cycles/1999010100/product"), 404, "not-found")


def test_a_picture_of_a_lead(client: ServiceClient, newest: str) -> None:
    for headers in ({"Accept": "image/png"}, {}):
        answer = client.get("/cycles/latest/product", params={"lead": 3}, headers=headers)
        assert answer.headers["content-type"] == "image/png"
        assert answer.content.startswith(b"\x89PNG\r\n\x1a\n")
    answer = client.get("/cycles/latest/product", params={"lead": 9})
    assert problem(answer, 404, "not-found")["expected"] == "one of 2, 3"
    answer = client.get("/cycles/latest/product", headers={"Accept": "image/png"})
    assert problem(answer, 400, "bad-request")["where"] == "lead"


def test_messages_of_the_product(client: ServiceClient, newest: str) -> None:
    """GRIB2 of all leads, of one lead, and not of a lead that is not there."""
    path, headers = "/cycles/latest/product", {"Accept": GRIB2}
    whole = client.get(path, headers=headers)
    assert whole.headers["content-type"] == GRIB2
    assert whole.headers["vary"] == "Accept"
    assert whole.headers["content-disposition"].endswith('_r1.grib2"')
    parts = [client.get(path, params={"lead": lead}, headers=headers) for lead in (2, 3)]
    assert parts[0].content + parts[1].content == whole.content
    assert whole.content.count(b"GRIB") == 8, "four events at two leads"
    tags = {answer.headers["etag"] for answer in (whole, *parts, client.get(path))}
    assert len(tags) == 4
    again = client.get(path, headers=headers | {"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", whole.headers["etag"])
    problem(client.get(path, params={"lead": 9}, headers=headers), 404, "not-found")


def test_a_geotiff_of_a_lead(client: ServiceClient, newest: str) -> None:
    path, headers = "/cycles/latest/product", {"Accept": "image/tiff"}
    answer = client.get(path, params={"lead": 3}, headers=headers)
    assert answer.headers["content-type"] == GEOTIFF
    assert answer.headers["content-disposition"].endswith('_r1_h3.tif"')
    assert answer.content.startswith(b"II*\0")
    assert client.get(path, params={"lead": 3}, headers={"Accept": GEOTIFF}).content == answer.content
    again = client.get(path, params={"lead": 3}, headers=headers | {"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert problem(client.get(path, headers=headers), 400, "bad-request")["where"] == "lead"
    problem(client.get(path, params={"lead": 9}, headers=headers), 404, "not-found")


def test_a_point_lacks_nothing(client: ServiceClient, newest: str) -> None:
    answer = client.get(
        "/cycles/latest/product", params={"lat": 38.0}, headers={"Accept": "application/json"}
    )
    assert problem(answer, 400, "bad-request")["where"] == "lat, lon"
    answer = client.get("/cycles/latest/product", params={"lat": 95.0, "lon": 126.0})
    assert "lat" in problem(answer, 400, "bad-request")["where"]


def test_other_media_types_are_not_acceptable(client: ServiceClient, newest: str) -> None:
    answer = client.get("/cycles/latest/product", headers={"Accept": "text/html"})
    expected = problem(answer, 406, "not-acceptable")["expected"]
    assert all(one in expected for one in ("image/png", "image/tiff", GRIB2))


def test_an_entity_that_the_client_has_is_not_sent(client: ServiceClient, newest: str) -> None:
    for parameters in ({}, {"lead": "2"}, {"lat": "38", "lon": "126"}):
        answer = client.get("/cycles/latest/product", params=parameters)
        again = client.get(
            "/cycles/latest/product",
            params=parameters,
            headers={"If-None-Match": answer.headers["etag"]},
        )
        assert (again.status_code, again.content) == (304, b"")


def test_ranges(client: ServiceClient, newest: str) -> None:
    whole = client.get("/cycles/latest/product").content
    part = client.get("/cycles/latest/product", headers={"Range": "bytes=4-11"})
    assert (part.status_code, part.content) == (206, whole[4:12])
    beyond = client.get("/cycles/latest/product", headers={"Range": f"bytes={len(whole)}-"})
    problem(beyond, 416, "http-416")
    assert beyond.headers["content-range"] == f"bytes */{len(whole)}"
    problem(client.get("/cycles/latest/product", headers={"Range": "bytes=x"}), 400, "bad-request")
