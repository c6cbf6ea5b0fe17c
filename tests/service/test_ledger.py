"""The ledger: newest revisions alone in the sums, everything in the totals, on both databases."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from service.contingency import Contingency
from service.ledger import Entry, Ledger, Match, Selection
from service.verification_counts import ReliabilityBin, Source, Sum, ThresholdCounts

HOUR = np.timedelta64(3600, "s")
VALID_TIME = np.datetime64("2026-11-23T01", "s")
MATCH = Match(VALID_TIME, VALID_TIME - 25 * HOUR, 25, 1, 1)


@contextmanager
def opened(url: str) -> Iterator[Ledger]:
    ledger = Ledger(url)
    ledger.open()
    try:
        yield ledger
    finally:
        ledger.close()


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with opened(url) as found:
        yield found


def entry(hits: int, source: Source = "model", model: str = "nano-0.1.0") -> Entry:
    """Counts at two thresholds, all of which follow from the hits."""
    low = ThresholdCounts(
        0.1,
        Contingency(hits, 2 * hits, 3 * hits, 4 * hits),
        0.5 * hits,
        (ReliabilityBin(0, 9 * hits, 0.2 * hits, hits), ReliabilityBin(7, hits, 0.75 * hits, 2)),
    )
    high = ThresholdCounts(10.0, Contingency(0, hits, 0, 9 * hits), float(hits))
    return Entry(source, model, (low, high))


def hits(sums: list[Sum]) -> dict[tuple[str, str, float, int | None], int]:
    return {(one.source, one.model, one.threshold_mm, one.lead_hours): one.contingency.hits for one in sums}


def test_what_is_recorded_is_found(ledger: Ledger) -> None:
    assert ledger.last_valid_time() is None
    assert ledger.record(MATCH, [entry(5), entry(3, "raw", "RDAPS-KIM")])
    first, *others = ledger.sums(Selection(), reliability=True)
    assert first == Sum(
        *("model", "nano-0.1.0", 0.1, 25, Contingency(5, 10, 15, 20), 2.5, 1),
        (ReliabilityBin(0, 45, 1.0, 5), ReliabilityBin(7, 5, 3.75, 2)),
    )
    assert [(one.source, one.threshold_mm) for one in others] == [
        ("model", 10.0),
        ("raw", 0.1),
        ("raw", 10.0),
    ]
    assert ledger.last_valid_time() == VALID_TIME
    reference = int(MATCH.reference_time.astype(np.int64))
    assert ledger.revisions(VALID_TIME) == {
        (reference, "model", "nano-0.1.0"): (1, 1),
        (reference, "raw", "RDAPS-KIM"): (1, 1),
    }


def test_sums_are_over_what_is_asked_for(ledger: Ledger) -> None:
    for hour in range(4):
        time = VALID_TIME + hour * HOUR
        match = replace(MATCH, valid_time=time, lead_hours=25 + hour % 2)
        ledger.record(match, [entry(10**hour), entry(1, "raw", "RDAPS-KIM")])
    place = ("model", "nano-0.1.0", 0.1)
    assert hits(ledger.sums(Selection(threshold_mm=0.1, source="model"))) == {
        (*place, 25): 101,
        (*place, 26): 1010,
    }
    span = Selection(after=VALID_TIME, until=VALID_TIME + 2 * HOUR, threshold_mm=0.1, source="model")
    assert hits(ledger.sums(span)) == {(*place, 25): 100, (*place, 26): 10}
    assert hits(ledger.sums(replace(span, lead_hours=26))) == {(*place, 26): 10}
    (one,) = ledger.sums(replace(span, lead_hours=26), reliability=True)
    assert one.reliability == (ReliabilityBin(0, 90, 2.0, 10), ReliabilityBin(7, 10, 7.5, 2))


def test_one_cycle_of_several_that_forecast_an_hour(ledger: Ledger) -> None:
    earlier = replace(MATCH, reference_time=MATCH.reference_time - 2 * HOUR, lead_hours=27)
    ledger.record(MATCH, [entry(5)])
    ledger.record(earlier, [entry(3)])
    for match, found in ((MATCH, 5), (earlier, 3)):
        cycle = Selection(reference_time=match.reference_time, threshold_mm=0.1)
        assert hits(ledger.sums(cycle)) == {("model", "nano-0.1.0", 0.1, match.lead_hours): found}
        (one,) = ledger.sums(cycle, reliability=True)
        assert one.reliability[0].events == found


def test_the_history_of_days(ledger: Ledger) -> None:
    """The hour that ends at midnight is the last one of its day."""
    midnight = np.datetime64("2026-11-24T00", "s")
    for number, end in enumerate((midnight - HOUR, midnight, midnight + HOUR)):
        match = replace(MATCH, valid_time=end, reference_time=end - 25 * HOUR)
        ledger.record(match, [entry(10**number)])
    days = ledger.history(Selection(threshold_mm=0.1), np.timedelta64(24, "h"))
    assert [(start, one.contingency.hits, one.matches) for start, one in days] == [
        (midnight - 24 * HOUR, 11, 2),
        (midnight, 100, 1),
    ]
    hours = ledger.history(Selection(threshold_mm=0.1), np.timedelta64(1, "h"))
    assert [start for start, _ in hours] == [midnight - 2 * HOUR, midnight - HOUR, midnight]


def test_the_same_again_changes_nothing(ledger: Ledger) -> None:
    ledger.record(MATCH, [entry(5)])
    assert not ledger.record(MATCH, [entry(5)])
    assert hits(ledger.totals()) == hits(ledger.sums(Selection()))


@pytest.mark.parametrize("newer", [(2, 1), (1, 2), (2, 2)])
def test_a_newer_revision_replaces_and_an_older_one_does_not(ledger: Ledger, newer: tuple[int, int]) -> None:
    ledger.record(MATCH, [entry(5)])
    revised = replace(MATCH, observation_revision=newer[0], product_revision=newer[1])
    assert ledger.record(revised, [entry(7)])
    assert not ledger.record(MATCH, [entry(5)])
    (first, _) = ledger.sums(Selection(), reliability=True)
    assert (first.contingency.hits, first.matches, first.reliability[0].events) == (7, 1, 7)
    assert {one.contingency.hits for one in ledger.totals()} == {0, 12}


def test_models_stand_side_by_side(ledger: Ledger) -> None:
    ledger.record(MATCH, [entry(5), entry(1, "raw", "RDAPS-KIM")])
    other = replace(MATCH, product_revision=2)
    ledger.record(other, [entry(7, model="nano-0.2.0"), entry(1, "raw", "RDAPS-KIM")])
    assert hits(ledger.sums(Selection(threshold_mm=0.1))) == {
        ("model", "nano-0.1.0", 0.1, 25): 5,
        ("model", "nano-0.2.0", 0.1, 25): 7,
        ("raw", "RDAPS-KIM", 0.1, 25): 1,
    }


@given(
    events=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(1, 3), st.integers(1, 3)), max_size=20
    )
)
@settings(max_examples=15, deadline=None)
def test_any_order_of_revisions_ends_with_the_newest(events: list[tuple[int, int, int, int]]) -> None:
    """A publisher reads the other side after it has published: revisions of both sides never fall."""
    with tempfile.TemporaryDirectory() as folder, opened(f"sqlite:///{folder}/ledger.sqlite") as ledger:
        newest: dict[tuple[int, int], tuple[int, int]] = {}
        totals: dict[tuple[str, str, float, int | None], int] = {}
        for hour, cycle, observation, product in events:
            match = replace(
                MATCH,
                valid_time=VALID_TIME + hour * HOUR,
                reference_time=MATCH.reference_time + 6 * cycle * HOUR,
                observation_revision=observation,
                product_revision=product,
            )
            known = newest.get((hour, cycle), (0, 0))
            expected = observation >= known[0] and product >= known[1] and known != (observation, product)
            assert ledger.record(match, [entry(10 * observation + product)]) == expected
            if expected:
                newest[hour, cycle] = (observation, product)
            now = hits(ledger.totals())
            assert all(now[place] >= count for place, count in totals.items())
            totals = now
        found = ledger.sums(Selection(threshold_mm=0.1))
        assert sum(one.contingency.hits for one in found) == sum(10 * a + b for a, b in newest.values())
        assert sum(one.matches for one in found) == len(newest)


def test_writers_at_the_same_time_count_once(url: str) -> None:
    with opened(url) as first, opened(url) as second:
        barrier = threading.Barrier(6)
        answers: list[bool] = []

        def write(ledger: Ledger) -> None:
            barrier.wait()
            answers.extend(
                ledger.record(replace(MATCH, observation_revision=revision), [entry(revision)])
                for revision in range(1, 6)
            )

        threads = [threading.Thread(target=write, args=(ledger,)) for ledger in (first, second) * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 30
        (low, _) = first.sums(Selection())
        assert (low.contingency.hits, low.matches) == (5, 1)
        # Revisions that a faster writer was past were not counted; each of the others once.
        counted = sum(answers)
        assert 1 <= counted <= 5
        assert hits(first.totals())["model", "nano-0.1.0", 0.1, 25] <= 1 + 2 + 3 + 4 + 5


def test_a_broken_transaction_leaves_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.record(MATCH, [entry(5)])
    before = ledger.sums(Selection(), reliability=True), ledger.totals()

    def fail(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "_add_to_totals", fail)
        with pytest.raises(RuntimeError, match="killed"):
            ledger.record(replace(MATCH, observation_revision=2), [entry(7)])
    assert (ledger.sums(Selection(), reliability=True), ledger.totals()) == before
    assert ledger.record(replace(MATCH, observation_revision=2), [entry(7)])


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OperationalError):
        Ledger(f"sqlite:///{tmp_path}/no/such/folder/ledger.sqlite").open()
