"""The layer of an explanation: there where one is, of its lead and cell, and depth by depth."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from service.explanations import Cell, build_explanation
from tests.service.page.conftest import Forecasts
from tests.service.page.test_map import _GROUND, canvas_pixels, colour_for, colours_of, readings
from tests.service.sample_browser import Tab

CELL = Cell(lead_hours=27, class_name="heavy_rain", row=118, column=49)
DEPTHS = ("stage 1", "fusion")


@pytest.fixture
def explained(forecasts: Forecasts) -> Cell:
    """An explanation of the wet cycle: the west half speaks at one depth, the east at the other."""
    runtime = forecasts.client.runtime
    record = runtime.store.record(forecasts.wet.reference_time)
    product = runtime.shelf.dataset(record)
    columns = np.broadcast_to(np.arange(product.sizes["x"]), (product.sizes["y"], product.sizes["x"]))
    west = (columns < 64) * np.float32(1.0) * np.where(columns < 32, np.float32(1.0), np.float32(0.55))
    heat = dict(zip(DEPTHS, (west.astype(np.float32), west[:, ::-1].astype(np.float32)), strict=True))
    runtime.explanations.write(
        build_explanation(product, record.sha256, CELL, heat), CELL, forecasts.wet.reference_time
    )
    return CELL


def choose(page: Page, depth: str) -> None:
    page.select_option("#why-cell", CELL.name)
    page.select_option("#why-depth", depth)
    expect(page.locator("#first-figure canvas")).to_have_attribute("data-layer", "why")


def test_there_is_nothing_to_choose_without_an_explanation(desk: Tab, forecasts: Forecasts) -> None:
    page = desk.open(f"/#cycle={forecasts.damp.name}")
    expect(page.locator("#first-figure canvas")).to_have_attribute("data-lead", "25")
    expect(page.locator("#why")).to_be_hidden()


def test_an_explanation_shows_its_lead_its_cell_and_each_depth(
    desk: Tab, forecasts: Forecasts, explained: Cell
) -> None:
    page = desk.open(f"/#cycle={forecasts.wet.name}&lead=25")
    expect(page.locator("#why")).to_be_visible()
    expect(page.locator("#why-cell option")).to_have_count(2)
    page.select_option("#compare", "rain")
    choose(page, "stage 1")
    expect(page.locator("#first-figure canvas")).to_have_attribute("data-lead", "27")
    expect(page.locator("#first-figure .legend")).to_contain_text("what speaks for heavy rain at")
    expect(page.locator("#point-answer")).to_contain_text("Cell at")
    levels, colours = colours_of(page, "RELEVANCE")
    for depth, sides in (("stage 1", ("100 %", "55 %", "0 %")), ("fusion", ("0 %", "55 %", "100 %"))):
        choose(page, depth)
        canvas_pixels(page, "why")
        found = readings(page, "why")
        assert {words for *_, words, _ in found} == set(sides)
        by_longitude = [words for _, longitude, words, _ in sorted(found, key=lambda one: one[1])]
        assert (by_longitude[0], by_longitude[-1]) == (sides[0], sides[-1])
        strong = [colour for *_, words, colour in found if words == "100 %"]
        none = [colour for *_, words, colour in found if words == "0 %"]
        full = colour_for(1.0, levels, colours)
        # Lines, names and the cross of the map run through some of the places.
        assert sum(np.abs(np.subtract(one, full or 0)).max() <= 4 for one in strong) > 0.6 * len(strong)
        assert sum(one in _GROUND for one in none) > 0.6 * len(none)
    page.locator("#lead").press("ArrowRight")
    expect(page.locator("#first-figure canvas")).to_have_attribute("data-lead", "28")
    address = page.evaluate("location.hash")
    assert f"why={explained.name}" in address
    assert "depth=fusion" in address


def test_a_link_shows_the_same_and_nothing_goes_back(
    desk: Tab, forecasts: Forecasts, explained: Cell
) -> None:
    page = desk.open(
        f"/#cycle={forecasts.wet.name}&lead=27&layer=why&why={explained.name}&depth=stage+1&lang=ko"
    )
    expect(page.locator("#first-figure canvas")).to_have_attribute("data-layer", "why")
    expect(page.locator("#why-depth")).to_have_value("stage 1")
    expect(page.locator("#first-figure .legend")).to_contain_text("1단계")
    page.select_option("#why-cell", "")
    expect(page.locator("#first-figure canvas")).to_have_attribute("data-layer", "rain")
    expect(page.locator("#why-depth")).to_be_disabled()
