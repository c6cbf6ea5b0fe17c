"""Debian's Chromium, driven by Playwright, and a tab that tolerates no fault."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
READY: Final = "body[data-ready=true]"
_WAIT_MS: Final = 60_000
"""The machine may be busy with other work."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window; skips where none is installed."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    expect.set_options(timeout=_WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


class Tab:
    """A tab of its own profile, and what it must not have done by the end of a test.

    refused: statuses of answers that the test provokes.
    """

    def __init__(self, browser: Browser, address: str, **context: Any) -> None:
        self.address = address
        self.refused: set[int] = set()
        self.faults: list[str] = []
        self.context = browser.new_context(**{"locale": "en-GB", "timezone_id": "Asia/Seoul"} | context)
        self.context.set_default_timeout(_WAIT_MS)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("request", self._see)

    def open(self, path: str = "/") -> Page:
        """Load the page anew and wait until all of its first view is there."""
        self.page.goto("about:blank")
        self.page.goto(self.address + path)
        self.page.wait_for_selector(READY)
        return self.page

    def close(self) -> None:
        """Raises AssertionError for errors on the console and for requests to other hosts."""
        self.context.close()
        assert self.faults == [], self.faults

    def _hear(self, message: Any) -> None:
        provoked = any(f"status of {status}" in message.text for status in self.refused)
        if message.type in {"error", "warning"} and not provoked:
            self.faults.append(f"{message.type}: {message.text}")

    def _see(self, request: Any) -> None:
        if not request.url.startswith((self.address + "/", "about:")):
            self.faults.append(f"request: {request.url}")


@contextmanager
def tab(browser: Browser, address: str, **context: Any) -> Iterator[Tab]:
    """A tab that is checked at its end, unless the test failed already."""
    opened = Tab(browser, address, **context)
    try:
        yield opened
    except BaseException:
        opened.context.close()
        raise
    opened.close()
