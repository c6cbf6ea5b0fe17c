"""What receivers and logs get through restarts of the service."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from service.logs import configure_logs
from tests.service.sample_cycle import write_cycle
from tests.service.sample_receiver import SIGNING, addressed, receiving
from tests.service.sample_service import running, submit
from tests.service.test_webhooks import PATH


@pytest.mark.usefixtures("kept_logging")
def test_secrets_are_not_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("DEBUG")
    with receiving(500, 302) as receiver:
        settings = addressed(receiver.url(PATH))
        with running(tmp_path, **settings) as client:
            assert submit(client, write_cycle(tmp_path / "cycle")).status_code == 200
            receiver.await_requests(1)
            logging.getLogger("test").info("%r", client.runtime.settings)
        assert receiver.requests
    text = capfd.readouterr().err
    assert f"was not taken by {receiver.name} (status 500)" in text
    for hidden in ("hidden-path", "hidden-query", SIGNING, SIGNING.removeprefix("whsec_")):
        assert hidden not in text


def test_what_was_not_delivered_is_after_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.deliveries.pause_seconds", lambda _: 0.0)
    with receiving(*[503] * 10_000) as receiver:
        settings = addressed(receiver.url())
        with running(tmp_path, **settings) as client:
            assert submit(client, write_cycle(tmp_path / "cycle")).status_code == 200
            (refused,) = receiver.await_requests(1)[:1]
    with receiving(port=receiver.port) as again, running(tmp_path, **settings):
        (taken,) = again.await_requests(1)
    assert taken.headers["webhook-id"] == refused.headers["webhook-id"]
    assert taken.body == refused.body
