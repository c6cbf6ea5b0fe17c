"""Jobs as a reader sees them, beside the service that runs them and after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.cycle_index import CycleIndex
from service.job_reader import JobReader
from service.times import iso_time
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle
from tests.service.sample_service import Gate, reach, running, submit, submit_held

CYCLE = iso_time(REFERENCE_TIME)
LONG_AGO = "2020-01-01T00:00:00Z"


def test_a_reader_sees_what_the_service_sees_and_changes_nothing(
    database: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_cycle(tmp_path / "cycle")
    with running(tmp_path, shutdown_grace_seconds=0, **database) as client:
        chosen, jobs = client.runtime.settings, client.runtime.jobs
        reader = JobReader(chosen.job_database_url, CycleIndex(chosen.data_folder / "work" / "cycles"))
        assert reader.of_cycle(CYCLE) == reader.since(LONG_AGO) == []
        submit(client, paths[:1], prefer="wait=60", reference_time=CYCLE)
        gate = Gate(client, monkeypatch)
        held = submit_held(client, paths).rpartition("/")[2]
        reach(lambda: reader.since(LONG_AGO) == jobs.since(LONG_AGO))
        assert [(job.id, job.state) for job in reader.of_cycle(CYCLE)][:1] == [(held, "running")]
        assert [job.state for job in reader.since(LONG_AGO)] == ["running", "failed"]
    gate.open()
    (left,) = reader.since("2100-01-01T00:00:00Z")
    assert (left.id, left.state) == (held, "running"), "unfinished jobs are there however old they are"
    reader.close()
