"""The page where reading needs a key."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from service.api_keys import ApiKeys
from tests.service.page.conftest import Forecasts
from tests.service.page.sample_weather import DAMP, WeatherFiles, write_weather
from tests.service.sample_browser import Tab, tab
from tests.service.sample_server import Server
from tests.shipped_model import SHIPPED


class Closed:
    """A service that hands forecasts to readers with a key alone, as a process of its own, and its keys."""

    def __init__(self, folder: Path) -> None:
        (folder / "models").mkdir()
        (folder / "models" / SHIPPED.name).symlink_to(SHIPPED)
        self.server = Server(
            folder,
            RAINPOST_ACCESS="protected",
            RAINPOST_READING="protected",
            RAINPOST_MINIMUM_LEADS="2",
            RAINPOST_MINIMUM_FREE_BYTES="0",
        )
        self.address = f"http://127.0.0.1:{self.server.port}"
        self.keys = ApiKeys(f"sqlite:///{folder / 'data' / 'ledger.sqlite'}")

    def start(self, weather: WeatherFiles) -> None:
        """With one cycle."""
        self.server.start()
        self.keys.open()
        key = self.keys.create("room", ["submit"], "ops")[1]
        self.server.client.headers["Authorization"] = f"Bearer {key}"
        answer = self.server.post(weather.files((25, 26)), "wait=300")
        assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def closed(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    folder: Path = tmp_path_factory.mktemp("closed")
    service = Closed(folder)
    try:
        service.start(write_weather(folder / "weather", DAMP, (24, 25, 26)))
        yield service
    finally:
        service.server.stop(signal.SIGTERM)
        service.server.client.close()
        service.keys.close()


@pytest.fixture
def desk(browser: Browser, closed: Closed) -> Iterator[Tab]:
    with tab(browser, closed.address, viewport={"width": 1366, "height": 800}) as opened:
        opened.refused.add(401)
        yield opened


def test_who_signs_in_sees_the_map_and_what_comes_and_who_signs_out_does_not(
    desk: Tab, closed: Closed
) -> None:
    page = desk.open("/")
    expect(page.locator("#sign-in")).to_be_visible()
    for hidden in ("#map-view", "#scores-view", "header nav", "#live", "#sign-out", "#problem"):
        expect(page.locator(hidden)).to_be_hidden()
    expect(page.locator("#sign-in-key")).to_be_focused()
    page.keyboard.type("rainpost_wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#sign-in-problem")).to_contain_text("This key does not hold")
    expect(page.locator("#sign-in")).to_be_visible()

    key = closed.keys.create("desk", ["read"], "ops")[1]
    page.locator("#sign-in-key").fill(f" {key} ")
    page.locator("#sign-in button").click()
    expect(page.locator("#first-figure canvas")).to_have_attribute("data-lead", "25")
    expect(page.locator("#sign-in")).to_be_hidden()
    expect(page.locator("#live")).to_have_attribute("data-state", "on")
    expect(page.locator("#problem")).to_be_hidden()
    kept = "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])"
    assert key not in page.evaluate(kept), "a script could read the key"
    assert key not in page.url

    # It stays for the next view, and for another tab.
    page = desk.open("/#view=scores")
    expect(page.locator("#scores-view")).to_be_visible()
    page.locator("#sign-out").click()
    expect(page.locator("#sign-in")).to_be_visible()
    expect(page.locator("#sign-out")).to_be_hidden()
    expect(page.locator("#scores-view")).to_be_hidden()


def test_the_form_speaks_korean(desk: Tab) -> None:
    page = desk.open("/#lang=ko")
    expect(page.locator("#sign-in h2")).to_have_text("로그인")
    page.locator("#sign-in-key").fill("rainpost_wrong")
    page.locator("#sign-in button").click()
    expect(page.locator("#sign-in-problem")).to_contain_text("유효하지 않은 키입니다")
    page.locator("#language").click()
    expect(page.locator("#sign-in-problem")).to_contain_text("This key does not hold")


def test_a_page_that_anybody_may_read_asks_nobody(browser: Browser, forecasts: Forecasts) -> None:
    with tab(browser, forecasts.address) as opened:
        page = opened.open("/")
        expect(page.locator("#sign-in")).to_be_hidden()
        expect(page.locator("#sign-out")).to_be_hidden()
