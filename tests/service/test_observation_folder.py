"""The observation folder: settled files are taken once, whatever the service goes through."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from service.artefact import digest_file
from service.errors import WrongPeriod
from service.observation import Observation
from service.observation_folder import ObservationFolder, ObservationWatch
from service.observation_store import ObservationStore
from service.submission import InputFile
from tests.service.sample_artefact import SAMPLE_SPECIFICATION
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_service import reach, running, submit

HOUR = np.timedelta64(1, "h")
TIME = REFERENCE_TIME + 2 * HOUR


class Taker:
    """Stands in for ``Observing``: notes what it is given, or fails."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.fault: Exception | None = None

    def take(self, files: list[tuple[InputFile, Path]]) -> None:
        self.names += [file.name for file, _ in files]
        if self.fault is not None:
            raise self.fault


class Inbox:
    """A folder with a taker."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "inbox"
        self.path.mkdir()
        self.taker = Taker()
        self.store = ObservationStore(tmp_path / "observations")
        self.folder = ObservationFolder(self.path, self.taker, self.store)  # type: ignore[arg-type]
        self.stopping = threading.Event()

    def look(self) -> list[str]:
        """Names that one look takes."""
        self.taker.names.clear()
        self.folder.look(self.stopping)
        return list(self.taker.names)


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


def test_a_file_is_taken_once_it_has_settled(inbox: Inbox) -> None:
    path = inbox.path / "b.txt"
    path.write_text("1")
    assert inbox.look() == []
    path.write_text("1, 2")
    assert inbox.look() == [], "it has grown"
    (inbox.path / "a.txt").write_text("3")
    assert inbox.look() == ["b.txt"]
    assert inbox.look() == ["a.txt"]
    assert inbox.look() == []
    path.write_text("1, 2, 3")
    assert [inbox.look(), inbox.look(), inbox.look()] == [[], ["b.txt"], []], "a revision of the file"


def test_a_file_that_is_gone_is_not_remembered(inbox: Inbox) -> None:
    path = inbox.path / "a.txt"
    path.write_text("1")
    assert [inbox.look(), inbox.look()] == [[], ["a.txt"]]
    path.unlink()
    inbox.look()
    assert inbox.folder._done == {}


def test_what_is_being_written_or_hidden_is_left_alone(inbox: Inbox) -> None:
    for name in (".a.txt", "b.txt.partial"):
        (inbox.path / name).write_text("1")
    (inbox.path / "folder").mkdir()
    assert [inbox.look(), inbox.look()] == [[], []]


def test_a_bad_file_is_refused_once(inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    (inbox.path / "a.txt").write_text("1")
    inbox.taker.fault = WrongPeriod("the file says no time")
    assert [inbox.look(), inbox.look(), inbox.look()] == [[], ["a.txt"], []]
    assert "a.txt cannot be used: the file says no time" in caplog.text


def test_a_file_that_is_stored_already_is_not_read_again(inbox: Inbox) -> None:
    """As after a restart; another file of the same content is of another hour."""
    stored, other = inbox.path / "a.txt", inbox.path / "b.txt"
    for path in (stored, other):
        path.write_text("0.00")
    file = InputFile(name="a.txt", sha256=digest_file(stored), size_bytes=4)
    observation = Observation(TIME, np.zeros((8, 6), np.float32))
    inbox.store.publish(observation, file, stored, SAMPLE_SPECIFICATION)
    assert [inbox.look(), inbox.look(), inbox.look()] == [[], ["b.txt"], []]


def test_a_fault_of_the_service_is_tried_again(inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    (inbox.path / "a.txt").write_text("1")
    inbox.taker.fault = OSError("disk full")
    assert [inbox.look(), inbox.look(), inbox.look()] == [[], ["a.txt"], ["a.txt"]]
    assert "could not be taken" in caplog.text
    inbox.taker.fault = None
    assert [inbox.look(), inbox.look()] == [["a.txt"], []]


def test_a_look_ends_when_the_service_does(inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.txt", "b.txt"):
        (inbox.path / name).write_text("1")
    inbox.look()
    inbox.stopping.set()
    assert inbox.look() == []
    assert caplog.text == ""


class Idle:
    """Stands in for ``Verification`` and a folder: nothing to do, and a record of what was asked."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.looks = 0

    def catch_up(self, _: threading.Event) -> None:
        if self.fault is not None:
            raise self.fault

    def look(self, _: threading.Event) -> None:
        self.looks += 1
        if self.looks == 1:
            raise PermissionError("the folder is closed")


def test_the_watch_outlives_faults(caplog: pytest.LogCaptureFixture) -> None:
    idle = Idle(RuntimeError("no ledger"))
    watch = ObservationWatch(idle, idle, 0.001)  # type: ignore[arg-type]
    watch.start()
    watch.start()
    reach(lambda: idle.looks > 2)
    watch.stop()
    watch.join()
    assert "could not all be compared" in caplog.text
    assert "cannot be read" in caplog.text


def test_the_service_watches_its_folder_and_catches_up(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    write_dfs(folder, TIME, sample_rain_mm(1))
    settings = {"observation_folder": folder, "observation_poll_seconds": 0.02}

    def matches(source: str) -> list[int]:
        rows = client.get("/verification", params={"source": source, "threshold": 0.1, "lead": 2}).json()
        return [row["matches"] for row in rows["scores"]]

    with running(tmp_path, **settings) as client:
        reach(lambda: len(list((tmp_path / "data" / "observations").glob("*/r1.json"))) == 1)
        submit(client, write_cycle(tmp_path / "cycle"))
        assert matches("model") == [1]
    (tmp_path / "data" / "ledger.sqlite").unlink()
    with running(tmp_path, **settings) as client:
        reach(lambda: matches("raw") == [1])
        reach(lambda: 'rainpost_stage_duration_seconds_count{stage="verify"}' in client.get("/metrics").text)
        assert 'rainpost_observations_total{outcome="new",reason=""} 0.0' in client.get("/metrics").text
    assert len(list(folder.iterdir())) == 1
