"""Reference times as text."""

from __future__ import annotations

import numpy as np
import pytest

from service.errors import RequestError
from service.times import compact_time, iso_time, parse_time

CYCLE = np.datetime64("2026-11-22T06:00:00", "s")


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T06:00Z",
        "2026-11-22T06:00:00Z",
        "2026-11-22 06:00",
        "2026-11-22T06Z",
        "20261122T060000Z",
        "2026112206",
        "202611220600",
        "2026-11-22T15:00+09:00",
        " 2026-11-22T06:00Z\n",
    ],
)
def test_forms_of_one_time(text: str) -> None:
    assert parse_time(text) == CYCLE
    assert parse_time(text).dtype == np.dtype("datetime64[s]")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22",
        "20261122",
        "2026112224",
        "2026-13-01T00Z",
        "latest",
        "2026-11-22T06:00Z; x",
        "9" * 99,
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="not a reference time"):
        parse_time(text)


def test_written_forms_are_read_back() -> None:
    assert iso_time(CYCLE) == "2026-11-22T06:00:00Z"
    assert compact_time(CYCLE) == "20261122T060000Z"
    assert parse_time(iso_time(CYCLE)) == parse_time(compact_time(CYCLE)) == CYCLE
