"""Secrets are in no line of the log, and in no text of the settings."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from service.logs import configure_logs
from service.settings import Settings
from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import running

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_no_secret_is_ever_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kept_logging: None
) -> None:
    """Everything that a session writes, at the most talkative level, with each secret at hand."""
    configure_logs("DEBUG", "json")
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
    password = "pass-word-of-the-database"  # noqa: S105 - not one
    settings = {
        "access": "protected",
        "access_log": True,
        "log_level": "DEBUG",
        "webhook_urls": "http://127.0.0.1:9/hooks/7f3a-secret-path",
        "webhook_secret": SECRET,
        "key": "rainpost_0123456789ab_" + "k" * 43,
    }
    with running(tmp_path, **settings) as client:
        store = client.runtime.keys
        _, key = store.create("feed", ["submit", "admin"], "ops")
        _, rotated = store.rotate("feed", "ops", timedelta(hours=1))
        files = [("files", (path.name, path.read_bytes())) for path in write_cycle(tmp_path / "cycle")]
        for one in (key, rotated, key[:-1] + "x", "eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl"):
            client.post("/correct", files=files, headers=bearer(one) | {"Prefer": "wait=60"})
        client.get("/cycles", headers={"Authorization": f"Basic {password}"})
        client.get("/cycles", headers={"Cookie": f"session={password}"})
        client.put("/models/active", json={"model": "none-1.0.0"}, headers=bearer(rotated))
        httpx.get(f"{client.base_url}/cycles?limit=x", headers=bearer(key))
    said = capfd.readouterr()
    text = said.out + said.err
    assert '"by": "feed (' in text
    assert '"message": "POST /correct"' in text
    secrets = (key, rotated, SECRET, password, settings["key"], "7f3a-secret-path", "c2lnbmF0dXJl")
    for secret in secrets:
        assert str(secret) not in text
        assert str(secret)[-20:] not in text


def test_settings_show_no_secret() -> None:
    settings = Settings.model_validate(
        {
            "key": "rainpost_0123456789ab_" + "k" * 43,
            "database_url": "postgresql://user:pass-word@host/db",
            "webhook_secret": SECRET,
            "webhook_urls": "http://127.0.0.1/7f3a",
        }
    )
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert not any(secret in shown for secret in ("kkkk", "pass-word", SECRET, "7f3a"))
