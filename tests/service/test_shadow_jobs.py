"""A shadow model: run on every published cycle, scored beside the active one, and of no consequence to it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from service import shadow_jobs
from service.job import STAGES
from service.store import Record, Store
from service.times import compact_time, iso_time
from tests.service.sample_artefact import SAMPLE_SPECIFICATION, write_artefact, write_other_artefact
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_process import (
    SHADOW,
    TAKE_OVER,
    Life,
    begin,
    end,
    stages_done,
    submission,
)
from tests.service.sample_service import ServiceClient, reach, running, submit
from tests.service.test_verification_routes import counted, post, row

HOUR = np.timedelta64(1, "h")
DAY = np.timedelta64(1, "D")
ONE, TWO = "sample-0.1.0", "sample-0.2.0"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceClient]:
    """A service whose shadow has other weights than its active model."""
    folder = tmp_path_factory.mktemp("service")
    write_artefact(folder / "models")
    write_other_artefact(folder / "models", version="0.2.0")
    with running(folder, model=ONE, shadow_model=TWO) as client:
        yield client


def publish(client: ServiceClient, folder: Path, day: int, scale: float = 1.0) -> np.datetime64:
    """The cycle of so many days after the sample's; its time."""
    time = REFERENCE_TIME + day * DAY
    answer = submit(client, write_cycle(folder / f"{day}-{scale}", replaced(reference_time=time), scale))
    assert answer.status_code == 200, answer.text
    return time


def runs(client: ServiceClient, outcome: str, reason: str = "") -> float:
    labels = {"outcome": outcome, "reason": reason}
    value = client.runtime.metrics.registry.get_sample_value("rainpost_shadow_runs_total", labels)
    assert value is not None, "it does not begin at zero"
    return value


def done_with(client: ServiceClient, count: float, outcome: str, reason: str = "") -> None:
    """Wait until so many runs have ended in this way and nothing waits."""
    reach(lambda: runs(client, outcome, reason) == count and not client.runtime.shadows.waiting())


def shadow_store(client: ServiceClient) -> Store:
    return Store(client.runtime.settings.data_folder / "shadow")


def product_of(client: ServiceClient, time: np.datetime64) -> xr.Dataset:
    """What the shadow made of a cycle."""
    store = shadow_store(client)
    with xr.open_dataset(store.product_path(store.record(time)), engine="netcdf4") as dataset:
        return dataset.load()


def scores(client: ServiceClient, time: np.datetime64, **more: Any) -> list[dict[str, Any]]:
    span = {"from": iso_time(time), "to": iso_time(time + DAY)}
    found: list[dict[str, Any]] = client.get("/verification", params=span | more).json()["scores"]
    return found


def test_a_shadow_is_scored_and_never_published(client: ServiceClient, tmp_path: Path) -> None:
    before = runs(client, "succeeded")
    rain = sample_rain_mm(2)
    early = write_dfs(tmp_path, REFERENCE_TIME + DAY + 2 * HOUR, rain)
    assert post(client, [early]).status_code == 201
    time = publish(client, tmp_path, 1)
    done_with(client, before + 1, "succeeded")
    late = post(client, [write_dfs(tmp_path, time + 3 * HOUR, rain)]).json()["observations"][0]

    document = client.get(f"/cycles/{iso_time(time)}").json()
    (revision,) = document["revisions"]
    assert revision["model"]["version"] == "0.1.0"
    assert len(late["products"]) == 1, "what is not published is not shown"
    published = xr.open_dataset(client.runtime.store.product_path(client.runtime.store.record(time)))
    made = product_of(client, time)
    assert (published.attrs["model_version"], made.attrs["model_version"]) == ("0.1.0", "0.2.0")
    assert np.abs(published["class_probability"].values - made["class_probability"].values).max() > 0.1
    np.testing.assert_array_equal(published["time"].values, made["time"].values)
    published.close()

    rows = scores(client, time)
    assert {(one["source"], one["model"]) for one in rows} == {
        ("model", ONE),
        ("raw", "sample"),
        ("shadow", TWO),
    }
    for threshold, amount in enumerate((0.1, 10.0)):
        found = row(rows, source="shadow", threshold_mm=amount, lead_hours=None)
        outcomes = counted(made, {2: rain, 3: rain}, threshold)["model"]
        assert {name: found[name] for name in outcomes} == dict(outcomes)
        assert found["matches"] == 2, "before the cycle and after it"
        assert row(rows, source="raw", threshold_mm=amount, lead_hours=None)["matches"] == 2
    by_source = scores(client, time, source="shadow")
    assert by_source == [one for one in rows if one["source"] == "shadow"] != []
    text = client.get("/metrics").text
    assert (
        'rainpost_verification_critical_success_index{days="1",lead_hours="all",model="sample-0.2.0"' in text
    )
    assert 'role="shadow"' in text


def test_a_revision_is_run_again(client: ServiceClient, tmp_path: Path) -> None:
    before = runs(client, "succeeded")
    publish(client, tmp_path, 2)
    time = publish(client, tmp_path, 2, scale=0.5)
    done_with(client, before + 2, "succeeded")
    assert [one.revision for one in shadow_store(client).revisions(time)] == [1, 2]
    assert submit(client, list((tmp_path / "2-0.5").iterdir())).status_code == 200
    assert runs(client, "succeeded") == before + 2, "a submission that is known is nothing new"


def crash(_: object) -> Record:
    """What a model that nobody has tried may do."""
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("not reached")


def test_a_shadow_that_dies_takes_nothing_along(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = runs(client, "failed", "worker-died")
    with monkeypatch.context() as patch:
        patch.setattr(shadow_jobs, "run_shadow", crash)
        time = publish(client, tmp_path, 3)
        done_with(client, before + 1, "failed", "worker-died")
    assert "the shadow failed" in caplog.text
    assert client.get(f"/cycles/{iso_time(time)}").json()["state"] == "published"
    assert shadow_store(client).revisions(time) == []
    succeeded = runs(client, "succeeded")
    publish(client, tmp_path, 4)
    done_with(client, succeeded + 1, "succeeded")


def test_a_fault_while_handing_over_takes_nothing_along(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = runs(client, "failed", "internal-error")
    with monkeypatch.context() as patch:
        patch.setattr(shadow_jobs, "write_durably", fail)
        publish(client, tmp_path, 5)
    assert runs(client, "failed", "internal-error") == before + 1
    assert list((client.runtime.settings.data_folder / "work" / "jobs").iterdir()) == []


def test_what_waits_is_limited_and_dropped_when_the_shadow_ends(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadows, full = client.runtime.shadows, runs(client, "failed", "queue-full")
    dropped = runs(client, "dropped")
    settings = client.runtime.settings.model_copy(update={"max_queued_jobs": 1})
    with monkeypatch.context() as patch:
        patch.setattr(shadows, "tend", lambda: None)
        publish(client, tmp_path, 6)
        assert len(shadows.waiting()) == 1
        patch.setattr(shadows, "_settings", settings)
        publish(client, tmp_path, 7)
        assert runs(client, "failed", "queue-full") == full + 1
        assert client.put("/models/shadow", json={"model": None}).status_code == 200
    done_with(client, dropped + 1, "dropped")
    assert shadow_store(client).revisions(REFERENCE_TIME + 6 * DAY) == []
    publish(client, tmp_path, 8)
    assert shadows.waiting() == []
    assert client.put("/models/shadow", json={"model": TWO}).status_code == 200


def test_a_shadow_may_ask_other_things_of_the_files(client: ServiceClient, tmp_path: Path) -> None:
    models, succeeded = client.runtime.settings.models_folder, runs(client, "succeeded")
    write_artefact(models, SAMPLE_SPECIFICATION.model_copy(update={"leads_hours": (3,)}), version="0.3.0")
    more = ("temperature_500hpa", *SAMPLE_SPECIFICATION.channels)
    write_artefact(models, SAMPLE_SPECIFICATION.model_copy(update={"channels": more}), version="0.4.0")
    assert client.put("/models/shadow", json={"model": "sample-0.3.0"}).status_code == 200
    time = publish(client, tmp_path, 9)
    done_with(client, succeeded + 1, "succeeded")
    assert product_of(client, time)["lead"].values.tolist() == [3]
    assert client.get(f"/cycles/{iso_time(time)}").json()["leads"]["present"] == [2, 3]
    assert client.put("/models/shadow", json={"model": "sample-0.4.0"}).status_code == 200
    time = publish(client, tmp_path, 10)
    done_with(client, 1, "failed", "missing-channel")
    assert client.get(f"/cycles/{iso_time(time)}").json()["state"] == "published"


@pytest.fixture
def settings(database: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Which database, and which models."""
    return (("model", ONE), ("shadow_model", TWO), *database.items())


def test_a_kill_after_the_publication_leads_to_one_result(
    settings: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    write_artefact(tmp_path / "models")
    write_other_artefact(tmp_path / "models", version="0.2.0")
    job = (submission(write_cycle(tmp_path / "cycle"), REFERENCE_TIME),)
    for stage in ("publish", TAKE_OVER, SHADOW):
        life = Life(tmp_path, job, killed_in=stage, settings=settings)
        assert end(begin(life)) == -signal.SIGKILL, stage
    assert end(begin(Life(tmp_path, settings=settings))) == 0
    data = tmp_path / "data"
    (record,) = Store(data / "shadow").revisions(REFERENCE_TIME)
    assert record.origin.model.version == "0.2.0"
    (published,) = Store(data / "products").revisions(REFERENCE_TIME)
    assert published.origin.model.version == "0.1.0"
    assert record.origin.inputs == published.origin.inputs
    names = sorted(path.name for path in (data / "shadow" / compact_time(REFERENCE_TIME)).iterdir())
    assert names == [".lock", "r1.json", "r1.nc"]
    done = Counter(stage for stage, _, _ in stages_done(tmp_path))
    assert done[SHADOW] == 2, "once before the kill at its end, and once after it"
    assert [done[stage] for stage in STAGES] == [1, 1, 1, 1, 2, 1]
    for folder in ("jobs", "locks"):
        assert list((data / "work" / folder).iterdir()) == []
    assert [path.name for path in (data / "work" / "shadows").iterdir()] == [".lock"]


def test_a_run_that_an_older_version_left_begins_anew(tmp_path: Path) -> None:
    write_artefact(tmp_path / "models")
    write_other_artefact(tmp_path / "models", version="0.2.0")
    settings = (("model", ONE), ("shadow_model", TWO))
    job = (submission(write_cycle(tmp_path / "cycle"), REFERENCE_TIME),)
    life = Life(tmp_path, job, killed_in=SHADOW, settings=settings, version="1")
    assert end(begin(life)) == -signal.SIGKILL
    assert end(begin(Life(tmp_path, settings=settings))) == 0
    assert len(Store(tmp_path / "data" / "shadow").revisions(REFERENCE_TIME)) == 1
    assert [path.name for path in (tmp_path / "data" / "work" / "shadows").iterdir()] == [".lock"]
