"""Accept, Prefer and If-None-Match."""

from __future__ import annotations

import pytest

from service.errors import NotAcceptable
from service.negotiation import accepts_gzip, choose_media_type, matches, wait_seconds

OFFERED = ("application/x-netcdf", "image/png", "application/json", "application/wmo-GRIB2")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "application/x-netcdf"),
        ("*/*", "application/x-netcdf"),
        ("image/png", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("application/wmo-GRIB2;edition=2", "application/wmo-GRIB2"),
        ("application/wmo-grib2", "application/wmo-GRIB2"),
        ("image/*", "image/png"),
        ("application/*", "application/x-netcdf"),
        ("application/json;q=0.5, image/png;q=0.4", "application/json"),
        ("application/json; q=0.5, */*; q=0.8", "application/x-netcdf"),
        ("application/x-netcdf;q=0, application/*", "application/json"),
        ("text/html, image/png;q=0.1", "image/png"),
        ("text/html,*/*;q=0.8", "application/x-netcdf"),
    ],
)
def test_the_best_liked_representation_is_chosen(accept: str | None, chosen: str) -> None:
    assert choose_media_type(accept, OFFERED) == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "image/png;q=high", "nonsense"])
def test_nothing_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="image/png"):
        choose_media_type(accept, OFFERED)


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ([], None),
        (["wait=5"], 5),
        (["respond-async, wait=5"], 5),
        (["respond-async", 'Wait = "5"'], 5),
        (["wait=5; priority=1"], 5),
        (["wait=900"], 60),
        (["wait=-1"], None),
        (["wait=soon"], None),
        (["await=5"], None),
    ],
)
def test_prefer_wait(prefer: list[str], seconds: int | None) -> None:
    assert wait_seconds(prefer, 60) == seconds


@pytest.mark.parametrize(
    ("header", "result"),
    [
        (None, False),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
    ],
)
def test_if_none_match(header: str | None, result: bool) -> None:
    assert matches(header, '"a"') is result


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("br;q=1, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("*", True),
        ("gzip;q=0, *", False),
        ("identity", False),
    ],
)
def test_gzip_where_it_is_accepted(header: str | None, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
