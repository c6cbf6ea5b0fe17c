"""Entity tags, conditions, ranges and gzip of one representation."""

from __future__ import annotations

import gzip

import pytest
from fastapi import HTTPException, Request

from service.errors import RequestError
from service.representations import Body, Representation, check_range

CONTENT = bytes(range(200)) * 5
FORM = Representation('"abc"', "application/json", vary="Accept")
PACKED = Representation('"abc"', "image/tiff", compressible=False)


def request(**headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": pairs})


def make() -> Body:
    return Body(CONTENT)


def never() -> Body:
    raise AssertionError("it was not to be made")


def test_the_whole() -> None:
    answer = FORM.answer(request(), make)
    assert (answer.status_code, answer.body) == (200, CONTENT)
    assert answer.headers["etag"] == '"abc"'
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert answer.headers["cache-control"] == "no-cache"
    assert "content-encoding" not in answer.headers


def test_by_gzip_it_is_another_entity() -> None:
    answer = FORM.answer(request(accept_encoding="gzip"), make)
    assert gzip.decompress(bytes(answer.body)) == CONTENT
    assert answer.headers["etag"] == '"abc-gzip"'
    assert answer.headers["content-encoding"] == "gzip"
    assert FORM.answer(request(accept_encoding="gzip", range="bytes=0-1"), make).status_code == 200
    assert PACKED.answer(request(accept_encoding="gzip"), make).body == CONTENT
    assert "vary" not in PACKED.answer(request(), make).headers


@pytest.mark.parametrize("known", ['"abc"', '"abc-gzip"', 'W/"abc"', "*", '"x", "abc"'])
@pytest.mark.parametrize(("coding", "etag"), [("identity", '"abc"'), ("gzip", '"abc-gzip"')])
def test_what_the_client_has_is_not_made(known: str, coding: str, etag: str) -> None:
    answer = FORM.answer(request(if_none_match=known, accept_encoding=coding), never)
    assert (answer.status_code, answer.body, answer.headers["etag"]) == (304, b"", etag)
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=5-", slice(5, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=990-5000", slice(990, None)),
        ("bytes=-5000", slice(0, None)),
    ],
)
def test_a_part(asked: str, part: slice) -> None:
    answer = FORM.answer(request(range=asked), make)
    first, after, _ = part.indices(len(CONTENT))
    assert (answer.status_code, answer.body) == (206, CONTENT[part])
    assert answer.headers["content-range"] == f"bytes {first}-{after - 1}/1000"


@pytest.mark.parametrize(
    "headers",
    [
        {"range": "bytes=0-1,4-5"},
        {"range": "rows=0-1"},
        {"range": "bytes=0-1", "if_range": '"another"'},
        {"range": "bytes=0-1", "if_range": "Fri, 27 Nov 2026 00:00:00 GMT"},
    ],
)
def test_the_whole_in_place_of_a_part(headers: dict[str, str]) -> None:
    answer = FORM.answer(request(**headers), make)
    assert (answer.status_code, answer.body) == (200, CONTENT)


def test_a_part_of_what_the_client_knows() -> None:
    assert FORM.answer(request(range="bytes=0-1", if_range='"abc"'), make).status_code == 206


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=5-4", "bytes=0-1,1000-1001", "bytes=-0"])
def test_a_range_that_is_not_there(asked: str) -> None:
    with pytest.raises(HTTPException) as caught:
        check_range(asked, 1000)
    assert caught.value.status_code == 416
    assert caught.value.headers == {"Content-Range": "bytes */1000"}


@pytest.mark.parametrize("asked", ["bytes=x", "bytes=", "bytes=-", "bytes=1-2;3"])
def test_what_is_no_range(asked: str) -> None:
    with pytest.raises(RequestError, match="FIRST-LAST"):
        check_range(asked, 1000)
