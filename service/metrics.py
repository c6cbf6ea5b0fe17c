"""What this process counts and times; what is read at each scrape is in ``service.state_metrics``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, ProcessCollector

from service.errors import RainpostError
from service.series import DELIVERY_OUTCOMES, SERIES, STAGES


class Metrics:
    """The series of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._jobs = SERIES["jobs"].counter(self.registry)
        self._submissions = SERIES["submissions"].counter(self.registry)
        self._stages = SERIES["stage_duration_seconds"].histogram(self.registry)
        self._observations = SERIES["observations"].counter(self.registry)
        self._shadow_runs = SERIES["shadow_runs"].counter(self.registry)
        self._deliveries = SERIES["webhook_deliveries"].counter(self.registry)
        self._requests = SERIES["http_request_duration_seconds"].histogram(self.registry)
        self._build = SERIES["build_info"].gauge(self.registry)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        # What comes into being at 1 has not increased, as Prometheus sees it.
        self._jobs.labels("succeeded", "")
        for reason in _reasons(RainpostError):
            self._jobs.labels("failed", reason)
            self._observations.labels("refused", reason)
            self._shadow_runs.labels("failed", reason)
        for outcome in ("succeeded", "dropped"):
            self._shadow_runs.labels(outcome, "")
        for job in ("new", "known"):
            self._submissions.labels(job)
        for outcome in ("new", "known"):
            self._observations.labels(outcome, "")
        for stage in STAGES:
            self._stages.labels(stage)

    def identify(self, version: str) -> None:
        """State what runs."""
        self._build.labels(version).set(1)

    def count_submission(self, *, new: bool) -> None:
        """A submission was accepted."""
        self._submissions.labels("new" if new else "known").inc()

    def count_job(self, outcome: str, reason: str = "") -> None:
        """A job ended."""
        self._jobs.labels(outcome, reason).inc()

    def count_observation(self, outcome: str, reason: str = "") -> None:
        """An observation was taken or refused."""
        self._observations.labels(outcome, reason).inc()

    def count_shadow(self, outcome: str, reason: str = "") -> None:
        """A cycle was done with by the shadow model."""
        self._shadow_runs.labels(outcome, reason).inc()

    def expect_deliveries(self, receiver: str) -> None:
        """There is such a receiver."""
        for outcome in DELIVERY_OUTCOMES:
            self._deliveries.labels(receiver, outcome)

    def count_delivery(self, receiver: str, outcome: str) -> None:
        """An event was sent, or could not be."""
        self._deliveries.labels(receiver, outcome).inc()

    def time_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. route: the template, never the path that a client may invent."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    @contextmanager
    def time_stage(self, stage: str) -> Iterator[None]:
        """Measure the block as one stage, whether it succeeds or not."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages.labels(stage).observe(time.perf_counter() - started)


def _reasons(error: type[RainpostError]) -> set[str]:
    """Of an error and all below it."""
    return {error.reason}.union(*(_reasons(child) for child in error.__subclasses__()))
