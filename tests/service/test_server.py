"""The server's end."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.service.sample_service import running


def test_a_stop_ends_the_streams(tmp_path: Path) -> None:
    """A server that waited for them would wait for ever, and this test with it."""
    with httpx.Client(timeout=120) as listener:
        with running(tmp_path) as client:
            request = listener.build_request("GET", f"{client.base_url}/events")
            lines = listener.send(request, stream=True).iter_lines()
            assert next(lines).startswith("retry: ")
        assert not any(line.startswith("event") for line in lines)
