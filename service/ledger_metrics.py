"""The ledger as Prometheus series, read anew at each scrape."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from service.artefact import Manifest
from service.contingency import SCORES, Contingency
from service.ledger import Ledger, Selection
from service.series import SERIES
from service.verification_counts import Source, Sum, pooled

_logger = logging.getLogger(__name__)

WINDOWS_DAYS: Final = (1, 7, 30)
ALL_LEADS: Final = "all"
_OUTCOMES: Final = {
    "hit": "hits",
    "miss": "misses",
    "false_alarm": "false_alarms",
    "correct_negative": "correct_negatives",
}


class LedgerCollector(Collector):
    """Counts since ever as counters, scores over the last days as gauges.

    The last days end with the newest period that was verified: late observations make the scores old, not
    absent, and ``rainpost_last_verified_time_seconds`` tells how old.

    expected: gives sums of nothing for what will be counted one day. What comes into being at its first
    count has not increased, as Prometheus sees it.
    """

    def __init__(self, ledger: Ledger, expected: Callable[[], Sequence[Sum]] = list) -> None:
        self._ledger = ledger
        self._expected = expected

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register the collector is not to read the ledger."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All series; ``rainpost_ledger_up`` alone where the database does not answer."""
        up = SERIES["ledger_up"].gauges()
        try:
            families = [*self._totals(), *self._last_days()]
        except SQLAlchemyError:
            _logger.exception("the ledger does not answer")
            families = []
        up.add_metric([], float(bool(families)))
        yield up
        yield from families

    def _totals(self) -> list[Metric]:
        cells = SERIES["verification_cells"].counters()
        totals = {_key(one): one for one in self._expected()} | {
            _key(one): one for one in self._ledger.totals()
        }
        for one in totals.values():
            for outcome, name in _OUTCOMES.items():
                cells.add_metric([*_place(one), outcome], getattr(one.contingency, name))
        return [cells]

    def _last_days(self) -> list[Metric]:
        newest = self._ledger.last_valid_time()
        verified = SERIES["last_verified_time_seconds"].gauges()
        verified.add_metric([], 0.0 if newest is None else float(newest.astype(np.int64)))
        scores = {
            name: SERIES[f"verification_{name}"].gauges() for name in (*SCORES, "brier_score", "matches")
        }
        if newest is not None:
            for days in WINDOWS_DAYS:
                sums = self._ledger.sums(Selection(after=newest - np.timedelta64(days, "D")))
                _add_scores(scores, [*sums, *pooled(sums)], days)
        return [verified, *scores.values()]


def expected_sums(active: Manifest, shadow: Manifest | None = None) -> list[Sum]:
    """Of the active model, the forecast that it corrects and its shadow, at every threshold and lead; nothing
    is counted yet.
    """
    expected: list[tuple[Source, str, Manifest]] = [
        ("model", f"{active.name}-{active.version}", active),
        ("raw", active.cycle.source.name, active),
    ]
    if shadow is not None:
        expected.append(("shadow", f"{shadow.name}-{shadow.version}", shadow))
    return [
        Sum(source, model, threshold_mm, lead_hours, Contingency())
        for source, model, manifest in expected
        for threshold_mm in manifest.thresholds_mm
        for lead_hours in manifest.cycle.leads_hours
    ]


def _key(one: Sum) -> tuple[str, ...]:
    return tuple(_place(one))


def _place(one: Sum) -> list[str]:
    lead = ALL_LEADS if one.lead_hours is None else str(one.lead_hours)
    return [one.source, one.model, f"{one.threshold_mm:g}", lead]


def _add_scores(families: dict[str, GaugeMetricFamily], sums: Sequence[Sum], days: int) -> None:
    for one in sums:
        values = {name: function(one.contingency) for name, function in SCORES.items()}
        values |= {"brier_score": one.brier_score, "matches": float(one.matches)}
        for name, value in values.items():
            if value is not None:
                families[name].add_metric([*_place(one), str(days)], value)
