"""The page as a whole: first view, leads, layers, cycles, language, links, keys, phone, access."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.service.page.conftest import LEADS_HOURS, Forecasts
from tests.service.sample_browser import READY, Tab
from tests.shipped_model import SHIPPED


def shown_lead(page: Page) -> int:
    words = page.locator("#moment").inner_text()
    return int(words.removeprefix("+").partition(" ")[0])


def test_the_first_view(desk: Tab, forecasts: Forecasts) -> None:
    page = desk.open("/")
    assert page.title() == "Rainpost: precipitation probabilities"
    expect(page.locator("#notice")).to_have_text("Trained on simulated data: not forecasts to act on.")
    statement = json.loads(
        (forecasts.client.runtime.settings.models_folder / SHIPPED.name / "manifest.json").read_text()
    )
    expect(page.locator("#training")).to_contain_text(statement["training"]["statement"])
    newest = forecasts.client.get("/cycles").json()["cycles"][0]["reference_time"]
    chosen = page.locator("#cycles button[aria-pressed=true]")
    assert chosen.get_attribute("data-cycle") == newest
    expect(page.locator("#live")).to_have_attribute("data-state", "on")
    assert page.locator("canvas:visible").count() == 2


def test_states_of_cycles_and_revisions_are_in_plain_sight(desk: Tab, forecasts: Forecasts) -> None:
    page = desk.open("/")
    partial = page.locator(f"[data-cycle='{forecasts.damp.name}']")
    expect(partial).to_contain_text("partial")
    expect(partial).to_contain_text("2 of 6 leads")
    expect(page.locator("#revision-state")).to_contain_text("Missing leads: +27 h, +28 h, +29 h, +30 h.")
    whole = page.locator(f"[data-cycle='{forecasts.wet.name}']")
    expect(whole).to_contain_text("complete")
    whole.click()
    expect(whole).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#revision-state")).not_to_contain_text("Missing")
    expect(page.locator("#revision option")).to_have_text(["2 (newest)", "1"])
    page.select_option("#revision", "1")
    expect(page.locator("#revision-state")).to_contain_text("An older revision is shown.")
    expect(page.locator("#revision-state")).to_contain_text("Missing leads: +28 h, +29 h, +30 h.")
    expect(page).to_have_url(re.compile("revision=1"))


@pytest.mark.parametrize("state", ["late", "running", "expected", "failed"])
def test_cycles_without_a_product_are_listed_with_their_state(
    desk: Tab, forecasts: Forecasts, state: str
) -> None:
    cycle = {
        "reference_time": "2022-08-11T06:00:00Z",
        "state": state,
        "revision": None,
        "leads": {"expected": list(LEADS_HOURS), "present": [], "missing": list(LEADS_HOURS)},
    }

    document = forecasts.client.get("/cycles").json()
    document["cycles"].insert(0, cycle)
    desk.page.route("**/cycles?limit=*", lambda route: route.fulfill(json=document))
    page = desk.open("/")
    button = page.locator("[data-cycle='2022-08-11T06:00:00Z']")
    expect(button).to_be_disabled()
    expect(button.locator(".state")).to_contain_text(state)


def test_the_slider_goes_through_the_leads(wet_page: Page) -> None:
    slider = wet_page.locator("#lead")
    assert shown_lead(wet_page) == 27
    slider.press("ArrowRight")
    assert shown_lead(wet_page) == 28
    expect(wet_page.locator("#moment")).to_contain_text("hour ending Thu 11 Aug 13:00 KST (04:00 UTC)")
    expect(wet_page.locator("#first-figure canvas")).to_have_attribute("data-lead", "28")
    assert slider.get_attribute("aria-valuetext") == wet_page.locator("#moment").inner_text()
    expect(wet_page).to_have_url(re.compile("lead=28"))
    wet_page.locator("#leads li").first.click()
    assert shown_lead(wet_page) == 25


def test_the_animation_runs_and_stops(wet_page: Page) -> None:
    play = wet_page.locator("#play")
    play.click()
    for lead in (28, 29, 30, 25):
        expect(wet_page.locator("#second-figure canvas")).to_have_attribute("data-lead", str(lead))
    play.click()
    stopped = shown_lead(wet_page)
    wet_page.wait_for_timeout(1500)
    assert shown_lead(wet_page) == stopped


def test_keys(wet_page: Page) -> None:
    for number, layer in enumerate(
        ("rain", "heavy", "class", "raw", "observed", "difference", "hits"), start=1
    ):
        wet_page.keyboard.press(str(number))
        expect(wet_page.locator("#first-figure canvas")).to_have_attribute("data-layer", layer)
    wet_page.keyboard.press("ArrowRight")
    assert shown_lead(wet_page) == 28
    wet_page.keyboard.press("ArrowLeft")
    assert shown_lead(wet_page) == 27
    wet_page.keyboard.press(" ")
    expect(wet_page.locator("#play")).to_have_attribute("aria-pressed", "true")
    wet_page.keyboard.press(" ")
    expect(wet_page.locator("#play")).to_have_attribute("aria-pressed", "false")
    wet_page.keyboard.press("l")
    expect(wet_page.locator("html")).to_have_attribute("lang", "ko")


def test_everything_is_reached_by_tab(wet_page: Page) -> None:
    reached = set()
    for _ in range(60):
        wet_page.keyboard.press("Tab")
        name = "e.id || e.dataset.cycle || e.name || e.dataset.label || e.tagName"
        reached.add(wet_page.evaluate(f"(e => {name})(document.activeElement)"))
    wanted = {
        "show-map",
        "show-scores",
        "language",
        "revision",
        "layer",
        "compare",
        "CANVAS",
        "zoom_in",
        "play",
    }
    wanted |= {"lead", "latitude", "longitude"}
    assert wanted <= reached


def test_a_cycle_keeps_the_focus_when_the_list_is_drawn_anew(wet_page: Page, forecasts: Forecasts) -> None:
    button = wet_page.locator(f"[data-cycle='{forecasts.damp.name}']")
    button.focus()
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(button).to_be_focused()


def test_both_languages_say_everything(wet_page: Page) -> None:
    keys = wet_page.evaluate(
        "import('/page/texts.js').then(m => Object.values(m.TEXTS).map(texts => Object.entries(texts)))"
    )
    english, korean = (dict(entries) for entries in keys)
    assert english.keys() == korean.keys()
    for key, words in english.items():
        assert set(re.findall(r"\{\w+\}", words)) == set(re.findall(r"\{\w+\}", korean[key])), key
        assert words.strip()
        assert korean[key].strip()


def test_the_language_is_switched_and_kept(wet_page: Page) -> None:
    wet_page.click("#language")
    expect(wet_page.locator("html")).to_have_attribute("lang", "ko")
    expect(wet_page.locator("#first-figure figcaption strong")).to_have_text("강수확률")
    expect(wet_page.locator("#moment")).to_contain_text("8월 11일 (목) 12:00 KST까지 1시간")
    expect(wet_page.locator("#cycles")).to_contain_text("완료")
    left = wet_page.evaluate(
        "import('/page/texts.js').then(m => [...document.querySelectorAll('[data-text]')]"
        ".filter(e => e.textContent !== m.TEXTS.ko[e.dataset.text]).map(e => e.dataset.text))"
    )
    assert left == []
    wet_page.goto(wet_page.url.partition("#")[0])
    wet_page.wait_for_selector(READY)
    expect(wet_page.locator("html")).to_have_attribute("lang", "ko")
    wet_page.click("#language")
    expect(wet_page.locator("html")).to_have_attribute("lang", "en")


def test_an_address_is_a_link_to_what_it_shows(desk: Tab, forecasts: Forecasts) -> None:
    page = desk.open(
        f"/#cycle={forecasts.wet.name}&revision=1&lead=26&layer=heavy&beside=observed"
        "&lat=37.57&lon=126.98&lang=ko"
    )
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("#first-figure canvas")).to_have_attribute("data-layer", "heavy")
    expect(page.locator("#second-figure canvas")).to_have_attribute("data-layer", "observed")
    expect(page.locator("#second-figure canvas")).to_have_attribute("data-lead", "26")
    assert page.input_value("#revision") == "1"
    expect(page.locator("#point-answer .where")).to_contain_text("서울")
    address = page.url
    page.reload()
    page.wait_for_selector(READY)
    assert page.url == address


def test_the_newest_cycle_is_no_fixed_link(desk: Tab) -> None:
    assert "cycle=" not in desk.open("/").url


def test_a_cycle_that_is_not_there_is_said(desk: Tab) -> None:
    desk.refused = {404}
    page = desk.open("/#cycle=2001-01-01T00:00:00Z")
    expect(page.locator("#problem")).to_contain_text("of this cycle")
    page.locator("#cycles button:enabled").first.click()
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#first-figure canvas")).to_have_attribute("data-lead", "25")


def test_hits_are_asked_for_by_threshold(wet_page: Page) -> None:
    expect(wet_page.locator("#threshold")).to_be_hidden()
    wet_page.check("#layers input[value='hits']")
    expect(wet_page.locator("#first-figure .legend")).to_contain_text("0.1 mm or more")
    wet_page.select_option("#threshold", "10")
    expect(wet_page.locator("#first-figure .legend")).to_contain_text("10 mm or more")


@pytest.mark.parametrize("view", ["", "#view=scores"])
def test_a_phone_needs_no_scrolling_sideways(phone: Tab, view: str) -> None:
    page = phone.open(f"/{view}")
    for language in ("en", "ko"):
        expect(page.locator("html")).to_have_attribute("lang", language)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 375
        page.click("#language")


def test_a_phone_shows_map_and_slider_at_once(phone: Tab, forecasts: Forecasts) -> None:
    page = phone.open(f"/#cycle={forecasts.wet.name}&lead=27")
    boxes = [page.locator(name).bounding_box() for name in ("#first-figure canvas", "#lead")]
    for box in boxes:
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 760
    assert page.locator("canvas:visible").count() == 1
    page.locator("#first-figure canvas").tap(position={"x": 180, "y": 170})
    expect(page.locator("#point-answer tbody tr")).to_have_count(len(LEADS_HOURS))
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, #layers label')].filter(e => e.offsetParent)"
        ".filter(e => e.getBoundingClientRect().height < 30).map(e => e.outerHTML)"
    )
    assert small == []


@pytest.mark.parametrize("view", ["layer=class&lat=37.57&lon=126.98", "layer=hits&lang=ko", "view=scores"])
@pytest.mark.parametrize("screen", ["desk", "phone"])
def test_nothing_is_in_the_way_of_assistive_programs(
    request: pytest.FixtureRequest, forecasts: Forecasts, screen: str, view: str
) -> None:
    opened: Tab = request.getfixturevalue(screen)
    page = opened.open(f"/#cycle={forecasts.wet.name}&lead=27&{view}")
    found: dict[str, Any] = Axe().run(page).response
    assert len(found["passes"]) > 15
    assert [
        (one["id"], one["impact"], [node["html"] for node in one["nodes"]]) for one in found["violations"]
    ] == []


def test_no_style_or_script_is_inline(desk: Tab) -> None:
    """What the Content-Security-Policy refuses would be on the console, which each tab listens to."""
    page = desk.open("/")
    assert (
        page.evaluate("document.querySelectorAll('style, script:not([src]), [style]:not(.swatch)').length")
        == 0
    )


def test_the_chosen_layer_is_in_sight_on_a_phone(phone: Tab) -> None:
    page = phone.open("/#layer=raw_hits")
    label = page.locator("#layers label", has=page.locator("input[value='raw_hits']"))
    expect(label).to_be_in_viewport(ratio=0.9)
