"""SIGKILL while the files of an open cycle are read and inferred as they arrive."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from service.durability import TEMPORARY_SUFFIX
from service.store import Store
from service.times import compact_time
from tests.service.sample_arrival import CLEARED, HASHED, SUBMITTED, Arrival, End, begin
from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle
from tests.service.sample_process import RECORD, end

CYCLE = compact_time(REFERENCE_TIME)


class Place:
    """An inbox and what services that look at it leave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox = folder / "inbox" / "2026112200"
        self.inbox.mkdir(parents=True)
        self.data = folder / "data"
        write_artefact(folder / "models")

    def put(self, *paths: Path) -> None:
        for path in paths:
            shutil.copy2(path, self.inbox / path.name)

    def live(self, ends: End, *, killed_in: str | None = None, killed_at_write: int | None = None) -> bool:
        """Whether the process was killed; otherwise it came to its end."""
        files = len(list(self.inbox.iterdir()))
        status = end(begin(Arrival(self.folder, files, ends, killed_in, killed_at_write)))
        assert status in {0, -signal.SIGKILL}
        return status != 0

    def early(self) -> dict[str, bytes]:
        """What is read early, by name."""
        return {path.name: path.read_bytes() for path in (self.data / "work" / "early" / CYCLE).glob("*")}

    def product(self) -> bytes:
        return (self.data / "products" / CYCLE / "r1.nc").read_bytes()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_cycle(tmp_path_factory.mktemp("cycle"))


def whole(early: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in early.items() if not name.endswith(TEMPORARY_SUFFIX)}


def test_a_kill_in_the_middle_of_early_reading_changes_nothing(tmp_path: Path, paths: list[Path]) -> None:
    undisturbed, killed = Place(tmp_path / "undisturbed"), Place(tmp_path / "killed")
    undisturbed.put(*paths)
    assert not undisturbed.live("published")

    killed.put(*paths[:2])
    assert killed.live("read", killed_in=HASHED)
    kept = killed.early()
    assert kept == {}
    # Three channels of lead 2, the lead itself, and its probabilities.
    for count in (2, 4, 5):
        assert killed.live("read", killed_in=CLEARED, killed_at_write=3)
        before, kept = kept, killed.early()
        assert before.items() <= kept.items(), "a kill takes nothing of what was kept before"
        assert len(whole(kept)) == count
    assert len(kept) == 5 + 2, "two kills left half a file"
    assert not killed.live("read")
    assert killed.early() == whole(kept), "which are gone"

    killed.put(paths[2])
    assert killed.live("published", killed_in=SUBMITTED)
    assert killed.live("published", killed_at_write=2), "of the job, which reads lead 3"
    assert killed.live("published", killed_in=RECORD)
    for _ in range(2):
        assert not killed.live("published"), "the second start finds it published"
        (record,) = Store(killed.data / "products").revisions(REFERENCE_TIME)
        assert record.revision == 1
    assert killed.product() == undisturbed.product()

    made = (killed.folder / "diary").read_text().splitlines()
    assert len(made) == len(set(made)) == 5 + 2, "what was kept is not made again"
    assert list(killed.data.rglob(f"*{TEMPORARY_SUFFIX}")) == []
    assert sorted(path.name for path in (killed.data / "products" / CYCLE).iterdir()) == [
        ".lock",
        "r1.json",
        "r1.nc",
    ]
    for folder in ("early", "jobs"):
        assert list((killed.data / "work" / folder).iterdir()) == []
