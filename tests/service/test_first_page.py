"""The page of a service that has nothing yet, and of a model that is not about Korea's whole grid."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.service.sample_browser import chromium, tab
from tests.service.sample_cycle import write_cycle
from tests.service.sample_service import running, submit


def test_an_empty_service_and_its_first_cycle(tmp_path: Path) -> None:
    """Without decision thresholds the legend speaks of the most likely class."""
    with (
        chromium() as browser,
        running(tmp_path, events_poll_seconds=0.05, minimum_free_bytes=0) as client,
        tab(browser, str(client.base_url)) as opened,
    ):
        # That there is no latest cycle is the answer, and the browser notes it.
        opened.refused = {404}
        page = opened.open("/")
        expect(page.locator("#cycles")).to_have_text("No cycle is published yet.")
        expect(page.locator("#problem")).to_be_hidden()
        page.click("#show-scores")
        expect(page.locator("#scores")).to_have_text("No observation has been compared with a forecast yet.")
        page.click("#show-map")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#live")).to_have_attribute("data-state", "on")
        assert submit(client, write_cycle(tmp_path / "cycle")).status_code == 200
        expect(page.locator("#cycles")).to_contain_text("22 Nov 00 UTC")
        expect(page.locator("#first-figure canvas")).to_have_attribute("data-lead", "2")
        page.check("#layers input[value='class']")
        expect(page.locator("#first-figure .legend")).to_contain_text("most likely class")
