"""Worker processes: their results, their errors, their deaths."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.errors import MissingLead, WorkerDied
from service.logs import configure_logs, current_subject, log_subject
from service.worker import Workers, tell


def add(one: int, other: int) -> int:
    return one + other


def own_process() -> int:
    return os.getpid()


def fail() -> None:
    raise MissingLead("no field at lead 3", where="somewhere", expected="3", got="2", advice="send it")


def time_out() -> None:
    raise TimeoutError("of the function's own")


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    time.sleep(600)


def fill_memory() -> None:
    bytearray(4_000_000_000)


def say() -> dict[str, str]:
    logging.getLogger("service.sample").info("said in\na worker")
    return current_subject()


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    workers = Workers(1, timeout_seconds=60)
    yield workers
    workers.close()


def test_results_come_from_another_process(workers: Workers) -> None:
    assert workers.run(add, 2, other=3) == 5
    assert workers.run(own_process) != os.getpid()


def test_errors_come_back_whole(workers: Workers) -> None:
    with pytest.raises(MissingLead) as caught:
        workers.run(fail)
    error = caught.value
    assert (error.what, error.where, error.expected, error.got, error.advice) == (
        "no field at lead 3",
        "somewhere",
        "3",
        "2",
        "send it",
    )


def test_a_timeout_inside_the_function_is_not_the_workers(workers: Workers) -> None:
    with pytest.raises(TimeoutError, match="of the function's own"):
        workers.run(time_out)


def test_a_crash_fails_its_call_and_no_other(workers: Workers) -> None:
    with pytest.raises(WorkerDied, match="crash"):
        workers.run(crash)
    assert workers.run(add, 2, 3) == 5


def test_a_death_while_idle_fails_nothing(workers: Workers) -> None:
    process = workers.run(own_process)
    os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + 30
    # The executor has to notice first.
    while not next(iter(workers._executors))._broken and time.monotonic() < deadline:
        time.sleep(0.01)
    assert workers.run(add, 2, 3) == 5


def note_process() -> None:
    with Path(os.environ["NOTED_PROCESSES"]).open("a") as file:
        file.write(f"{os.getpid()}\n")


def test_one_that_replaces_another_is_warm_before_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = tmp_path / "processes"
    monkeypatch.setenv("NOTED_PROCESSES", str(noted))
    workers = Workers(1, timeout_seconds=60)
    try:
        for future in workers.warm(note_process):
            future.result()
        with pytest.raises(WorkerDied):
            workers.run(crash)
        deadline = time.monotonic() + 60
        while len(noted.read_text().splitlines()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert str(workers.run(own_process)) == noted.read_text().splitlines()[1]
    finally:
        workers.close()


def test_a_call_that_takes_too_long_is_ended() -> None:
    workers = Workers(1, timeout_seconds=0.05)
    try:
        with pytest.raises(WorkerDied, match="took too long"):
            workers.run(hang)
    finally:
        workers.close()


def test_a_call_that_takes_too_much_memory_fails_alone() -> None:
    workers = Workers(1, timeout_seconds=60, memory_bytes=1 << 30)
    try:
        process = workers.run(own_process)
        with pytest.raises(WorkerDied, match=r"took too much memory.*1073741824 bytes"):
            workers.run(fill_memory)
        assert workers.run(own_process) != process, "another process, which holds nothing of it"
    finally:
        workers.close()


@pytest.mark.usefixtures("kept_logging")
def test_lines_of_a_worker_are_about_what_its_caller_does(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "json")
    workers = Workers(1, timeout_seconds=60)
    try:
        with log_subject(job="1f0c2d", cycle="2026-11-22T00:00:00Z"):
            assert workers.run(say) == {"job": "1f0c2d", "cycle": "2026-11-22T00:00:00Z"}
        assert workers.run(say) == {}
    finally:
        workers.close()
    first, second = (json.loads(line) for line in capfd.readouterr().err.splitlines() if "said" in line)
    assert (first["job"], first["cycle"]) == ("1f0c2d", "2026-11-22T00:00:00Z")
    assert (first["logger"], first["message"]) == ("service.sample", "said in\na worker")
    assert "job" not in second


def test_closing_ends_a_busy_worker_without_blaming_its_input() -> None:
    workers = Workers(1, timeout_seconds=60)
    process = workers.run(own_process)
    caught: list[BaseException] = []

    def call() -> None:
        try:
            workers.run(hang)
        except BaseException as error:  # noqa: BLE001
            caught.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    time.sleep(0.05)
    workers.close()
    caller.join(30)
    assert [type(error) for error in caught] == [RuntimeError]
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def tell_and_add(*numbers: int) -> int:
    for number in numbers:
        tell(number)
    return sum(numbers)


def tell_and_fail() -> None:
    tell("before")
    raise MissingLead("no field at lead 3")


def test_what_is_told_comes_in_order_and_to_its_own_caller(workers: Workers) -> None:
    heard: list[object] = []
    for numbers in ((1, 2, 3), (4,), ()):
        heard.clear()
        assert workers.run_told(heard.append, tell_and_add, *numbers) == sum(numbers)
        assert heard == list(numbers)
    assert workers.run(tell_and_add, 5, 6) == 11
    assert workers.run_told(heard.append, add, 2, 3) == 5
    assert heard == []
    with pytest.raises(MissingLead):
        workers.run_told(heard.append, tell_and_fail)


def tell_and_wait(answer: str) -> bool:
    tell("begun")
    deadline = time.monotonic() + 60
    while not Path(answer).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return True


def test_it_is_told_while_the_function_is_at_work(workers: Workers, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    assert workers.run_told(lambda _: answer.touch(), tell_and_wait, str(answer))


def test_a_crash_after_telling_leaves_nothing_to_the_next(workers: Workers) -> None:
    heard: list[object] = []
    with pytest.raises(WorkerDied):
        workers.run_told(heard.append, tell_and_crash)
    heard.clear()
    assert workers.run_told(heard.append, add, 2, 3) == 5
    assert heard == []


def tell_and_crash() -> None:
    tell("before")
    crash()


def test_outside_a_worker_nobody_listens() -> None:
    tell("anything")
