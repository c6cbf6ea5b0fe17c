"""What is too old goes, the rest stays, and a kill in between changes nothing of that."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service import expiry, job_rows, retention
from service.errors import SettingsError
from service.job_rows import JobRows
from service.observation_store import ObservationStore
from service.retention import Retention
from service.schedule import now_utc
from service.settings import Settings
from service.store import Store
from service.times import compact_time, iso_time
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_service import running, submit
from tests.service.test_store import origin, write_text

DAY = np.timedelta64(1, "D")
OLD, KEPT, NEWEST = REFERENCE_TIME - 3 * DAY, REFERENCE_TIME - 2 * DAY, REFERENCE_TIME
AFTER = NEWEST + DAY


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published just now may go, and files go at once."""
    monkeypatch.setattr(retention, "_AT_LEAST", timedelta(seconds=-60))
    monkeypatch.setattr(retention, "_GRACE_SECONDS", 0.0)


def fill(data: Path, *times: np.datetime64) -> Store:
    store = Store(data / "products")
    for time in times:
        store.publish(time, origin(str(time)), write_text)
        store.publish(time, origin(f"{time} again"), write_text)
        (data / "explanations" / compact_time(time) / "digest").mkdir(parents=True)
    return store


def keeper(
    data: Path, monkeypatch: pytest.MonkeyPatch | None = None, now: Callable[[], Any] = lambda: AFTER
) -> Retention:
    """Keeps two days; without a job database, whose rows have their own test."""
    for name in ("forget_cycles_before", "forget_strays"):
        if monkeypatch is not None:
            monkeypatch.setattr(JobRows, name, lambda *_: 0)
        else:
            setattr(JobRows, name, lambda *_: 0)
    stores = (Store(data / "products"), Store(data / "shadow"))
    return Retention(data, 2.0, stores, ObservationStore(data / "observations"), now=now)


def test_a_cycle_that_is_too_old_goes_with_all_its_revisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path, OLD, KEPT, NEWEST)
    Store(tmp_path / "shadow").publish(OLD, origin("shadow"), write_text)
    keeper(tmp_path, monkeypatch).round()
    assert store.cycles() == [NEWEST, KEPT]
    assert len(store.revisions(KEPT)) == 2
    left = sorted(path.name for path in store.folder.iterdir())
    assert left == [compact_time(KEPT), compact_time(NEWEST)]
    assert sorted(path.name for path in (tmp_path / "explanations").iterdir()) == left
    assert list((tmp_path / "shadow").iterdir()) == []


def test_a_clock_that_jumps_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill(tmp_path, KEPT, NEWEST)
    keeper(tmp_path, monkeypatch, now=lambda: NEWEST + 365 * DAY).round()
    assert len(store.cycles()) == 2


def test_a_cycle_of_the_far_future_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill(tmp_path, KEPT, NEWEST, NEWEST + 9999 * DAY)
    keeper(tmp_path, monkeypatch).round()
    assert store.cycles() == [NEWEST + 9999 * DAY, NEWEST]


def test_what_was_published_today_stays_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_AT_LEAST", timedelta(days=1))
    store = fill(tmp_path, OLD, NEWEST)
    keeper(tmp_path, monkeypatch).round()
    assert store.cycles() == [NEWEST, OLD]


def test_a_record_that_was_read_before_still_has_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_GRACE_SECONDS", 600.0)
    store = fill(tmp_path, OLD, NEWEST)
    record = store.record(OLD)
    keeper(tmp_path, monkeypatch).round()
    assert store.cycles() == [NEWEST]
    assert store.revisions(OLD) == []
    assert store.product_path(record).read_text() == "product of revision 2"
    assert store.publish(OLD, origin("anew"), write_text).revision == 1
    assert store.cycles() == [NEWEST, OLD]


def test_weights_that_nobody_used_for_long_and_half_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, NEWEST)
    weights = tmp_path / "weights"
    weights.mkdir()
    for name, days in (("a.npz", 9), ("b.npz", 1), ("c.npz.partial", 1.5), ("d.npz.partial", 0)):
        (weights / name).touch()
        then = datetime.now(UTC).timestamp() - 86400 * days
        os.utime(weights / name, (then, then))
    keeper(tmp_path, monkeypatch).round()
    assert sorted(path.name for path in weights.iterdir()) == ["b.npz", "d.npz.partial"]


PLACES = {
    "before the mark": (retention, "clear"),
    "after the rename": (shutil, "rmtree"),
    "before the rename": (expiry, "put_away"),
}


def _die_in_a_round(data: Path, place: str) -> None:
    module, name = PLACES[place]
    setattr(module, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    retention._AT_LEAST, retention._GRACE_SECONDS = timedelta(seconds=-60), 0.0  # type: ignore[misc]
    keeper(data).round()


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_in_a_round_leaves_nothing_that_the_next_does_not_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    store = fill(tmp_path, OLD, KEPT, NEWEST)
    process = multiprocessing.get_context("fork").Process(target=_die_in_a_round, args=(tmp_path, place))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert store.cycles() == [NEWEST, KEPT], "out of sight in one step"
    keeper(tmp_path, monkeypatch).round()
    assert sorted(path.name for path in store.folder.iterdir()) == [compact_time(KEPT), compact_time(NEWEST)]


def test_jobs_and_observations_go_with_their_cycle_and_the_counts_stay(tmp_path: Path) -> None:
    with running(tmp_path, keep_days=2, minimum_free_bytes=0) as client:
        runtime = client.runtime
        for number, time in enumerate((OLD, NEWEST)):
            paths = write_cycle(tmp_path / str(number), replaced(reference_time=time))
            assert submit(client, paths).status_code == 200
            path = write_dfs(tmp_path, time + np.timedelta64(2, "h"), sample_rain_mm(number))
            assert client.post("/observations", files=[("files", (path.name, path.read_bytes()))]).is_success
        (job,) = runtime.jobs.of_cycle(iso_time(OLD))
        counts = client.get("/verification").json()
        assert counts["scores"]
        runtime.retention.round()
        assert [one["reference_time"] for one in client.get("/cycles").json()["cycles"]] == [iso_time(NEWEST)]
        assert client.get(f"/cycles/{iso_time(OLD)}").status_code == 404
        assert client.get(f"/jobs/{job.id}").status_code == 404
        assert runtime.jobs.of_cycle(iso_time(OLD)) == []
        assert len(runtime.jobs.of_cycle(iso_time(NEWEST))) == 1
        assert runtime.observations.times() == [NEWEST + np.timedelta64(2, "h")]
        assert client.get("/verification").json() == counts
        again = submit(client, write_cycle(tmp_path / "0", replaced(reference_time=OLD)))
        assert again.status_code == 200, "handed in again it is corrected again"


def test_a_job_that_is_not_finished_is_not_forgotten() -> None:
    row: Any = type("Row", (), {"status": "PENDING", "created_at": 0})
    assert not job_rows._is_over(row, datetime.now(UTC))
    row.status = "SUCCESS"
    assert job_rows._is_over(row, datetime.now(UTC))
    row.created_at = 1000 * datetime.now(UTC).timestamp() + 60_000
    assert not job_rows._is_over(row, datetime.now(UTC))


def test_what_the_inbox_looks_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAINPOST_KEEP_DAYS", "1")
    with pytest.raises(SettingsError, match="RAINPOST_CATCH_UP_HOURS, which is 2 days"):
        Settings.load()
    monkeypatch.setenv("RAINPOST_CATCH_UP_HOURS", "24")
    assert Settings.load().keep_days == 1


def test_everything_is_kept_by_default(tmp_path: Path) -> None:
    store = fill(tmp_path, OLD, NEWEST)
    kept = Retention(tmp_path, None, (store, store), ObservationStore(tmp_path / "observations"), now=now_utc)
    kept.round()
    kept.start()
    assert not kept._thread.is_alive()
    assert len(store.cycles()) == 2
