"""Colours that keep their order for every kind of colour vision."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page

from tests.service.sample_browser import Tab

# Full dichromacy after Machado, Oliveira and Fernandes (2009), IEEE TVCG 15, 1291-1298, for linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])
CLEARLY_OTHER = 8.0
"""CIE 1976 difference; about 2.3 is just seen side by side."""


def lab(colours: list[list[int]], vision: str) -> NDArray[np.float64]:
    """CIE L*a*b* (colour, 3) of sRGB from 0 to 255, as seen."""
    srgb = np.array(colours) / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ VISIONS[vision].T, 0, 1) @ _TO_XYZ.T / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.fixture
def page(desk: Tab) -> Page:
    """Any page of the service can load the palettes."""
    return desk.open("/")


def colours_of(page: Page, palette: str) -> list[list[int]]:
    found: list[list[int]] = page.evaluate(
        f"import('/page/palettes.js').then(m => m.{palette}.colours.map(c => m.rgb(c ?? '#f7f5f0')))"
    )
    return found


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("palette", ["RAIN", "PROBABILITY", "RARE_PROBABILITY"])
def test_more_is_darker(page: Page, palette: str, vision: str) -> None:
    seen = lab(colours_of(page, palette), vision)
    assert (np.diff(seen[:, 0]) < -1.0).all()
    assert np.linalg.norm(np.diff(seen, axis=0), axis=1).min() > 4.0


@pytest.mark.parametrize("vision", VISIONS)
def test_too_much_and_too_little_are_told_apart(page: Page, vision: str) -> None:
    seen = lab(colours_of(page, "DIFFERENCE"), vision)
    middle = len(seen) // 2
    assert (np.diff(seen[: middle + 1, 0]) > 0).all()
    assert (np.diff(seen[middle:, 0]) < 0).all()
    for step in range(1, middle + 1):
        assert np.linalg.norm(seen[middle - step] - seen[middle + step]) > CLEARLY_OTHER, step


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("palette", ["CLASSES", "OUTCOMES"])
def test_names_have_colours_of_their_own(page: Page, palette: str, vision: str) -> None:
    seen = lab(colours_of(page, palette), vision)
    for first in range(len(seen)):
        for second in range(first):
            assert np.linalg.norm(seen[first] - seen[second]) > 2 * CLEARLY_OTHER, (first, second)
