"""The table of Prometheus series: what it promises is what the service shows, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.series import SERIES, SeriesDescription, describe
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_receiver import addressed, receiving
from tests.service.sample_service import ServiceClient, running, submit

HOUR = np.timedelta64(1, "h")


@pytest.fixture(scope="module")
def client(service_folder: Path) -> Iterator[ServiceClient]:
    """With all that brings series."""
    with receiving() as receiver, running(service_folder, **addressed(receiver.url())) as client:
        yield client


@pytest.fixture(scope="module")
def scrape(client: ServiceClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """``/metrics`` after a cycle, an observation and a refused one."""
    folder = tmp_path_factory.mktemp("files")
    assert submit(client, write_cycle(folder)).status_code == 200
    path = write_dfs(folder, REFERENCE_TIME + 2 * HOUR, sample_rain_mm(1))
    for name, status in ((path.name, 201), ("unknown.txt", 422)):
        answer = client.post("/observations", files=[("files", (name, path.read_bytes()))])
        assert answer.status_code == status, answer.text
    return client.get("/metrics").text


def test_all_series_are_shown_as_described(scrape: str) -> None:
    shown = {
        family.name: (
            family.type,
            family.documentation,
            {name for sample in family.samples for name in sample.labels} - {"le"},
        )
        for family in text_string_to_metric_families(scrape)
        if family.name.startswith("rainpost_") and not family.name.endswith("_created")
    }
    described = {one.name: (one.kind, one.meaning, set(one.labels)) for one in SERIES.values()}
    assert shown == described


def test_every_sample_has_a_value(scrape: str) -> None:
    for family in text_string_to_metric_families(scrape):
        if family.name.startswith("rainpost_"):
            assert family.samples, f"{family.name} has no sample"
            assert all(not np.isnan(sample.value) for sample in family.samples)


@pytest.mark.parametrize("series", describe(), ids=lambda series: series.name)
def test_names_follow_the_conventions(series: SeriesDescription) -> None:
    assert re.fullmatch(r"rainpost_[a-z][a-z0-9_]*[a-z0-9]", series.name)
    assert (series.kind == "counter") == series.name.endswith("_total")
    assert not re.search(r"_(milliseconds|minutes|hours|days|percent|kilobytes|megabytes)$", series.name)
    assert series.kind != "histogram" or series.name.endswith("_seconds")
    assert not series.meaning.endswith(".")


def test_keys_are_the_names_without_their_prefix() -> None:
    assert all(series.name == f"rainpost_{key}" for key, series in SERIES.items())


def test_failures_begin_at_zero(client: ServiceClient) -> None:
    registry = client.runtime.metrics.registry
    for reason in ("internal-error", "missing-lead", "worker-died"):
        labels = {"outcome": "failed", "reason": reason}
        assert registry.get_sample_value("rainpost_jobs_total", labels) == 0.0
        labels["outcome"] = "refused"
        assert registry.get_sample_value("rainpost_observations_total", labels) == 0.0
