"""Products, observations, queue, model and disk as Prometheus series, read anew at each scrape.

Read and not remembered: after a restart, and from each of several processes, a scrape tells the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.artefact import Artefact
from service.cycle_states import CycleStates
from service.disk_use import DiskUse
from service.jobs import Jobs
from service.models import Models
from service.observation_store import ObservationStore
from service.series import SERIES
from service.store import Record, Store

_logger = logging.getLogger(__name__)

_INPUT: Final = {
    "input_z_score_mean": "mean",
    "input_z_score_standard_deviation": "standard_deviation",
    "input_z_score_largest": "largest",
    "input_missing_ratio": "missing_ratio",
}


class StateCollector(Collector):
    """Each part stands for itself: one that cannot be read is left out and logged."""

    def __init__(
        self,
        models: Models,
        store: Store,
        observations: ObservationStore,
        jobs: Jobs,
        cycles: CycleStates,
        disk: DiskUse,
    ) -> None:
        self._models = models
        self._store = store
        self._observations = observations
        self._jobs = jobs
        self._cycles = cycles
        self._disk_use = disk

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register the collector is not to scrape it."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All series of the state."""
        parts: tuple[Callable[[], list[Metric]], ...] = (
            self._model_info,
            self._queue,
            self._cycle_states,
            self._disk,
            self._newest_cycle,
            self._newest_observation,
        )
        for part in parts:
            try:
                yield from part()
            except Exception:
                # A scrape must tell what it can, above all when something is wrong.
                _logger.exception("a part of the metrics cannot be read")

    def _model_info(self) -> list[Metric]:
        info = SERIES["model_info"].gauges()
        active, shadow = self._models.active, self._models.shadow
        provider = active.runtime_provider.removesuffix("ExecutionProvider").lower()
        info.add_metric(["active", *_labels(active.artefact), provider, active.provider], 1.0)
        if shadow is not None:
            # It runs in a process of its own, which does not start on another provider.
            info.add_metric(["shadow", *_labels(shadow), active.provider, active.provider], 1.0)
        return [info]

    def _queue(self) -> list[Metric]:
        up = SERIES["job_database_up"].gauges()
        try:
            unfinished = self._jobs.unfinished()
        except Exception:
            # Whatever the database driver raises.
            _logger.exception("the job database does not answer")
            up.add_metric([], 0.0)
            return [up]
        up.add_metric([], 1.0)
        jobs, oldest = (
            SERIES["unfinished_jobs"].gauges(),
            SERIES["oldest_unfinished_job_time_seconds"].gauges(),
        )
        for state in ("queued", "running"):
            jobs.add_metric([state], sum(one == state for one, _ in unfinished))
        oldest.add_metric([], min((created.timestamp() for _, created in unfinished), default=0.0))
        return [up, jobs, oldest]

    def _cycle_states(self) -> list[Metric]:
        cycles = SERIES["cycles"].gauges()
        for state, count in self._cycles.counts().items():
            cycles.add_metric([state], count)
        return [cycles]

    def _disk(self) -> list[Metric]:
        found = self._disk_use.read()
        families = []
        for name, value in {
            "disk_free_bytes": found.free_bytes,
            "disk_size_bytes": found.size_bytes,
            "disk_minimum_free_bytes": found.minimum_free_bytes,
        }.items():
            family = SERIES[name].gauges()
            family.add_metric(["data"], value)
            families.append(family)
        used, cycle, keep = (
            SERIES[name].gauges() for name in ("disk_used_bytes", "disk_newest_cycle_bytes", "keep_seconds")
        )
        for folder, size in found.used_bytes.items():
            used.add_metric([folder], size)
        cycle.add_metric([], found.newest_cycle_bytes)
        keep.add_metric([], 86_400 * (found.keep_days or 0))
        return [*families, used, cycle, keep]

    def _newest_cycle(self) -> list[Metric]:
        published = SERIES["last_published_reference_time_seconds"].gauges()
        reference_time = self._store.newest()
        published.add_metric([], _seconds(reference_time))
        if reference_time is None:
            return [published]
        records = self._store.revisions(reference_time)
        delay = SERIES["publish_delay_seconds"].gauges()
        delay.add_metric([], records[0].created.timestamp() - _seconds(reference_time))
        return [published, delay, self._leads(records[-1]), *_health(records[-1])]

    def _leads(self, record: Record) -> Metric:
        leads = SERIES["cycle_leads"].gauges()
        present = len(record.origin.leads_hours)
        missing = set(self._models.leads_hours) - set(record.origin.leads_hours)
        leads.add_metric(["present"], present)
        leads.add_metric(["missing"], len(missing))
        return leads

    def _newest_observation(self) -> list[Metric]:
        newest = SERIES["last_observation_time_seconds"].gauges()
        newest.add_metric([], _seconds(self._observations.newest_time()))
        return [newest]


def _labels(artefact: Artefact) -> list[str]:
    return [artefact.manifest.name, artefact.manifest.version, artefact.model_sha256]


def _health(record: Record) -> list[Metric]:
    if record.summary is None:
        return []
    families: list[Metric] = []
    for name, attribute in _INPUT.items():
        family = SERIES[name].gauges()
        for channel, summary in record.summary.channels.items():
            family.add_metric([channel], getattr(summary, attribute))
        families.append(family)
    classes = SERIES["output_class_ratio"].gauges()
    for one in record.summary.classes:
        classes.add_metric([one.source, str(one.lead_hours), one.name], one.ratio)
    return [*families, classes]


def _seconds(time: np.datetime64 | None) -> float:
    return 0.0 if time is None else float(time.astype("datetime64[s]").astype(np.int64))
