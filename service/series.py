"""Every Prometheus series of the service: the one table of names, labels and meanings.

Names and units follow https://prometheus.io/docs/practices/naming: base units, ``_total`` for counters,
``_ratio`` for shares of one. An instant is in seconds since 1970, and 0 where there has been none yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from service.contingency import SCORES

STAGES: Final = ("receive", "collect", "decode", "infer", "check", "publish", "observe", "verify", "shadow")
DELIVERY_OUTCOMES: Final = ("delivered", "failed", "gone", "given_up")
_STAGE_SECONDS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_REQUEST_SECONDS: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Series:
    """One name with its labels. buckets: upper ends, of a histogram alone."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()

    def counter(self, registry: CollectorRegistry) -> Counter:
        """To be counted up by this process."""
        return Counter(self.name, self.meaning, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        """To be set by this process."""
        return Gauge(self.name, self.meaning, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        """To be observed by this process."""
        return Histogram(self.name, self.meaning, self.labels, buckets=self.buckets, registry=registry)

    def gauges(self) -> GaugeMetricFamily:
        """To be filled at one scrape."""
        return GaugeMetricFamily(self.name, self.meaning, labels=self.labels)

    def counters(self) -> CounterMetricFamily:
        """To be filled at one scrape."""
        return CounterMetricFamily(self.name, self.meaning, labels=self.labels)


_PLACE: Final = ("source", "model", "threshold_mm", "lead_hours")


def _score(name: str, meaning: str) -> Series:
    return Series(
        f"rainpost_verification_{name}",
        "gauge",
        (*_PLACE, "days"),
        f"{meaning} over the days before the last verified time",
    )


def _counter(name: str, labels: Sequence[str], meaning: str) -> Series:
    return Series(name, "counter", tuple(labels), meaning)


def _gauge(name: str, labels: Sequence[str], meaning: str) -> Series:
    return Series(name, "gauge", tuple(labels), meaning)


SERIES: Final = {
    series.name.removeprefix("rainpost_"): series
    for series in (
        # What this process did since it started.
        _counter(
            "rainpost_jobs",
            ("outcome", "reason"),
            "Jobs that ended, by outcome (succeeded, failed, cancelled) and the problem's reason",
        ),
        _counter(
            "rainpost_submissions",
            ("job",),
            "Accepted submissions, by whether their job was new or known already",
        ),
        Series(
            "rainpost_stage_duration_seconds",
            "histogram",
            ("stage",),
            f"Duration of the stages {', '.join(STAGES)}, failed ones included",
            _STAGE_SECONDS,
        ),
        _counter(
            "rainpost_observations",
            ("outcome", "reason"),
            "Observations that came in, by outcome (new, known, refused) and the problem's reason",
        ),
        _counter(
            "rainpost_shadow_runs",
            ("outcome", "reason"),
            "Cycles that the shadow model was to run on, by outcome (succeeded, failed, dropped when it had "
            "ended) and the problem's reason",
        ),
        _counter(
            "rainpost_webhook_deliveries",
            ("receiver", "outcome"),
            "Attempts to deliver an event, by outcome (delivered, failed and to be tried again, gone: not "
            "wanted, given_up)",
        ),
        Series(
            "rainpost_http_request_duration_seconds",
            "histogram",
            ("method", "route", "status"),
            "Duration of HTTP requests to the last byte of the answer, the wait of Prefer: wait included",
            _REQUEST_SECONDS,
        ),
        # What runs.
        _gauge("rainpost_build_info", ("version",), "The version of the service"),
        _gauge(
            "rainpost_model_info",
            ("role", "name", "version", "sha256", "provider", "required"),
            "The active model and its shadow, the provider that each runs on now, and the one that the "
            "settings require",
        ),
        # The queue, and what it stands on.
        _gauge("rainpost_job_database_up", (), "Whether the database of the jobs answers"),
        _gauge("rainpost_unfinished_jobs", ("state",), "Jobs that are queued or running"),
        _gauge(
            "rainpost_oldest_unfinished_job_time_seconds",
            (),
            "Acceptance of the oldest job that is not finished, seconds since 1970; 0 where there is none",
        ),
        _gauge("rainpost_disk_free_bytes", ("folder",), "Free space where the folder (data) lies"),
        _gauge("rainpost_disk_size_bytes", ("folder",), "All space where the folder (data) lies"),
        _gauge(
            "rainpost_disk_minimum_free_bytes",
            ("folder",),
            "Free space below which submissions are refused (RAINPOST_MINIMUM_FREE_BYTES)",
        ),
        _gauge(
            "rainpost_disk_used_bytes",
            ("folder",),
            "Files in the folders of the data folder (products, work, ...), and in none of them (databases)",
        ),
        _gauge(
            "rainpost_disk_newest_cycle_bytes",
            (),
            "Products of the newest cycle, all revisions: about what the next one takes; 0 without one",
        ),
        _gauge(
            "rainpost_keep_seconds",
            (),
            "How long cycles are kept (RAINPOST_KEEP_DAYS); 0 where everything is",
        ),
        _gauge(
            "rainpost_webhook_oldest_waiting_event_time_seconds",
            ("receiver",),
            "Record of the oldest event that a receiver has not got yet, seconds since 1970; 0 without one",
        ),
        # Cycles.
        _gauge(
            "rainpost_cycles",
            ("state",),
            "Cycles of the last RAINPOST_CATCH_UP_HOURS, by state (expected, running, partial, published, "
            "late, failed)",
        ),
        # The newest cycle with a product, as its newest revision has it.
        _gauge(
            "rainpost_last_published_reference_time_seconds",
            (),
            "Reference time of the newest cycle with a product, seconds since 1970; 0 where there is none",
        ),
        _gauge(
            "rainpost_publish_delay_seconds",
            (),
            "From the reference time of the newest cycle to the publication of its first revision",
        ),
        _gauge(
            "rainpost_cycle_leads",
            ("state",),
            "Leads of the newest cycle: present, and those of the model that the cycle lacks (missing)",
        ),
        _gauge(
            "rainpost_input_z_score_mean",
            ("channel",),
            "Mean z-score of the newest cycle's input; 0 in the training",
        ),
        _gauge(
            "rainpost_input_z_score_standard_deviation",
            ("channel",),
            "Standard deviation of the z-scores of the newest cycle's input; 1 in the training",
        ),
        _gauge(
            "rainpost_input_z_score_largest",
            ("channel",),
            "Largest magnitude of a z-score of the newest cycle's input",
        ),
        _gauge(
            "rainpost_input_missing_ratio",
            ("channel",),
            "Share of the newest cycle's input that is NaN or belongs to a missing lead",
        ),
        _gauge(
            "rainpost_output_class_ratio",
            ("source", "lead_hours", "class"),
            "Share of the newest cycle's cells for which this class is called (model) or in which the amount "
            "lies (raw)",
        ),
        # Observations and what they say.
        _gauge(
            "rainpost_last_observation_time_seconds",
            (),
            "End of the newest period with an observation, seconds since 1970; 0 where there is none",
        ),
        _gauge("rainpost_ledger_up", (), "Whether the ledger of verification answers"),
        _gauge(
            "rainpost_last_verified_time_seconds",
            (),
            "End of the newest period that was verified, seconds since 1970; 0 where there is none",
        ),
        _counter(
            "rainpost_verification_cells",
            (*_PLACE, "outcome"),
            "Grid cells that were compared with an observation, by outcome; revised ones count again",
        ),
        *(_score(name, name.replace("_", " ").capitalize()) for name in SCORES),
        _score("brier_score", "Brier score"),
        _score("matches", "Leads of products that were compared with an observation"),
    )
}
"""By their name without ``rainpost_``; that of a counter gets ``_total`` where it is shown."""


@dataclass(frozen=True)
class SeriesDescription:
    """One row of the documentation: name as Prometheus shows it, kind, labels, meaning."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str


def describe() -> list[SeriesDescription]:
    """Every series, in the order of the documentation."""
    return [
        SeriesDescription(
            f"{series.name}_total" if series.kind == "counter" else series.name,
            series.kind,
            series.labels,
            series.meaning,
        )
        for series in SERIES.values()
    ]
