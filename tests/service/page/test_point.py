"""One point: by a click, by a position, by keys."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.service.page.conftest import LEADS_HOURS, Forecasts
from tests.service.sample_browser import Tab


def rows(page: Page) -> list[list[str]]:
    expect(page.locator("#point-answer tbody tr")).to_have_count(len(LEADS_HOURS))
    return [row.split("\t") for row in page.locator("#point-answer tbody").inner_text().split("\n")]


def test_a_click_gives_all_leads(wet_page: Page, forecasts: Forecasts) -> None:
    canvas = wet_page.locator("#second-figure canvas")
    box = canvas.bounding_box()
    assert box is not None
    canvas.click(position={"x": 0.62 * box["width"], "y": 0.4 * box["height"]})
    found = rows(wet_page)
    position = {"lat": wet_page.input_value("#latitude"), "lon": wet_page.input_value("#longitude")}
    answer = forecasts.client.get(
        f"/cycles/{forecasts.wet.name}/product", params=position, headers={"Accept": "application/json"}
    ).json()
    for row, lead in zip(found, answer["leads"], strict=True):
        assert row[0] == f"+{lead['lead_hours']} h"
        for words, one in zip(row[2:4], lead["exceedance_probabilities"], strict=True):
            assert float(words.removesuffix(" %")) == pytest.approx(100 * one["probability"], abs=0.51)
        assert float(row[4].removesuffix(" mm")) == pytest.approx(lead["raw_precipitation_mm"], abs=0.051)
    assert max(float(row[4].removesuffix(" mm")) for row in found) > 1, "somewhere dry would prove little"
    assert all(re.fullmatch(r"[\d.]+ mm", row[5]) for row in found[:-1])
    assert found[-1][5] == "–", "its hour was not observed"
    expect(wet_page.locator("#point-answer circle.mark.rain")).to_have_count(len(LEADS_HOURS) + 1)
    expect(wet_page).to_have_url(re.compile(f"lat={position['lat']}"))


def test_a_position_gives_the_cell_that_holds_it(wet_page: Page) -> None:
    wet_page.fill("#latitude", "37.57")
    wet_page.fill("#longitude", "126.98")
    wet_page.locator("#longitude").press("Enter")
    rows(wet_page)
    expect(wet_page.locator("#point-answer .where")).to_contain_text("near Seoul")


def test_keys_choose_the_cell_under_the_cross(wet_page: Page) -> None:
    canvas = wet_page.locator("#first-figure canvas")
    canvas.focus()
    for key in ("ArrowUp", "ArrowRight", "Shift+ArrowUp"):
        canvas.press(key)
    reading = wet_page.locator("#first-figure .readout").inner_text()
    canvas.press("Enter")
    rows(wet_page)
    latitude, longitude = (float(wet_page.input_value(name)) for name in ("#latitude", "#longitude"))
    assert reading.startswith(f"{latitude:.2f}° N {longitude:.2f}° E")


def test_missing_leads_are_said_to_be_missing(desk: Tab) -> None:
    page = desk.open("/#lat=37.57&lon=126.98")
    found = rows(page)
    assert [row[2] for row in found] == [*[row[2] for row in found[:2]], *["missing"] * 4]
    assert "missing" not in found[0]


def test_a_position_outside_is_refused_with_a_sentence(desk: Tab) -> None:
    desk.refused = {400, 422}
    page = desk.open("/")
    page.fill("#latitude", "10")
    page.fill("#longitude", "100")
    page.locator("#longitude").press("Enter")
    expect(page.locator("#problem")).to_contain_text("The point lies outside the product")
    page.fill("#latitude", "37.57")
    page.fill("#longitude", "126.98")
    page.locator("#longitude").press("Enter")
    expect(page.locator("#problem")).to_be_hidden()
