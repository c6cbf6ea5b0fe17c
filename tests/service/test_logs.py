"""Log lines."""

from __future__ import annotations

import logging

import pytest

from service.logs import configure_logs, log_subject

pytestmark = pytest.mark.usefixtures("kept_logging")


def test_a_line_names_its_job_and_cycle(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO")
    logger = logging.getLogger("service.jobs")
    with log_subject(job="1f0c2d"), log_subject(cycle="2026-11-22T00:00:00Z"):
        logger.info("decoding")
    logger.info("idle")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("Z INFO    service.jobs [job=1f0c2d cycle=2026-11-22T00:00:00Z] decoding")
    assert second.endswith("Z INFO    service.jobs idle")


def test_lower_levels_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("WARNING")
    logging.getLogger("service").info("detail")
    assert capsys.readouterr().err == ""


def test_a_message_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO")
    logging.getLogger("service").error("no such file: %s", "x\n2026-01-01T00:00:00Z INFO all is well\r")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_traceback_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO")
    try:
        int("why")
    except ValueError:
        logging.getLogger("service").exception("failed")
    text = capsys.readouterr().err
    assert "failed\nTraceback" in text
    assert "ValueError: invalid literal" in text.splitlines()[-1]
