"""Colours beside those of the page, which are written down there too."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from service.assets import read_asset
from service.layers import Layer
from service.palettes import CLASSES, NO_VALUE, PROBABILITY, RAIN, RARE_PROBABILITY, Palette, palette_of

SCRIPT = read_asset("palettes.js").body.content.decode()


def listed(palette: str, member: str) -> list[str | float | None]:
    """An array of the page's palettes."""
    block = re.search(rf"export const {palette} = \{{(.*?)\n\}};", SCRIPT, re.DOTALL)
    assert block is not None
    array = re.search(rf"{member}: (\[.*?\])", block[1], re.DOTALL)
    assert array is not None
    values: list[str | float | None] = json.loads(array[1])
    return values


@pytest.mark.parametrize(
    ("name", "palette"),
    [("RAIN", RAIN), ("PROBABILITY", PROBABILITY), ("RARE_PROBABILITY", RARE_PROBABILITY)],
)
def test_the_page_has_the_same(name: str, palette: Palette) -> None:
    assert list(palette.levels) == listed(name, "levels")
    assert list(palette.colours) == listed(name, "colours")


def test_the_page_has_the_same_classes_and_no_value() -> None:
    assert list(CLASSES.colours) == listed("CLASSES", "colours")
    assert f'NO_VALUE = "{NO_VALUE}"' in SCRIPT


def test_colours_begin_at_their_levels() -> None:
    values = np.array([0.0, 0.0999, 0.1, 0.7, 0.9, 1.0, np.nan], np.float32)
    painted = Palette((0.1, 0.7, 0.9), ("#010203", "#040506", None)).paint(values).tolist()
    clear, first, second = [0, 0, 0, 0], [1, 2, 3, 255], [4, 5, 6, 255]
    assert painted == [clear, clear, first, second, clear, clear, [185, 190, 196, 255]]


def test_the_highest_threshold_is_rare() -> None:
    thresholds = (0.1, 10.0)
    assert palette_of(Layer("probability-0.1", "probability", 0.1), thresholds) is PROBABILITY
    assert palette_of(Layer("probability-10", "probability", 10.0), thresholds) is RARE_PROBABILITY
    assert palette_of(Layer("class", "class"), thresholds) is CLASSES
    assert palette_of(Layer("raw", "rain"), thresholds) is RAIN
