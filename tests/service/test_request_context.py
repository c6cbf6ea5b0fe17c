"""Requests have names, which their lines and their answers carry."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.logs import configure_logs
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle
from tests.service.sample_service import ServiceClient, running, submit

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def lines(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kept_logging: None,
) -> tuple[dict[str, httpx.Response], list[dict[str, Any]]]:
    """Answers of a service that logs in JSON, and all its lines."""
    configure_logs("INFO", "json")
    # A server of another test, without an access log, has turned it off in this process.
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
    with running(tmp_path, access_log=True) as client:
        answers = {
            "own": client.get("/cycles", headers={"X-Request-ID": "mine.1", "traceparent": TRACEPARENT}),
            "nameless": client.get("/cycles"),
            "forged": client.get("/cycles", headers={"X-Request-ID": "a b", "traceparent": "00-zz"}),
            "missing": client.get("/nothing%0A2026-01-01T00:00:00Z%20INFO%20forged"),
            "job": submit(client, write_cycle(tmp_path / "cycle"), reference_time=str(REFERENCE_TIME)),
        }
    return answers, [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_every_line_is_json_and_names_what_it_is_about(
    lines: tuple[dict[str, httpx.Response], list[dict[str, Any]]],
) -> None:
    answers, written = lines
    assert all({"time", "level", "logger", "message"} <= set(line) for line in written)
    accesses = {line["request"]: line for line in written if line["logger"] == "uvicorn.access"}
    assert len(accesses) == len(answers)
    for answer in answers.values():
        assert str(answer.status_code) in accesses[answer.headers["x-request-id"]]["message"]
    assert answers["own"].headers["x-request-id"] == "mine.1"
    assert accesses["mine.1"]["traceparent"] == TRACEPARENT
    for name in ("nameless", "forged"):
        given = answers[name].headers["x-request-id"]
        assert re.fullmatch(r"[0-9a-f]{32}", given)
        assert "traceparent" not in accesses[given]


def test_all_lines_of_a_job_name_it_and_its_cycle(
    lines: tuple[dict[str, httpx.Response], list[dict[str, Any]]],
) -> None:
    answers, written = lines
    job = answers["job"].headers["location"].removeprefix("/jobs/")[:12]
    of_the_job = [line for line in written if line.get("job") == job]
    assert {line["cycle"] for line in of_the_job} == {"2026-11-22T00:00:00Z"}
    loggers = {line["logger"] for line in of_the_job}
    assert {"service.workflow", "service.decoding"} <= loggers, "in the service and in the worker"
    (queued,) = [line for line in written if line["message"] == f"job {job} is queued"]
    assert queued["request"] == answers["job"].headers["x-request-id"]


def test_answers_of_all_kinds_have_a_name(client: ServiceClient) -> None:
    names = [client.get(path).headers["x-request-id"] for path in ("/livez", "/nothing", "/jobs/none")]
    assert len(set(names)) == 3
