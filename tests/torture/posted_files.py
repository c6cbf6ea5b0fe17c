"""Hostile files posted to a running service, with sound cycles at work beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service.errors import InputError, RainpostError, WorkerDied
from service.times import iso_time
from tests.service.sample_artefact import write_artefact
from tests.service.sample_cycle import REFERENCE_TIME, replaced, write_cycle
from tests.service.sample_server import Server, children
from tests.service.sample_service import reach
from tests.torture.hostile_inputs import Hostile
from tests.torture.memory import peak_bytes
from training.progress import Progress

_FIRST_SOUND_TIME = REFERENCE_TIME + np.timedelta64(1000, "D")
_SOUND_EVERY = 10


@dataclass
class Answers:
    """What the service made of it. beside: sound cycles that were at work with a hostile one."""

    reasons: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    beside: int = 0
    peak_bytes: int = 0
    peak_bytes_of_workers: int = 0


def known_reasons() -> set[str]:
    """What may be wrong with an input."""

    def below(kind: type[RainpostError]) -> set[str]:
        return {kind.reason}.union(*(below(one) for one in kind.__subclasses__()))

    return below(InputError) | {WorkerDied.reason, "gate-refused"}


def post(
    folder: Path, hostile: Sequence[Hostile], deadly: Sequence[int], progress: Progress | None = None
) -> Answers:
    """Post files of the sample cycle. deadly: indices of those that come with a sound cycle beside."""
    answers = Answers()
    write_artefact(folder / "models")
    server = Server(
        folder, RAINPOST_JOBS_AT_ONCE="2", RAINPOST_MAX_QUEUED_JOBS="1000", RAINPOST_LOG_LEVEL="ERROR"
    )
    server.start()
    started = server.process.pid
    try:
        for number, one in enumerate(hostile):
            place = folder / "hostile"
            place.mkdir(exist_ok=True)
            beside = number if one.index in deadly or number % _SOUND_EVERY == 0 else None
            answers.reasons[_post_one(server, one, place, beside, answers)] += 1
            _measure(server, answers)
            if progress is not None:
                progress.advance()
        if server.process.poll() is not None or server.process.pid != started:
            answers.broken.append("the service went down")
    finally:
        server.process.kill()
        server.process.wait()
    return answers


def _post_one(server: Server, one: Hostile, folder: Path, beside: int | None, answers: Answers) -> str:
    """The reason of the problem, or "sound"."""
    paths = one.write(folder)
    if one.seed.kind == "observation":
        files = [("files", (path.name, path.read_bytes())) for path in paths]
        answer = server.client.post("/observations", files=files)
        reason = "sound" if answer.is_success else str(answer.json()["reason"])
    else:
        answer = server.post(paths, "wait=0")
        if beside is not None:
            _post_sound(server, folder / "sound", beside, answers)
        reason = (
            _outcome(server, answer.headers["location"]) if answer.is_success else answer.json()["reason"]
        )
    if reason != "sound" and reason not in known_reasons():
        answers.broken.append(f"{one.name}: {reason}")
    return reason


def _outcome(server: Server, job: str) -> str:
    document: dict[str, object] = {}

    def finished() -> bool:
        document.update(server.client.get(job).json())
        return document["state"] in {"succeeded", "failed"}

    reach(finished)
    problem = document.get("problem")
    return str(problem["reason"]) if isinstance(problem, dict) else "sound"


def _post_sound(server: Server, folder: Path, number: int, answers: Answers) -> None:
    time = _FIRST_SOUND_TIME + number * np.timedelta64(6, "h")
    answer = server.post(write_cycle(folder, replaced(reference_time=time)), "wait=120")
    answers.beside += 1
    if answer.status_code != 200:
        answers.broken.append(f"the sound cycle of {iso_time(time)} failed beside: {answer.text[:200]}")


def _measure(server: Server, answers: Answers) -> None:
    answers.peak_bytes = max(answers.peak_bytes, peak_bytes(server.process.pid))
    workers = [peak_bytes(child) for child in children(server.process.pid)]
    answers.peak_bytes_of_workers = max(answers.peak_bytes_of_workers, *workers, 0)
