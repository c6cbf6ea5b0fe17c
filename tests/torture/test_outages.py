"""An outage of PostgreSQL in short: seconds instead of a minute."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from service.problems import MEDIA_TYPE
from tests.service.sample_wire import cannot_be_laid
from tests.torture.outages import MOST_SECONDS, WAYS, Outcome, judge, stay_away

GONE = {"reason": "unavailable", "where": "RAINPOST_DATABASE_URL"}
PROBLEM = {"content-type": MEDIA_TYPE, "retry-after": "30"}


@pytest.mark.parametrize(("way", "seconds"), [("power", 1.5), ("packets", 12.0)])
def test_a_database_that_is_away_for_a_while(server: str, tmp_path: Path, way: str, seconds: float) -> None:
    """Packets are lost for longer than the service waits for any of them."""
    if way == "packets" and (why := cannot_be_laid()):
        pytest.skip(why)
    with WAYS[way](server) as database:
        outcome = stay_away(tmp_path, database, seconds, count=2)
    assert outcome.broken == []
    assert outcome.slowest_seconds < MOST_SECONDS
    assert outcome.cycles == 2 + 2 + 2
    expected = {
        503: ("/cycles", "/cycles/latest", "/jobs/", "/verification", "/models", "POST /correct"),
        200: ("/metrics", "/livez", "/cycles/latest/product", "/cycles/latest/layers"),
    }
    for status, paths in expected.items():
        found = {path: set(outcome.answers[path]) for path in paths}
        if way == "packets":
            # Each answer takes seconds: on a busy machine not every path has its turn.
            found = {path: statuses for path, statuses in found.items() if statuses}
            assert found
        assert found == {path: {status} for path in found}


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/cycles", httpx.Response(503, json=GONE, headers=PROBLEM), ""),
        ("/cycles", httpx.Response(503, json=GONE, headers=PROBLEM | {"retry-after": "0"}), "Retry-After"),
        ("/cycles", httpx.Response(500, json=GONE, headers=PROBLEM), "500"),
        ("/cycles", httpx.Response(503, text="away"), "503"),
        ("/readyz", httpx.Response(503, json={}), ""),
        ("/readyz", httpx.Response(200, json={}), "without a database"),
        ("/livez", httpx.Response(503, json=GONE, headers=PROBLEM), "needs no database"),
    ],
)
def test_what_is_wrong_is_found(path: str, answer: httpx.Response, words: str) -> None:
    outcome = Outcome()
    judge(path, answer, outcome)
    assert len(outcome.broken) == bool(words)
    assert words in "".join(outcome.broken)
