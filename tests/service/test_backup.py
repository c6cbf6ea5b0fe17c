"""The drill: a backup while cycles run, the loss of everything, and what comes back; on both databases."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from service import backup as backup_module
from service.__main__ import main
from service.backup import back_up, restore
from service.early_inference import EarlyInference
from service.errors import SettingsError
from service.settings import Settings
from service.times import iso_time
from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_postgresql import new_database
from tests.service.sample_service import ServiceClient, reach, running, submit

HOUR = np.timedelta64(1, "h")
TIMES = [REFERENCE_TIME + number * 6 * HOUR for number in range(4)]
DONE, FIRST, SECOND, COMES_LATER = TIMES
"""Cycles: published before the backup, two at work of which one ends meanwhile, handed in meanwhile."""


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which database."""
    return str(request.param)


class Turnstile:
    """Lets the inferences of whole cycles through one by one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._semaphore = threading.Semaphore(0)
        infer = EarlyInference.infer

        def held(early: EarlyInference, values: NDArray[np.float32]) -> NDArray[np.float32]:
            assert self._semaphore.acquire(timeout=120)
            return infer(early, values)

        monkeypatch.setattr(EarlyInference, "infer", held)

    def let(self, many: int = 1) -> None:
        """So many more may pass."""
        self._semaphore.release(many)


def hand_in(client: ServiceClient, folder: Path, time: np.datetime64, prefer: str | None = None) -> str:
    """Post a cycle; the path of its job."""
    paths = write_cycle(folder / "cycles" / iso_time(time), replaced(reference_time=time))
    answer = submit(client, paths, prefer, reference_time=iso_time(time))
    assert answer.is_success, answer.text
    return str(answer.headers["location"])


def is_removed(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def stage(client: ServiceClient, job: str) -> str | None:
    found: str | None = client.get(job).json()["stage"]
    return found


def observe(client: ServiceClient, folder: Path) -> None:
    for hour in (2, 3):
        path = write_dfs(folder, DONE + hour * HOUR, sample_rain_mm(hour))
        answer = client.post("/observations", files=[("files", (path.name, path.read_bytes()))])
        assert answer.status_code == 201, answer.text


def state(client: ServiceClient, time: np.datetime64) -> str | None:
    answer = client.get(f"/cycles/{iso_time(time)}")
    return answer.json()["state"] if answer.is_success else None


def settings_of(folder: Path, database: dict[str, str]) -> Settings:
    paths = {"models_folder": folder / "models", "data_folder": folder / "data"}
    return Settings.model_validate(paths | {"threads": 1} | database)


def test_all_that_was_published_comes_back_and_what_was_at_work_goes_on(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def database() -> dict[str, str]:
        """A new and empty one."""
        if kind == "sqlite":
            return {}
        return {"database_url": new_database(request.getfixturevalue("server"))}

    first, target = database(), tmp_path / "backup"
    with running(tmp_path, shutdown_grace_seconds=0, jobs_at_once=2, **first) as client:
        hand_in(client, tmp_path, DONE, "wait=60")
        observe(client, tmp_path)
        scores, totals = client.get("/verification").json(), client.runtime.ledger.totals()
        assert len(totals) == 8
        back_up(client.runtime.settings, target)
        turnstile = Turnstile(monkeypatch)
        jobs = [hand_in(client, tmp_path, time) for time in (FIRST, SECOND)]
        reach(lambda: all(stage(client, job) == "infer" for job in jobs))
        copy_files = backup_module._copy_files

        def copy_late(*arguments: Any) -> None:
            """Much happens once the database is copied."""
            turnstile.let()
            reach(lambda: [client.get(job).json()["state"] for job in jobs].count("succeeded") == 1)
            hand_in(client, tmp_path, COMES_LATER)
            copy_files(*arguments)

        monkeypatch.setattr(backup_module, "_copy_files", copy_late)
        made = back_up(client.runtime.settings, target)
        assert (made.products, made.observations, made.models) == (2, 2, ("sample-0.1.0",))
    turnstile.let(9)
    # A job that was let go on may still write.
    reach(lambda: is_removed(tmp_path / "data"))
    shutil.rmtree(tmp_path / "models")
    assert len(list(target.glob("database-*"))) == 1, "the one before is gone"

    second = database()
    assert restore(settings_of(tmp_path, second), target) == made
    with running(tmp_path, **second) as client:
        reach(lambda: all(client.get(job).json()["state"] == "succeeded" for job in jobs))
        assert [state(client, time) for time in TIMES] == ["published"] * 3 + [None]
        assert client.get("/verification").json() == scores
        assert client.runtime.ledger.totals() == totals
        metrics = client.get("/metrics").text
        assert 'rainpost_stage_duration_seconds_count{stage="decode"} 0.0' in metrics, "that was done"
        assert 'rainpost_stage_duration_seconds_count{stage="infer"} 1.0' in metrics, "of the one at work"
        for time in TIMES[:3]:
            (record,) = client.runtime.store.revisions(time)
            answer = client.get(
                f"/cycles/{iso_time(time)}/product", headers={"Accept": "application/x-netcdf"}
            )
            assert hashlib.sha256(answer.content).hexdigest() == record.sha256
            with xr.open_dataset(client.runtime.store.product_path(record)) as product:
                assert np.isfinite(product["class_probability"]).all()
        hand_in(client, tmp_path, COMES_LATER, "wait=60")
        assert state(client, COMES_LATER) == "published", "what came too late for the backup is sent again"


def test_a_file_that_is_not_what_was_published_is_found(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        hand_in(client, tmp_path, DONE, "wait=60")
        observe(client, tmp_path)
    settings, target = settings_of(tmp_path, {}), tmp_path / "backup"
    back_up(settings, target)
    (product,) = target.glob("data/products/*/r1.nc")
    product.write_bytes(product.read_bytes()[:-1])
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(SettingsError, match="not what was published") as caught:
        restore(settings, target)
    assert caught.value.where == str(tmp_path / "data" / product.relative_to(target / "data"))


def test_a_backup_that_did_not_come_to_its_end_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, target = settings_of(tmp_path, {}), tmp_path / "backup"
    with running(tmp_path) as client:
        hand_in(client, tmp_path, DONE, "wait=60")
    first = back_up(settings, target)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup_module, "_copy_files", fail)
    with pytest.raises(OSError, match="No space"):
        back_up(settings, target)
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "data")
    assert restore(settings, target) == first
    with running(tmp_path) as client:
        assert state(client, DONE) == "published"
    back_up(settings, target)
    assert len(list(target.glob("database-*"))) == 1


def test_nothing_is_overwritten(server: str, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    with running(tmp_path) as client:
        hand_in(client, tmp_path, DONE, "wait=60")
    settings = settings_of(tmp_path, {})
    with pytest.raises(SettingsError, match="cannot lie in the data folder"):
        back_up(settings, tmp_path / "data" / "backup")
    back_up(settings, target)
    with pytest.raises(SettingsError, match="into an empty data folder"):
        restore(settings, target)
    url = {"database_url": new_database(server)}
    with pytest.raises(SettingsError, match="another kind of database"):
        restore(settings_of(tmp_path, url), target)
    with pytest.raises(SettingsError, match="a dump is for PostgreSQL"):
        back_up(settings, target, target / "backup.json")
    with pytest.raises(SettingsError, match="no service has run"):
        back_up(settings_of(tmp_path / "elsewhere", {}), target)
    with pytest.raises(SettingsError, match="not a backup"):
        restore(settings_of(tmp_path / "elsewhere", {}), tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_database_that_is_in_use_is_not_restored_into(server: str, tmp_path: Path) -> None:
    url = {"database_url": new_database(server)}
    with running(tmp_path, **url) as client:
        hand_in(client, tmp_path, DONE, "wait=60")
    settings, target = settings_of(tmp_path, url), tmp_path / "backup"
    back_up(settings, target)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(SettingsError, match="empty database"):
        restore(settings, target)
    assert not (tmp_path / "data").exists()
    restore(settings, target, with_database=False)
    with running(tmp_path, **url) as client:
        assert state(client, DONE) == "published"


def test_dumps_that_are_made_and_restored_elsewhere(server: str, tmp_path: Path) -> None:
    url = new_database(server)
    with running(tmp_path, database_url=url) as client:
        hand_in(client, tmp_path, DONE, "wait=60")
        dump = tmp_path / "rainpost.dump"
        command = ["pg_dump", f"--dbname={url}", "--format=custom", "--no-owner", f"--file={dump}"]
        subprocess.run(command, check=True)
        hand_in(client, tmp_path, FIRST, "wait=60")
        backup = back_up(client.runtime.settings, tmp_path / "backup", dump)
    shutil.rmtree(tmp_path / "data")
    new = new_database(server)
    held = tmp_path / "backup" / backup.database / "database.dump"
    arguments = ["--no-owner", "--single-transaction", "--exit-on-error"]
    subprocess.run(["pg_restore", f"--dbname={new}", *arguments, held], check=True)
    restore(settings_of(tmp_path, {"database_url": new}), tmp_path / "backup", with_database=False)
    with running(tmp_path, database_url=new) as client:
        assert [state(client, time) for time in (DONE, FIRST)] == ["published"] * 2
        hand_in(client, tmp_path, FIRST, "wait=60")
        assert len(client.runtime.store.revisions(FIRST)) == 1, "found done, though the database is older"


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for setting in Settings.describe():
        monkeypatch.delenv(setting.variable, raising=False)
    write_artefact(tmp_path / "models")
    monkeypatch.setenv("RAINPOST_MODELS_FOLDER", str(tmp_path / "models"))
    monkeypatch.setenv("RAINPOST_DATA_FOLDER", str(tmp_path / "data"))
    assert main(["backup", str(tmp_path / "backup")]) == 1
    assert "no service has run" in capsys.readouterr().err
    with running(tmp_path) as client:
        hand_in(client, tmp_path, DONE, "wait=60")
    assert main(["backup", str(tmp_path / "backup")]) == 0
    assert (
        "1 revisions of products, 0 of observations, sqlite, models sample-0.1.0" in capsys.readouterr().out
    )
    assert main(["restore", str(tmp_path / "backup")]) == 1
    shutil.rmtree(tmp_path / "data")
    assert main(["restore", str(tmp_path / "backup")]) == 0
    assert capsys.readouterr().out.startswith("restored the state of 20")
