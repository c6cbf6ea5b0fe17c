"""From the inbox to the product, by a service that looks for itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from service import ingest
from service.__main__ import main
from service.cycle import read_cycle
from service.early_results import EarlyResults
from service.early_work import EarlyWork
from service.gate import GateLimits
from service.inbox import Inbox, Settling
from service.ingest import Ingest
from service.job import STAGES
from service.product import RAW_PRECIPITATION
from service.schedule import Schedule, now_utc
from service.settings import Settings
from service.stages import EARLY
from service.times import compact_time, iso_time
from tests.service.sample_artefact import SAMPLE_SPECIFICATION
from tests.service.sample_cycle import replaced, write_cycle
from tests.service.sample_service import ServiceClient, problem, reach, running, submit

HOUR = np.timedelta64(1, "h")
INTERVAL = 6 * HOUR
NOW = now_utc()
NEWEST = NOW.astype("datetime64[D]") + (NOW - NOW.astype("datetime64[D]")) // INTERVAL * INTERVAL
"""The newest cycle of the schedule when the tests began."""

MISSED = [NEWEST - number * INTERVAL for number in (5, 6, 7)]
"""Cycles that lie in the inbox before the service starts."""


def put(inbox: Path, time: np.datetime64, scale: float = 1.0) -> list[Path]:
    """A cycle in the inbox, in a folder of its own."""
    return write_cycle(
        inbox / compact_time(time)[:8] / compact_time(time)[9:11], replaced(reference_time=time), scale
    )


@pytest.fixture(scope="module")
def inbox(service_folder: Path) -> Path:
    """Of the module's service, with what it missed."""
    for time in MISSED:
        put(service_folder / "inbox", time)
    return service_folder / "inbox"


@pytest.fixture(scope="module")
def client(service_folder: Path, inbox: Path) -> Iterator[ServiceClient]:
    settings = {
        "inbox": str(inbox),
        "inbox_pattern": "%Y%m%d/%H/*.gb2",
        "inbox_poll_seconds": 0.1,
        "inbox_settle_seconds": 0,
        "cycle_deadline_hours": 20,
        "minimum_leads": 1,
    }
    with running(service_folder, **settings) as client:
        yield client


def state(client: ServiceClient, time: np.datetime64) -> str:
    found: str = client.get(f"/cycles/{iso_time(time)}").json()["state"]
    return found


def test_missed_cycles_are_caught_up_with_newest_first(client: ServiceClient) -> None:
    reach(lambda: all(state(client, time) == "published" for time in MISSED))
    # A product is there before its job has ended.
    reach(lambda: not client.runtime.jobs.unfinished())
    documents = [client.get(f"/cycles/{iso_time(time)}").json() for time in MISSED]
    published = [document["revisions"][0]["created"] for document in documents]
    assert published == sorted(published)
    for document in documents:
        (job,) = document["jobs"]
        assert (job["state"], job["source"], job["revision"]) == ("succeeded", "inbox", 1)
        assert [stage["name"] for stage in job["stages"]] == list(STAGES)
        assert document["leads"] == {"expected": [2, 3], "present": [2, 3], "missing": []}
        assert document["revisions"][0]["delay_seconds"] > 24 * 3600
    listed = {one["reference_time"]: one["state"] for one in client.get("/cycles").json()["cycles"]}
    assert all(listed[iso_time(time)] == "published" for time in MISSED)
    assert listed[iso_time(NEWEST)] == "expected"
    assert listed[iso_time(NEWEST - 4 * INTERVAL)] == "late"


def test_a_cycle_is_partial_after_its_deadline_until_the_rest_comes(
    client: ServiceClient, inbox: Path, tmp_path: Path
) -> None:
    time = NEWEST - 4 * INTERVAL
    paths = put(tmp_path, time)
    folder = inbox / paths[0].parent.relative_to(tmp_path)
    folder.mkdir(parents=True)
    shutil.copy(paths[2], folder)
    shutil.copy(paths[1], folder)
    reach(lambda: state(client, time) == "partial")
    document = client.get(f"/cycles/{iso_time(time)}").json()
    assert document["leads"] == {"expected": [2, 3], "present": [3], "missing": [2]}
    first = client.get(document["product"])
    (tmp_path / "product.nc").write_bytes(first.content)
    with xr.open_dataset(tmp_path / "product.nc") as product:
        assert product["lead_status"].values.tolist() == [0, 1]
        assert np.isnan(product["class_probability"].sel(lead=2)).all()
        assert np.isfinite(product["class_probability"].sel(lead=3)).all()

    shutil.copy(paths[0], folder)
    reach(lambda: state(client, time) == "published")
    document = client.get(f"/cycles/{iso_time(time)}").json()
    assert [one["leads_hours"] for one in document["revisions"]] == [[3], [2, 3]]
    assert document["revision"] == 2
    assert client.get(document["revisions"][0]["product"]).content == first.content
    assert len(document["revisions"][1]["inputs"]) == 3


def test_before_the_deadline_a_cycle_waits_for_its_leads_and_is_read_meanwhile(
    client: ServiceClient, inbox: Path, tmp_path: Path
) -> None:
    time = NEWEST - INTERVAL
    *some, last = put(tmp_path, time)
    folder = inbox / last.parent.relative_to(tmp_path)
    folder.mkdir(parents=True)
    for path in some:
        shutil.copy(path, folder)
    parameters = {"reference_time": iso_time(time)}
    reach(lambda: client.post("/ingest", params=parameters).json()["outcome"] == "incomplete")
    assert state(client, time) == "expected"
    early = client.runtime.settings.data_folder / EARLY / compact_time(time)

    def kept() -> dict[str, NDArray[np.float32]]:
        found = {path.name: EarlyResults(early).get(path.name) for path in early.glob("*")}
        return {key: values for key, values in found.items() if values is not None and values.ndim == 3}

    # The lead, and its probabilities.
    reach(lambda: len(kept()) == 2)
    expected = read_cycle(some, SAMPLE_SPECIFICATION, minimum_leads=1).values[0]
    (lead,) = (key for key, values in kept().items() if np.array_equal(values, expected))
    # A mark that only a product of what was read early can carry.
    marked = expected.copy()
    marked[-1] += 1.0
    EarlyResults(early).put(lead, marked)
    shutil.copy(last, folder)
    reach(lambda: state(client, time) == "published")
    document = client.get(f"/cycles/{iso_time(time)}").json()
    assert len(document["revisions"]) == 1
    (tmp_path / "product.nc").write_bytes(client.get(document["product"]).content)
    with xr.open_dataset(tmp_path / "product.nc") as product:
        rain_mm = product[RAW_PRECIPITATION].values
    np.testing.assert_array_equal(rain_mm[0], marked[-1])
    whole = read_cycle([*some, last], SAMPLE_SPECIFICATION).values
    np.testing.assert_array_equal(rain_mm[1], whole[1, -1])
    reach(lambda: not early.exists())


def test_an_inbox_that_is_cleared_file_by_file_leaves_nothing_to_wait_for(
    client: ServiceClient, inbox: Path, tmp_path: Path
) -> None:
    time = NEWEST - 3 * INTERVAL
    first, *_ = put(tmp_path, time)
    folder = inbox / first.parent.relative_to(tmp_path)
    folder.mkdir(parents=True)
    shutil.copy(first, folder)
    parameters = {"reference_time": iso_time(time)}
    ingest = client.runtime.ingest
    assert ingest is not None
    reach(lambda: ingest.early.is_done(1))
    (folder / first.name).unlink()
    assert client.post("/ingest", params=parameters).json()["outcome"] == "absent"
    assert ingest.early.is_done(0)


def test_asking_as_well_does_nothing_twice(client: ServiceClient) -> None:
    time = iso_time(MISSED[0])
    reach(lambda: state(client, MISSED[0]) == "published")
    answer = client.post("/ingest", params={"reference_time": time})
    assert answer.status_code == 200, answer.text
    assert answer.json()["outcome"] == "known"
    assert len(client.get(f"/cycles/{time}").json()["jobs"]) == 1
    absent = client.post("/ingest", params={"reference_time": "1999-01-01T00Z"})
    assert (absent.status_code, absent.json()["outcome"]) == (200, "absent")


def test_a_posted_cycle_is_known_to_the_inbox(client: ServiceClient, inbox: Path, tmp_path: Path) -> None:
    time = NEWEST - 2 * INTERVAL
    paths = put(tmp_path, time)
    assert submit(client, paths, reference_time=iso_time(time)).status_code == 200
    shutil.copytree(tmp_path, inbox, dirs_exist_ok=True)
    parameters = {"reference_time": iso_time(time)}
    reach(lambda: client.post("/ingest", params=parameters).json()["outcome"] == "known")
    assert len(client.get(f"/cycles/{iso_time(time)}").json()["revisions"]) == 1


def environment(client: ServiceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings with which a command finds the running service."""
    for setting in Settings.describe():
        monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.setenv("RAINPOST_PORT", str(client.base_url.port))


@pytest.mark.usefixtures("kept_logging")
def test_the_commands_ask_the_running_service(
    client: ServiceClient, inbox: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment(client, monkeypatch)
    old = NEWEST - 100 * INTERVAL
    put(inbox, old)
    put(inbox, old - 2 * INTERVAL)[2].unlink()
    arguments = ["--from", iso_time(old - 3 * INTERVAL), "--to", iso_time(old)]
    assert main(["backfill", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{iso_time(old)} submitted: 3 files, leads 2, 3 h",
        f"{iso_time(old - 2 * INTERVAL)} submitted: 2 files, leads 2 h",
        "4 cycles: 2 absent, 2 submitted",
    ]
    assert state(client, old) == "published"
    assert state(client, old - 2 * INTERVAL) == "partial"
    assert client.get(f"/cycles/{iso_time(old)}").json()["jobs"][0]["source"] == "backfill"
    assert main(["backfill", *arguments]) == 0
    assert "2 absent, 2 known" in capsys.readouterr().out
    assert main(["ingest", "--reference-time", iso_time(old)]) == 0
    assert f"{iso_time(old)} published, revision 1" in capsys.readouterr().out
    assert main(["ingest", "--reference-time", "1999010100", "--wait", "0"]) == 2
    assert "the inbox does not hold the cycle" in capsys.readouterr().err
    assert main(["backfill", "--from", "2026010200", "--to", "2026010100"]) == 2


def test_a_cycle_that_nobody_looks_for_any_more_is_not_remembered(
    client: ServiceClient, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, old = client.runtime.ingest, NEWEST - 70 * INTERVAL
    assert found is not None
    paths = [str(path) for path in put(inbox, old)]
    assert [found.take(old).outcome, found.take(old).outcome] == ["unsettled", "submitted"]
    reach(lambda: state(client, old) == "published")
    found.clean()
    assert old in found._done, "somebody asked for it just now"
    monkeypatch.setattr(ingest, "_FORGOTTEN_SECONDS", -1.0)
    found.clean()
    assert old not in found._done.keys() | found._met.keys()
    assert not set(paths) & {*found._settling._since, *map(str, found.early._hashed)}
    assert set(map(str, inbox.rglob("*.gb2"))) & found._settling._since.keys(), "open ones are"


def test_files_from_elsewhere_are_copied_and_given_to_the_job(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = NEWEST - 80 * INTERVAL
    store = fsspec.filesystem("memory")
    paths = put(tmp_path, time)
    for path in paths:
        store.pipe_file(f"/rdaps/{compact_time(time)}/{path.name}", path.read_bytes())
    runtime = client.runtime
    other = Ingest(
        Inbox("memory://rdaps", "%Y%m%dT%H*/*"),
        Settling(0),
        runtime.jobs,
        runtime.store,
        runtime._workers,
        lambda: runtime.models.specification,
        runtime.task,
        None,
        Schedule.of(runtime.settings),
        tmp_path / "copies",
        EarlyWork(runtime._workers, lambda: runtime.inference, tmp_path / "early", tmp_path / "weights"),
    )
    try:
        assert other.take(time).outcome == "unsettled"
        taken = other.take(time)
        assert (taken.outcome, taken.files, taken.leads_hours) == ("submitted", 3, (2, 3))
        reach(lambda: state(client, time) == "published")
        assert other.take(time).outcome == "known"
    finally:
        store.rm("/rdaps", recursive=True)
    assert list((tmp_path / "copies").iterdir()) == []
    names = {one["name"] for one in client.get(f"/cycles/{iso_time(time)}").json()["revisions"][0]["inputs"]}
    assert names == {path.name for path in paths}


def test_what_the_gate_refuses_is_kept_aside(
    client: ServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = NEWEST - 60 * INTERVAL
    paths = put(tmp_path, time)
    stages = client.runtime.jobs._stages
    with monkeypatch.context() as patch:
        patch.setattr(stages, "_limits", GateLimits(z_mean=1e-6, heaviest_share=1.0))
        refusal = problem(submit(client, paths), 422, "gate-refused")
    assert "z-scores" in refusal["expected"]
    document = client.get(f"/cycles/{iso_time(time)}").json()
    assert (document["state"], document["product"]) == ("failed", None)
    assert document["jobs"][0]["problem"]["reason"] == "gate-refused"
    assert client.runtime.store.revisions(time) == []
    (aside,) = (client.runtime.settings.data_folder / "quarantine" / compact_time(time)).iterdir()
    assert {path.name for path in aside.iterdir()} == {
        "cycle.npz",
        "health.json",
        "probabilities.npy",
        "problem.json",
        "product.nc",
    }
    with xr.open_dataset(aside / "product.nc") as product:
        assert product.attrs["revision"] == 0
    assert submit(client, paths).status_code == 200, "with other limits the same files run again"
    assert state(client, time) == "published"


def test_without_an_inbox_there_is_nothing_to_take(
    client: ServiceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.runtime, "ingest", None)
    answer = client.post("/ingest", params={"reference_time": iso_time(NEWEST)})
    assert problem(answer, 409, "conflict")["where"] == "RAINPOST_INBOX"
