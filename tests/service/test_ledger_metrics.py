"""The ledger as Prometheus series: counters that never fall, scores over the last days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.artefact import Manifest
from service.contingency import Contingency
from service.ledger import Entry, Ledger, Match
from service.ledger_metrics import LedgerCollector, expected_sums
from service.verification_counts import ThresholdCounts
from tests.service.sample_product import sample_manifest

DAY = np.timedelta64(1, "D")
NEWEST = np.datetime64("2026-11-23T01", "s")
MATCH = Match(NEWEST, NEWEST - np.timedelta64(25, "h"), 25, 1, 1)
PLACE = {"source": "model", "model": "nano-0.1.0", "threshold_mm": "0.1", "lead_hours": "25"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    found.open()
    yield found
    found.close()


@pytest.fixture
def registry(ledger: Ledger) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger))
    return registry


def entry(table: Contingency, brier_sum: float = 1.0) -> Entry:
    return Entry("model", "nano-0.1.0", (ThresholdCounts(0.1, table, brier_sum),))


def score(registry: CollectorRegistry, name: str, days: int, lead_hours: str = "25") -> float | None:
    labels = PLACE | {"lead_hours": lead_hours, "days": str(days)}
    return registry.get_sample_value(f"rainpost_verification_{name}", labels)


def cells(registry: CollectorRegistry, outcome: str) -> float:
    value = registry.get_sample_value("rainpost_verification_cells_total", PLACE | {"outcome": outcome})
    assert value is not None
    return value


def test_an_empty_ledger(registry: CollectorRegistry) -> None:
    assert registry.get_sample_value("rainpost_ledger_up") == 1.0
    assert registry.get_sample_value("rainpost_last_verified_time_seconds") == 0.0
    assert score(registry, "matches", 30) is None


def test_scores_are_over_the_days_before_the_newest_hour(ledger: Ledger, registry: CollectorRegistry) -> None:
    for days, hits in ((0, 1), (1, 10), (7, 100), (30, 1000)):
        match = replace(MATCH, valid_time=NEWEST - days * DAY)
        ledger.record(match, [entry(Contingency(hits, 1, 0, 0), 0.5)])
    newest = registry.get_sample_value("rainpost_last_verified_time_seconds")
    assert newest == float(NEWEST.astype(np.int64))
    assert [score(registry, "matches", days) for days in (1, 7, 30)] == [1, 2, 3], "a day is not its start"
    assert score(registry, "critical_success_index", 1) == 1 / 2
    assert score(registry, "recall", 7) == 11 / 13
    assert score(registry, "brier_score", 30) == 1.5 / 114
    assert cells(registry, "hit") == 1111


def test_leads_are_shown_apart_and_together(ledger: Ledger, registry: CollectorRegistry) -> None:
    ledger.record(MATCH, [entry(Contingency(3, 1, 0, 0))])
    later = replace(MATCH, reference_time=MATCH.reference_time - DAY, lead_hours=49)
    ledger.record(later, [entry(Contingency(0, 0, 4, 0))])
    assert score(registry, "critical_success_index", 1, "25") == 0.75
    assert score(registry, "critical_success_index", 1, "49") == 0.0
    assert score(registry, "critical_success_index", 1, "all") == 3 / 8
    assert score(registry, "probability_of_detection", 1, "49") is None, "there was nothing to detect"


def test_counters_never_fall_and_hold_the_scores(ledger: Ledger, registry: CollectorRegistry) -> None:
    ledger.record(MATCH, [entry(Contingency(3, 1, 2, 4))])
    hits, misses, alarms = (cells(registry, name) for name in ("hit", "miss", "false_alarm"))
    assert hits / (hits + misses + alarms) == score(registry, "critical_success_index", 1)
    ledger.record(replace(MATCH, observation_revision=2), [entry(Contingency(1, 0, 0, 9))])
    assert [cells(registry, name) for name in ("hit", "miss", "false_alarm", "correct_negative")] == [
        4,
        1,
        2,
        13,
    ]
    assert score(registry, "critical_success_index", 1) == 1.0


def test_a_ledger_that_does_not_answer_takes_nothing_else_down(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(LedgerCollector(Ledger(f"sqlite:///{tmp_path}/no/such/folder/ledger.sqlite")))
    assert registry.get_sample_value("rainpost_ledger_up") == 0.0
    assert registry.get_sample_value("rainpost_last_verified_time_seconds") is None


def test_counters_of_what_is_expected_begin_at_zero(ledger: Ledger) -> None:
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger, lambda: expected_sums(sample_manifest())))
    (family,) = [one for one in registry.collect() if one.name == "rainpost_verification_cells"]
    assert {sample.value for sample in family.samples} == {0.0}
    assert len(family.samples) == 2 * 2 * 3 * 4, "sources, thresholds, leads, outcomes"
    match = replace(MATCH, lead_hours=26)
    ledger.record(match, [Entry("model", "sample-1.2.3", (ThresholdCounts(10.0, Contingency(5), 1.0),))])
    place = {"source": "model", "model": "sample-1.2.3", "threshold_mm": "10", "lead_hours": "26"}
    found = registry.get_sample_value("rainpost_verification_cells_total", place | {"outcome": "hit"})
    assert found == 5.0
    (family,) = [one for one in registry.collect() if one.name == "rainpost_verification_cells"]
    assert len(family.samples) == 2 * 2 * 3 * 4, "counted, not shown twice"


def test_counters_of_a_shadow_begin_at_zero_beside_the_others(ledger: Ledger) -> None:
    active = sample_manifest()
    shadow = active.model_copy(update={"version": "1.2.4"})
    shown: list[Manifest | None] = [None]
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger, lambda: expected_sums(active, shown[0])))

    def models() -> set[tuple[str, str]]:
        (family,) = [one for one in registry.collect() if one.name == "rainpost_verification_cells"]
        return {(sample.labels["source"], sample.labels["model"]) for sample in family.samples}

    both = {("model", "sample-1.2.3"), ("raw", "RDAPS-KIM")}
    assert models() == both
    shown[0] = shadow
    assert models() == both | {("shadow", "sample-1.2.4")}
