"""The scores on the page are those of the service."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.service.page.conftest import LEADS_HOURS, Forecasts
from tests.service.sample_browser import Tab


def pooled(forecasts: Forecasts, threshold: float) -> dict[str, dict[str, Any]]:
    rows = forecasts.client.get("/verification", params={"threshold": threshold}).json()["scores"]
    return {row["source"]: row for row in rows if row["lead_hours"] is None}


@pytest.fixture
def page(desk: Tab, forecasts: Forecasts) -> Page:
    """The scores."""
    return desk.open("/#view=scores")


@pytest.mark.parametrize("threshold", [0.1, 10.0])
def test_the_table_is_that_of_the_service(page: Page, forecasts: Forecasts, threshold: float) -> None:
    page.select_option("#scores-threshold", f"{threshold:g}")
    expect(page.locator("#scores caption")).to_contain_text(f"{threshold:g} mm or more")
    shown = {
        row.split("\t")[0]: row.split("\t")[1:]
        for row in page.locator("#scores tbody").inner_text().split("\n")
    }
    rows = pooled(forecasts, threshold)
    for label, name in (
        ("Critical success index (CSI)", "critical_success_index"),
        ("Hit rate (POD)", "probability_of_detection"),
        ("False alarm ratio", "false_alarm_ratio"),
        ("Frequency bias", "frequency_bias"),
        ("Brier score", "brier_score"),
    ):
        expected = [rows[source][name] for source in ("model", "raw")]
        assert shown[label] == ["–" if one is None else f"{one:.3f}" for one in expected]


def test_the_charts_have_the_leads_and_bins_that_were_compared(page: Page, forecasts: Forecasts) -> None:
    compared = LEADS_HOURS[:-1]
    charts = page.locator("#scores svg[role=img]")
    expect(charts).to_have_count(4)
    by_lead, reliability, by_day, brier = (charts.nth(index) for index in range(4))
    for chart in (by_lead, brier):
        expect(chart.locator("circle.model")).to_have_count(len(compared))
        expect(chart.locator("rect.mark")).to_have_count(len(compared))
    bins = pooled(forecasts, 0.1)["model"]["reliability"]
    expect(reliability.locator("circle.model")).to_have_count(len(bins))
    expect(reliability.locator("rect.share")).to_have_count(len(bins))
    titles = reliability.locator("circle.model title").all_text_contents()
    assert titles[-1].endswith(f"{100 * bins[-1]['observed_frequency']:.0f} %")
    expect(by_day.locator("circle.model")).to_have_count(1)


def test_the_raw_forecast_is_a_yes_or_a_no(page: Page, forecasts: Forecasts) -> None:
    raw = pooled(forecasts, 0.1)["raw"]
    titles = page.locator("#scores svg[role=img]").nth(1).locator("rect.mark title").all_text_contents()
    assert len(titles) == 2
    assert titles[1] == f"100 % → {100 * raw['precision']:.0f} %"


def test_a_span_of_days_asks_for_these(page: Page) -> None:
    with page.expect_request("**/verification?from=2022-08-05T00:00:00Z"):
        page.select_option("#scores-span", "7")
    expect(page.locator("#scores svg[role=img]")).to_have_count(4)


def test_from_map_to_scores_and_back(desk: Tab) -> None:
    page = desk.open("/")
    page.click("#show-scores")
    expect(page.locator("#scores svg[role=img]")).to_have_count(4)
    expect(page.locator("#map-view")).to_be_hidden()
    page.click("#show-map")
    expect(page.locator("#scores-view")).to_be_hidden()
    assert page.locator("canvas:visible").count() == 2
