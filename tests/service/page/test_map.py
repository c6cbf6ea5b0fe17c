"""What the map shows is what the product says, cell by cell."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

from service.product import EXCEEDANCE, RAW_PRECIPITATION
from service.product_coordinates import product_grid
from tests.service.page.conftest import Forecasts
from tests.service.sample_browser import Tab

LEAD = 27
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Fields:
    """What there is to compare the map with, at one lead."""

    product: xr.Dataset
    raw_mm: NDArray[np.float32]
    observed_mm: NDArray[np.float64]


_READOUT = re.compile(r"([\d.]+)° N ([\d.]+)° E: (.*)")
_GROUND = {(0xDF, 0xE7, 0xEC), (0xF7, 0xF5, 0xF0)}
"""Sea and land, where a layer has no colour."""


def canvas_pixels(page: Page, layer: str) -> NDArray[np.uint8]:
    """RGB (y, x, channel) of a map, once it shows the layer."""
    canvas = page.locator(f"canvas[data-layer='{layer}']")
    expect(canvas).to_have_attribute("data-lead", re.compile(r"\d+"))
    page.wait_for_timeout(150)
    picture = canvas.evaluate("canvas => canvas.toDataURL('image/png')").partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"))


def readings(page: Page, layer: str) -> list[tuple[float, float, str, Colour]]:
    """Latitude, longitude, the words of the readout and the most frequent colour around, at many places."""
    pixels = canvas_pixels(page, layer)
    height, width = pixels.shape[:2]
    canvas = page.locator(f"canvas[data-layer='{layer}']")
    readout = page.locator("figure", has=canvas).locator(".readout")
    box = canvas.bounding_box()
    assert box is not None
    found = []
    for across, down in [(x, y) for y in np.linspace(0.1, 0.9, 9) for x in np.linspace(0.2, 0.7, 5)]:
        column, row = round(across * width), round(down * height)
        page.mouse.move(box["x"] + column + 0.5, box["y"] + row + 0.5)
        match = _READOUT.fullmatch(readout.inner_text())
        assert match
        around = pixels[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3)
        ((red, green, blue), _), *_ = Counter(map(tuple, around.tolist())).most_common(1)
        latitude, longitude, words = match.groups()
        found.append((float(latitude), float(longitude), words, (red, green, blue)))
    return found


def show(page: Page, layer: str) -> None:
    """On the first map, beside another, so large that a cell is several pixels wide."""
    page.select_option("#compare", "rain" if layer != "rain" else "raw")
    page.check(f"#layers input[value='{layer}']")
    page.locator("#first-figure button[data-label='zoom_reset']").click()
    for _ in range(3):
        page.locator("#first-figure button[data-label='zoom_in']").click()


def percentage(text: str) -> float:
    return float(text.removesuffix(" %")) / 100


def millimetres(text: str) -> float:
    return float(text.removesuffix(" mm"))


def value_at(
    dataset: xr.Dataset, values: NDArray[np.floating], latitude: float, longitude: float
) -> set[float]:
    """Of the cell there, and of its neighbours where the two decimals of the position do not tell."""
    index = product_grid(dataset).fractional_index(latitude, longitude)
    assert index is not None
    row, column = (float(part) for part in index)
    rows = {round(row - 0.2), round(row + 0.2)} & set(range(values.shape[0]))
    columns = {round(column - 0.2), round(column + 0.2)} & set(range(values.shape[1]))
    return {float(values[one, other]) for one in rows for other in columns}


def colours_of(page: Page, palette: str) -> tuple[list[float], list[Colour | None]]:
    """Levels and colours of a palette of the page."""
    levels, colours = page.evaluate(
        f"import('/page/palettes.js').then(m => [m.{palette}, m.rgb])"
        ".then(([palette, rgb]) => [palette.levels, palette.colours.map(colour => colour && rgb(colour))])"
    )
    return levels, [None if one is None else (one[0], one[1], one[2]) for one in colours]


def colour_for(value: float, levels: list[float], colours: list[Colour | None]) -> Colour | None:
    below = sum(value >= level for level in levels)
    return None if below == 0 else colours[below - 1]


@pytest.mark.parametrize(
    ("layer", "palette", "field", "words"),
    [
        (
            "rain",
            "PROBABILITY",
            lambda d: d[EXCEEDANCE].values[0],
            percentage,
        ),
        (
            "heavy",
            "RARE_PROBABILITY",
            lambda d: d[EXCEEDANCE].values[1],
            percentage,
        ),
        ("raw", "RAIN", lambda d: d[RAW_PRECIPITATION].values, millimetres),
    ],
)
def test_readout_and_colour_are_those_of_the_product(
    wet_page: Page,
    forecasts: Forecasts,
    tmp_path: Path,
    layer: str,
    palette: str,
    field: Callable[[xr.Dataset], NDArray[np.floating]],
    words: Callable[[str], float],
) -> None:
    """Lines and names cover some of the colours."""
    show(wet_page, layer)
    dataset = forecasts.product(forecasts.wet, tmp_path)
    values = field(dataset)[dataset["lead"].values.tolist().index(LEAD)]
    levels, colours = colours_of(wet_page, palette)
    right = coloured = 0
    found = readings(wet_page, layer)
    for latitude, longitude, text, colour in found:
        candidates = value_at(dataset, values, latitude, longitude)
        # Stored in steps, rounded down, and shown with few digits.
        low, high = (-0.051, 0.061) if layer == "raw" else (-0.0051, 0.0101)
        assert any(low <= one - words(text) <= high for one in candidates), (text, candidates)
        expected = {colour_for(one, levels, colours) for one in candidates}
        right += colour in expected or (None in expected and colour in _GROUND)
        coloured += expected != {None}
    assert right > 0.8 * len(found)
    assert coloured > 5, "a dry map would prove little"


@pytest.fixture
def fields(forecasts: Forecasts, tmp_path: Path) -> Fields:
    """Product, raw and observed rain at the lead; the latter from the file, without the service's reader."""
    dataset = forecasts.product(forecasts.wet, tmp_path)
    numbers = forecasts.wet.observed[LEAD].read_text().replace("\n", "").split(",")
    whole = np.array([float(number) for number in numbers if number.strip()]).reshape(253, 149)
    window = forecasts.client.runtime.inference.artefact.manifest.cycle.window
    observed_mm = whole[window.y_start :, window.x_start :][: window.ny, : window.nx]
    return Fields(dataset, dataset[RAW_PRECIPITATION].sel(lead=LEAD).values, observed_mm)


def test_observed_rain_is_that_of_the_file(wet_page: Page, fields: Fields) -> None:
    show(wet_page, "observed")
    for latitude, longitude, text, _ in readings(wet_page, "observed"):
        candidates = value_at(fields.product, fields.observed_mm, latitude, longitude)
        assert any(abs(one - millimetres(text)) <= 0.061 for one in candidates)


def test_the_difference_is_that_of_raw_and_observed(wet_page: Page, fields: Fields) -> None:
    show(wet_page, "difference")
    difference_mm = fields.raw_mm - fields.observed_mm
    found = readings(wet_page, "difference")
    for latitude, longitude, text, _ in found:
        candidates = value_at(fields.product, difference_mm, latitude, longitude)
        assert any(abs(one - millimetres(text)) <= 0.071 for one in candidates)
    assert (
        min(millimetres(text) for _, _, text, _ in found) < -1 < 1 < max(millimetres(one[2]) for one in found)
    )


@pytest.mark.parametrize(("layer", "threshold"), [("raw_hits", 0.1), ("raw_hits", 10.0), ("hits", 10.0)])
def test_outcomes_are_those_of_the_cells(
    wet_page: Page, fields: Fields, layer: str, threshold: float
) -> None:
    show(wet_page, layer)
    wet_page.select_option("#threshold", f"{threshold:g}")
    expect(wet_page.locator("#first-figure .legend")).to_contain_text(f"{threshold:g} mm or more")
    exceedance = fields.product[EXCEEDANCE]
    heavy = exceedance.attrs["decision_probability"][1]
    called = fields.raw_mm >= threshold
    if layer == "hits":
        called = exceedance.sel(lead=LEAD).values[1] >= heavy
    codes = called + 2.0 * (fields.observed_mm >= threshold)
    names = ("neither", "false alarm", "miss", "hit")
    seen = set()
    for latitude, longitude, text, _ in readings(wet_page, layer):
        assert text in {names[int(one)] for one in value_at(fields.product, codes, latitude, longitude)}
        seen.add(text)
    assert len(seen) > 1


def test_called_classes_and_their_thresholds(wet_page: Page, forecasts: Forecasts, tmp_path: Path) -> None:
    show(wet_page, "class")
    dataset = forecasts.product(forecasts.wet, tmp_path)
    above = dataset[EXCEEDANCE].sel(lead=LEAD).values
    rain, heavy = dataset[EXCEEDANCE].attrs["decision_probability"]
    called = np.where(above[1] >= heavy, 2, np.where(above[0] >= rain, 1, 0))
    names = ["no rain", "rain", "heavy rain"]
    for latitude, longitude, text, _ in readings(wet_page, "class"):
        assert text in {
            names[int(one)] for one in value_at(dataset, called.astype(float), latitude, longitude)
        }
    legend = wet_page.locator("#first-figure .legend").inner_text()
    assert f"{100 * rain:.0f} % for rain" in legend
    assert f"{100 * heavy:.0f} % for heavy rain" in legend


def test_what_is_missing_is_said(desk: Tab, forecasts: Forecasts) -> None:
    """Lead 27 of the newest cycle, and any observation of it; a canvas shows no text to a test."""
    page = desk.open("/")
    page.evaluate(
        "CanvasRenderingContext2D.prototype.fillText = function (text) { (window.said ??= []).push(text); }"
    )
    page.locator("#lead").press("End")
    page.wait_for_function("window.said?.includes('This lead is missing in the cycle')")
    page.locator("#lead").press("Home")
    page.check("#layers input[value='observed']")
    page.wait_for_function("window.said?.includes('No observation of this hour yet')")


def test_zoom_and_drag_move_both_maps(wet_page: Page) -> None:
    before = {layer: canvas_pixels(wet_page, layer) for layer in ("rain", "raw")}
    wet_page.locator("#first-figure button[data-label='zoom_in']").click()
    zoomed = {layer: canvas_pixels(wet_page, layer) for layer in before}
    for layer, pixels in before.items():
        assert (zoomed[layer] != pixels).mean() > 0.1
    box = wet_page.locator("#first-figure canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    wet_page.mouse.move(x, y)
    wet_page.mouse.down()
    wet_page.mouse.move(x + 40, y + 60, steps=4)
    wet_page.mouse.up()
    dragged = canvas_pixels(wet_page, "raw")
    assert (dragged != zoomed["raw"]).mean() > 0.1
    assert wet_page.locator("#point-answer table").count() == 0, "a drag chooses no point"
    wet_page.locator("#second-figure button[data-label='zoom_reset']").click()
    for layer, pixels in before.items():
        assert (canvas_pixels(wet_page, layer) == pixels).all()
