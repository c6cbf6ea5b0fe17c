"""New cycles and observations come by themselves. These tests publish: each takes a cycle of its own."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.service.page.conftest import Forecasts
from tests.service.sample_browser import Tab, tab


def test_a_new_cycle_comes_to_who_follows_and_is_told_to_who_does_not(
    browser: Browser, desk: Tab, forecasts: Forecasts
) -> None:
    with tab(browser, forecasts.address) as other:
        following, looking_back = desk.open("/"), other.open(f"/#cycle={forecasts.wet.name}")
        for page in (following, looking_back):
            expect(page.locator("#live")).to_have_attribute("data-state", "on")
        forecasts.publish(forecasts.later, (25, 26))
        chosen = "#cycles button[aria-pressed=true]"
        expect(following.locator(chosen)).to_have_attribute("data-cycle", forecasts.later.name)
        expect(following.locator("#first-figure canvas")).to_have_attribute("data-lead", "25")
        expect(following.locator("#news")).to_contain_text("10 Aug 2022 12 UTC: revision 1 published")
        news = looking_back.locator("#news")
        expect(news).to_contain_text("10 Aug 2022 12 UTC: revision 1 published")
        expect(looking_back.locator(f"[data-cycle='{forecasts.later.name}']")).to_be_visible()
        expect(looking_back.locator(chosen)).to_have_attribute("data-cycle", forecasts.wet.name)
        news.locator("button").click()
        expect(looking_back.locator(chosen)).to_have_attribute("data-cycle", forecasts.later.name)


def test_an_observation_comes_to_the_map_that_it_belongs_to(desk: Tab, forecasts: Forecasts) -> None:
    page = desk.open(f"/#cycle={forecasts.damp.name}&lead=26&beside=observed&lat=37.57&lon=126.98")
    row = page.locator("#point-answer tbody tr").nth(1)
    expect(row).to_contain_text("–")
    expect(page.locator("#live")).to_have_attribute("data-state", "on")
    forecasts.observe(forecasts.damp, (26,))
    expect(page.locator("#news")).to_contain_text("New observation of the hour ending Thu 11 Aug 17:00 KST")
    expect(row).not_to_contain_text("–")


def test_what_is_published_while_the_line_is_broken_is_caught_up_with(
    desk: Tab, forecasts: Forecasts
) -> None:
    """The first connection fails, as one does whose proxy is gone."""
    desk.page.route("**/events", lambda route: route.fulfill(status=200, content_type="text/event-stream"))
    page = desk.open("/")
    expect(page.locator("#live")).to_have_attribute("data-state", "off")
    forecasts.publish(forecasts.last, (25, 26))
    page.unroute("**/events")
    expect(page.locator("#cycles button[aria-pressed=true]")).to_have_attribute(
        "data-cycle", forecasts.last.name
    )
    expect(page.locator("#live")).to_have_attribute("data-state", "on")
