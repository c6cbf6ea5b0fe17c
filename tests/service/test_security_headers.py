"""Every answer, whatever it is, tells browsers what they must not do."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re

import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from service.reference_page import STYLE_HASH
from service.security_headers import SecurityHeaders
from tests.service.sample_service import ServiceClient

PATHS = (
    "/",
    "/?f=html",
    "/page/page.js",
    "/docs",
    "/openapi.json",
    "/livez",
    "/metrics",
    "/cycles",
    "/nothing",
    "/cycles/x",
    "/correct",
)


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_them(client: ServiceClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "frame-ancestors" in policy
    assert "unsafe" not in policy
    assert ("default-src 'none'" in policy) != path.startswith(("/page/", "/?f=html"))
    assert "server" not in headers, "nobody needs to know what and which version this is"


def test_what_everybody_may_keep_is_private_where_reading_is_protected() -> None:
    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"cache-control", b"public, max-age=31536000, immutable")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    def caching(**settings: bool) -> str:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        asyncio.run(SecurityHeaders(route, **settings)({"type": "http"}, receive, send))
        return Headers(raw=sent[0]["headers"])["cache-control"]

    assert caching() == "public, max-age=31536000, immutable"
    assert caching(private=True) == "private, max-age=31536000, immutable"


def test_a_fault_of_the_service_has_them_too(client: ServiceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.runtime.store, "newest_first", lambda: 1 / 0)
    answer = client.get("/cycles")
    assert answer.status_code == 500
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_reference_has_one_style_and_its_policy_knows_it(client: ServiceClient) -> None:
    page = client.get("/docs")
    (style,) = re.findall(r"<style>(.*?)</style>", page.text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" == STYLE_HASH
    assert STYLE_HASH in page.headers["content-security-policy"]
    assert not re.search(r'\sstyle="|<script', page.text)
