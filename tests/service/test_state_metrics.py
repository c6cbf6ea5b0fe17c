"""The state as Prometheus series: read at each scrape, whatever else is broken."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.artefact import Artefact
from service.cycle import read_cycle
from service.runtime import Runtime
from service.schedule import Schedule, now_utc
from service.settings import Settings
from service.store import ModelIdentity, Origin, Record
from service.summaries import summarise
from tests.service.sample_artefact import SAMPLE_SPECIFICATION, write_artefact
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_service import Gate, running, submit, submit_held

HOUR = np.timedelta64(1, "h")
REFERENCE_SECONDS = float(REFERENCE_TIME.astype(np.int64))

ORIGIN = Origin(
    key="",
    model=ModelIdentity(name="sample", version="0.1.0", sha256="a" * 64, manifest_sha256="b" * 64),
    inputs=(),
    leads_hours=(2, 3),
)


def value(registry: CollectorRegistry, series: str, /, **labels: str) -> float | None:
    return registry.get_sample_value(f"rainpost_{series}", labels)


@pytest.fixture
def registry(tmp_path: Path) -> CollectorRegistry:
    """Of a service that is not started."""
    write_artefact(tmp_path / "models")
    paths = {"models_folder": tmp_path / "models", "data_folder": tmp_path / "data"}
    return Runtime(Settings.model_validate(paths | {"threads": 1})).metrics.registry


def test_a_service_that_is_new(registry: CollectorRegistry, tmp_path: Path) -> None:
    assert value(registry, "last_published_reference_time_seconds") == 0.0
    assert value(registry, "last_observation_time_seconds") == 0.0
    assert value(registry, "publish_delay_seconds") is None
    assert value(registry, "cycle_leads", state="present") is None
    usage = shutil.disk_usage(tmp_path)
    assert value(registry, "disk_size_bytes", folder="data") == usage.total
    assert 0 < (value(registry, "disk_free_bytes", folder="data") or 0) <= usage.total
    assert value(registry, "disk_minimum_free_bytes", folder="data") == 1024**3
    assert value(registry, "disk_used_bytes", folder="products") == 0.0
    assert value(registry, "disk_newest_cycle_bytes") == 0.0
    assert value(registry, "keep_seconds") == 0.0, "everything is kept"
    digest = Artefact.load(tmp_path / "models" / "sample-0.1.0").model_sha256
    labels = {"role": "active", "name": "sample", "version": "0.1.0", "sha256": digest}
    assert value(registry, "model_info", **labels, provider="cpu", required="cpu") == 1.0


def test_a_database_that_does_not_answer_takes_nothing_else_down(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert value(registry, "job_database_up") == 0.0, "the queue is not started"
        assert value(registry, "unfinished_jobs", state="queued") is None
    assert "the job database does not answer" in caplog.text
    assert value(registry, "last_published_reference_time_seconds") == 0.0


def test_a_record_that_cannot_be_read_takes_nothing_else_down(
    registry: CollectorRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data" / "products" / "20261122T000000Z"
    folder.mkdir(parents=True)
    (folder / "r1.json").write_text("{")
    with caplog.at_level(logging.ERROR):
        assert value(registry, "last_published_reference_time_seconds") is None
        assert value(registry, "last_observation_time_seconds") == 0.0
    assert "a part of the metrics cannot be read" in caplog.text


def test_a_fallback_of_the_runtime_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_artefact(tmp_path / "models")
    paths = {"models_folder": tmp_path / "models", "data_folder": tmp_path / "data"}
    runtime = Runtime(Settings.model_validate(paths))
    monkeypatch.setattr(runtime.inference, "provider", "cuda")
    (info,) = [one for one in runtime.metrics.registry.collect() if one.name == "rainpost_model_info"]
    (sample,) = info.samples
    assert (sample.labels["provider"], sample.labels["required"]) == ("cpu", "cuda")


def test_the_newest_cycle_with_its_input_and_output(tmp_path: Path) -> None:
    paths = write_cycle(tmp_path / "cycle")
    earlier = write_cycle(tmp_path / "earlier", replaced(reference_time=REFERENCE_TIME - 6 * HOUR), 3.0)
    with running(tmp_path) as client:
        for files in (paths, earlier):
            assert submit(client, files).status_code == 200
        registry, runtime = client.runtime.metrics.registry, client.runtime
        (record,) = runtime.store.revisions(REFERENCE_TIME)
        manifest = runtime.inference.artefact.manifest
        cycle = read_cycle(paths, SAMPLE_SPECIFICATION)
        expected = summarise(cycle, runtime.inference.infer(cycle.values), manifest)
        assert value(registry, "last_published_reference_time_seconds") == REFERENCE_SECONDS
        delay = record.created.timestamp() - REFERENCE_SECONDS
        assert value(registry, "publish_delay_seconds") == pytest.approx(delay)
        newest_bytes = value(registry, "disk_newest_cycle_bytes") or 0
        assert newest_bytes > record.size_bytes
        assert (value(registry, "disk_used_bytes", folder="products") or 0) > 2 * record.size_bytes
        assert value(registry, "cycle_leads", state="present") == 2
        assert value(registry, "cycle_leads", state="missing") == 0
        for channel, summary in expected.channels.items():
            assert value(registry, "input_z_score_mean", channel=channel) == summary.mean
            assert value(registry, "input_z_score_largest", channel=channel) == summary.largest
            deviation = value(registry, "input_z_score_standard_deviation", channel=channel)
            assert deviation == summary.standard_deviation
            assert value(registry, "input_missing_ratio", channel=channel) == 0.0
        for one in expected.classes:
            labels = {"source": one.source, "lead_hours": str(one.lead_hours), "class": one.name}
            assert value(registry, "output_class_ratio", **labels) == one.ratio
    with running(tmp_path) as client:
        again = value(client.runtime.metrics.registry, "last_published_reference_time_seconds")
        assert again == REFERENCE_SECONDS, "a restart forgets nothing"


def test_leads_that_are_missing_and_the_delay_of_the_first_revision(tmp_path: Path) -> None:
    write_artefact(tmp_path / "models")
    paths = {"models_folder": tmp_path / "models", "data_folder": tmp_path / "data"}
    runtime = Runtime(Settings.model_validate(paths))

    def publish(key: str, leads: tuple[int, ...]) -> Record:
        origin = ORIGIN.model_copy(update={"key": key, "leads_hours": leads})
        return runtime.store.publish(REFERENCE_TIME, origin, lambda path, _: path.touch())

    first = publish("one", (3,))
    registry = runtime.metrics.registry
    assert value(registry, "cycle_leads", state="missing") == 1
    assert value(registry, "input_z_score_mean", channel="temperature_2m") is None, "it has no summary"
    publish("two", (2, 3))
    assert value(registry, "cycle_leads", state="missing") == 0
    delay = first.created.timestamp() - REFERENCE_SECONDS
    assert value(registry, "publish_delay_seconds") == pytest.approx(delay)


def test_cycles_by_state(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    with running(tmp_path, inbox=str(tmp_path / "inbox")) as client:
        registry, runtime = client.runtime.metrics.registry, client.runtime
        late = value(registry, "cycles", state="late") or 0
        assert late >= 6, "of two days, and none is due before six hours"
        assert value(registry, "cycles", state="partial") == 0
        schedule = Schedule.of(runtime.settings)
        (*_, oldest) = (time for time in schedule.open_cycles(now_utc() + HOUR))
        origin = ORIGIN.model_copy(update={"leads_hours": (3,)})
        runtime.store.publish(oldest, origin, lambda path, _: path.touch())
        assert value(registry, "cycles", state="partial") == 1
        assert value(registry, "cycles", state="late") in {late - 1, late}, "another one may be late by now"


def test_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as client:
        registry = client.runtime.metrics.registry
        assert value(registry, "job_database_up") == 1.0
        assert value(registry, "oldest_unfinished_job_time_seconds") == 0.0
        gate = Gate(client, monkeypatch)
        running_job = submit_held(client, write_cycle(tmp_path / "cycle"))
        second = submit(client, write_cycle(tmp_path / "second", scale=2.0), prefer=None)
        assert value(registry, "unfinished_jobs", state="running") == 1
        assert value(registry, "unfinished_jobs", state="queued") == 1
        job = client.runtime.jobs.get(running_job.rpartition("/")[2])
        assert value(registry, "oldest_unfinished_job_time_seconds") == job.created.timestamp()
        gate.open()
        assert submit(client, write_cycle(tmp_path / "second", scale=2.0)).status_code == 200
        assert second.status_code == 202
        assert value(registry, "unfinished_jobs", state="queued") == 0
        assert value(registry, "oldest_unfinished_job_time_seconds") == 0.0


def test_the_newest_observation(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        for hour in (3, 2):
            path = write_dfs(tmp_path, REFERENCE_TIME + hour * HOUR, sample_rain_mm(hour))
            client.post("/observations", files=[("files", (path.name, path.read_bytes()))])
        found = value(client.runtime.metrics.registry, "last_observation_time_seconds")
        assert found == REFERENCE_SECONDS + 3 * 3600
