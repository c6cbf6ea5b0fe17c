"""The cycles that are waited for: step by step, and nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from service.artefact import Artefact
from service.cycle import read_cycle
from service.early_inference import EarlyInference
from service.early_results import EarlyResults
from service.early_work import EarlyWork
from service.errors import InferenceError, WorkerDied
from service.inference import Inference
from service.times import compact_time
from service.worker import Workers
from tests.service.sample_artefact import SAMPLE_SPECIFICATION, write_artefact, write_other_artefact
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle


class Here:
    """Workers that are no other processes. fault: raised in place of the next call."""

    fault: Exception | None = None

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        return function(*arguments)


@pytest.fixture(scope="module")
def inference(tmp_path_factory: pytest.TempPathFactory) -> Inference:
    return Inference(Artefact.load(write_artefact(tmp_path_factory.mktemp("models"))), threads=1)


@pytest.fixture
def here() -> Here:
    return Here()


@pytest.fixture
def work(inference: Inference, here: Here, tmp_path: Path) -> EarlyWork:
    return EarlyWork(cast(Workers, here), lambda: inference, tmp_path / "early", tmp_path / "weights")


def steps(work: EarlyWork) -> int:
    count = 0
    while work.step():
        count += 1
    return count


def kept(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "early" / compact_time(REFERENCE_TIME)).glob("*")}


def test_hash_read_and_infer_lead_by_lead(work: EarlyWork, inference: Inference, tmp_path: Path) -> None:
    assert not work.step()
    paths = write_cycle(tmp_path / "cycle")
    work.await_rest(REFERENCE_TIME, paths[:2])
    assert steps(work) == 2 + 1 + 1
    work.await_rest(REFERENCE_TIME, paths[:2])
    assert steps(work) == 0
    work.await_rest(REFERENCE_TIME, paths)
    assert steps(work) == 1 + 1 + 2
    results = EarlyResults(tmp_path / "early" / compact_time(REFERENCE_TIME))
    early = EarlyInference(inference, results)
    for values in read_cycle(paths, SAMPLE_SPECIFICATION).values:
        probabilities = results.get(early.key(values))
        assert probabilities is not None
        assert probabilities.tobytes() == inference.infer(values[None])[0].tobytes()
    assert len(kept(tmp_path)) == 2 * (3 + 1 + 1)


def test_only_what_the_present_files_are_good_for_is_kept(work: EarlyWork, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path / "cycle")
    work.await_rest(REFERENCE_TIME, paths)
    steps(work)
    before = kept(tmp_path)
    for scale in (2.0, 3.0):
        write_cycle(tmp_path / "cycle", scale=scale)
        work.await_rest(REFERENCE_TIME, paths[:2])
        work.await_rest(REFERENCE_TIME, paths)
        steps(work)
    after = kept(tmp_path)
    assert len(after) == len(before)
    # The rain of both leads, and so the leads and their probabilities, are others; the files are, too.
    assert after & before == set()


def test_another_model_is_worked_for_as_soon_as_it_is_active(
    inference: Inference, here: Here, tmp_path: Path
) -> None:
    other = Inference(Artefact.load(write_other_artefact(tmp_path / "others")), threads=1)
    active = [inference]
    work = EarlyWork(cast(Workers, here), lambda: active[-1], tmp_path / "early", tmp_path / "weights")
    work.await_rest(REFERENCE_TIME, write_cycle(tmp_path / "cycle"))
    steps(work)
    before = kept(tmp_path)
    active.append(other)
    assert steps(work) == 1 + 2, "what was hashed is known"
    assert kept(tmp_path) != before


def test_what_nobody_waits_for_is_removed(work: EarlyWork, tmp_path: Path) -> None:
    later = REFERENCE_TIME + np.timedelta64(6, "h")
    paths = write_cycle(tmp_path / "cycle")
    for time in (REFERENCE_TIME, later):
        work.await_rest(time, paths)
    steps(work)
    work.clean([REFERENCE_TIME, later], lambda time: False)
    assert kept(tmp_path)
    work.forget(REFERENCE_TIME)
    work.clean([REFERENCE_TIME, later], lambda time: True)
    assert kept(tmp_path), "its job is at work"
    work.clean([REFERENCE_TIME, later], lambda time: False)
    assert not (tmp_path / "early" / compact_time(REFERENCE_TIME)).exists()
    work.clean([], lambda time: False)
    assert not work.step(), "the other one is too old"


def test_digests_of_files_that_a_job_has_are_not_remembered(work: EarlyWork, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path / "cycle")
    work.await_rest(REFERENCE_TIME, paths[:1])
    for path in paths:
        work.hashed(path)
    work.release(paths)
    assert list(work._hashed) == paths[:1], "that one is still waited with"
    work.forget(REFERENCE_TIME)
    assert work._hashed == {}


def test_files_that_are_bad_or_gone_stop_nothing(work: EarlyWork, here: Here, tmp_path: Path) -> None:
    paths = write_cycle(tmp_path / "cycle")
    empty = tmp_path / "empty.gb2"
    empty.touch()
    work.await_rest(REFERENCE_TIME, [empty, tmp_path / "gone.gb2", *paths])
    assert steps(work) == 5 + 1 + 2
    here.fault = WorkerDied("the process that read the files died")
    work.await_rest(REFERENCE_TIME, paths[:2])
    assert steps(work) == 1
    work.await_rest(REFERENCE_TIME, paths)
    assert steps(work) == 1 + 2, "all is known but the inference of leads"


def test_a_runtime_that_fails_stops_nothing(
    work: EarlyWork, inference: Inference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise InferenceError("the runtime failed", got="CUDA failure 719: unspecified launch failure")

    paths = write_cycle(tmp_path / "cycle")
    with monkeypatch.context() as patch:
        patch.setattr(inference, "infer", fail)
        work.await_rest(REFERENCE_TIME, paths[:2])
        assert steps(work) == 2 + 1 + 1
        assert steps(work) == 0, "until its files change"
    assert len(kept(tmp_path)) == 3 + 1, "what was read is kept for the job"
    work.await_rest(REFERENCE_TIME, paths)
    assert steps(work) == 1 + 1 + 2
    assert len(kept(tmp_path)) == 2 * (3 + 1 + 1)


def test_a_file_is_hashed_again_when_it_changed(work: EarlyWork, tmp_path: Path) -> None:
    path = write_cycle(tmp_path / "cycle")[2]
    first = work.hashed(path)
    assert work.hashed(path) is first
    write_cycle(tmp_path / "cycle", scale=2.0)
    assert work.hashed(path).sha256 != first.sha256
