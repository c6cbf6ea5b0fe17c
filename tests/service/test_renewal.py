"""Notes of jobs that are to begin anew: kept, with all that they are queued with, until they are queued."""

from __future__ import annotations

from pathlib import Path

from service.references import hash_file
from service.renewal import Renewal, Renewals
from service.stages import Task
from service.store import ModelIdentity
from service.submission import Submission


def _renewal(folder: Path, name: str, priority: int) -> Renewal:
    path = folder / name
    path.write_text(name)
    model = ModelIdentity(name="sample", version="0.1.0", sha256="a" * 64, manifest_sha256="b" * 64)
    task = Task(submission=Submission.of([hash_file(path)], "2026-11-22T00:00Z"), model=model)
    return Renewal(task=task, attributes={"cycle": name}, priority=priority)


def test_a_note_is_left_until_its_job_is_queued(tmp_path: Path) -> None:
    folder = tmp_path / "renewals"
    assert list(Renewals(folder).left()) == []
    first, second = _renewal(tmp_path, "one", 1), _renewal(tmp_path, "two", 20)
    Renewals(folder).note("a", first)
    Renewals(folder).note("b", second)
    renewals = Renewals(folder)
    assert dict(renewals.left()) == {"a": first, "b": second}
    renewals.done("a")
    assert dict(renewals.left()) == {"b": second}


def test_half_a_note_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.json.partial").write_text("{")
    assert list(Renewals(tmp_path).left()) == []
