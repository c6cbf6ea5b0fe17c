"""Every Prometheus series of the service, in one place. Base units and conventional names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

STAGES: Final = ("receive", "decode", "infer", "publish", "observe", "verify")
_SECONDS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class Metrics:
    """The series of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._jobs = Counter(
            "rainpost_jobs",
            "Jobs that ended, by outcome (succeeded, failed) and the problem's reason",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self._submissions = Counter(
            "rainpost_submissions",
            "Accepted submissions, by whether their job was new or known already",
            ["job"],
            registry=self.registry,
        )
        self._stages = Histogram(
            "rainpost_stage_duration_seconds",
            f"Duration of the stages {', '.join(STAGES)}, failed ones included",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._observations = Counter(
            "rainpost_observations",
            "Observations that came in, by outcome (new, known, refused) and the problem's reason",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self._published = Gauge(
            "rainpost_last_published_reference_time_seconds",
            "Reference time of the newest cycle with a product, seconds since 1970; 0 where there is none",
            registry=self.registry,
        )
        self._model = Gauge(
            "rainpost_model_info",
            "The loaded model and the provider that it runs on",
            ["name", "version", "sha256", "provider"],
            registry=self.registry,
        )
        self._build = Gauge(
            "rainpost_build_info", "The version of the service", ["version"], registry=self.registry
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        # A series that is not there yet looks to Prometheus like one that was lost.
        self._jobs.labels("succeeded", "")
        for job in ("new", "known"):
            self._submissions.labels(job)
        for outcome in ("new", "known"):
            self._observations.labels(outcome, "")
        for stage in STAGES:
            self._stages.labels(stage)

    def identify(self, *, version: str, model: tuple[str, str, str], provider: str) -> None:
        """State what runs. model: name, version and sha256."""
        self._build.labels(version).set(1)
        self._model.labels(*model, provider).set(1)

    def count_submission(self, *, new: bool) -> None:
        """A submission was accepted."""
        self._submissions.labels("new" if new else "known").inc()

    def count_job(self, outcome: str, reason: str = "") -> None:
        """A job ended."""
        self._jobs.labels(outcome, reason).inc()

    def count_observation(self, outcome: str, reason: str = "") -> None:
        """An observation was taken or refused."""
        self._observations.labels(outcome, reason).inc()

    def set_published(self, reference_time: np.datetime64) -> None:
        """The newest cycle with a product."""
        self._published.set(float(reference_time.astype("datetime64[s]").astype(np.int64)))

    @contextmanager
    def time_stage(self, stage: str) -> Iterator[None]:
        """Measure the block as one stage, whether it succeeds or not."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages.labels(stage).observe(time.perf_counter() - started)
