"""Log lines."""

from __future__ import annotations

import json
import logging
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.logs import LogSetup, configure_logs, current_setup, current_subject, log_subject

pytestmark = pytest.mark.usefixtures("kept_logging")

BEGIN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DEBUG|INFO|WARNING|ERROR) +[a-z.]+ ")
"""How each line of the text begins."""


def formatted(form: Any, message: str, *arguments: object, **subject: str) -> str:
    """One record, as it would be written."""
    configure_logs("INFO", form)
    (handler,) = logging.getLogger().handlers
    record = logging.LogRecord("service.jobs", logging.INFO, __file__, 1, message, arguments, None)
    with log_subject(**subject):
        handler.filter(record)
    return handler.format(record)


def test_a_line_names_its_job_and_cycle(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO")
    logger = logging.getLogger("service.jobs")
    with log_subject(job="1f0c2d"), log_subject(cycle="2026-11-22T00:00:00Z"):
        logger.info("decoding")
    logger.info("idle")
    first, second = capsys.readouterr().err.splitlines()
    assert BEGIN.match(first)
    assert first.endswith("Z INFO    service.jobs [job=1f0c2d cycle=2026-11-22T00:00:00Z] decoding")
    assert second.endswith("Z INFO    service.jobs idle")


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "json")
    logger = logging.getLogger("service.jobs")
    with log_subject(job="1f0c2d", cycle="2026-11-22T00:00:00Z"):
        logger.warning("no lead %d", 25)
    try:
        int("why")
    except ValueError:
        logger.exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    moment = datetime.fromisoformat(first.pop("time"))
    assert moment.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)
    assert first == {
        "level": "WARNING",
        "logger": "service.jobs",
        "message": "no lead 25",
        "job": "1f0c2d",
        "cycle": "2026-11-22T00:00:00Z",
    }
    assert second["message"] == "failed"
    assert second["traceback"].startswith("Traceback (most recent call last):\n")
    assert second["traceback"].endswith("ValueError: invalid literal for int() with base 10: 'why'")


def test_lower_levels_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("WARNING")
    logging.getLogger("service").info("detail")
    assert capsys.readouterr().err == ""


@given(text=st.text() | st.sampled_from(["x\n2026-01-01T00:00:00Z INFO all is well\r", "x\nTraceback"]))
def test_a_message_cannot_forge_a_line(text: str) -> None:
    for form in ("text", "json"):
        line = formatted(form, "no such file: %s", text, job=text)
        assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == f"no such file: {text}"
    assert json.loads(line)["job"] == text


@given(text=st.text())
def test_what_was_raised_cannot_forge_a_line(text: str) -> None:
    configure_logs("INFO")
    (handler,) = logging.getLogger().handlers
    error = ValueError(f"{text}\n2026-01-01T00:00:00Z INFO    service all is well")
    record = logging.LogRecord("service", logging.ERROR, __file__, 1, "failed", (), (ValueError, error, None))
    first, *others = handler.format(record).splitlines()
    assert BEGIN.match(first)
    assert others
    assert all(line.startswith("  ") for line in others)


def test_a_terminal_is_not_told_what_to_do() -> None:
    line = formatted("text", "%s", "\x1b[2J\x9b2J")
    assert "\x1b" not in line
    assert "\x9b" not in line
    assert line.endswith(r"\x1b[2J\x9b2J")


def test_a_traceback_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO")
    try:
        int("why")
    except ValueError:
        logging.getLogger("service").exception("failed")
    text = capsys.readouterr().err
    assert "failed\n  Traceback" in text
    assert "  ValueError: invalid literal" in text.splitlines()[-1]


def test_each_thread_has_a_subject_of_its_own() -> None:
    found: list[dict[str, str]] = []
    with log_subject(job="one"):
        thread = threading.Thread(target=lambda: found.append(current_subject()))
        thread.start()
        thread.join()
        assert current_subject() == {"job": "one"}
    assert found == [{}]
    assert current_subject() == {}


def test_the_setup_is_known() -> None:
    logging.getLogger().handlers[:] = []
    assert current_setup() is None
    configure_logs("WARNING", "json")
    assert current_setup() == LogSetup("WARNING", "json")


def test_libraries_that_log_addresses_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("DEBUG")
    logging.getLogger("httpx").info("HTTP Request: POST https://host/secret")
    assert capsys.readouterr().err == ""
