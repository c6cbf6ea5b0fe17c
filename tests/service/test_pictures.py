"""Pictures: real ones, of the right lead, that say what they show."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service import pictures
from service.errors import NotFound
from service.pictures import RAIN_LEVELS_MM, render_lead
from service.product import build_product
from service.specification import GridDefinition
from tests.service.sample_product import (
    DEGREES,
    PROVENANCE,
    sample_cycle,
    sample_manifest,
    sample_probabilities,
    sample_product,
)
from tests.service.test_grids import QPE


def _pixels(png: bytes) -> NDArray[np.float32]:
    return np.asarray(matplotlib.image.imread(io.BytesIO(png)), np.float32)


@cache
def _rendered(lead: int, target: GridDefinition = QPE) -> bytes:
    return render_lead(sample_product(target), lead)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is made."""
    made: list[Figure] = []

    class Recorded(Figure):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            made.append(self)

    monkeypatch.setattr(pictures, "Figure", Recorded)
    return made


@pytest.mark.parametrize("target", [QPE, DEGREES], ids=["Lambert", "latitude-longitude"])
def test_a_picture_is_a_picture(target: GridDefinition) -> None:
    png = _rendered(25, target)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    pixels = _pixels(png)
    height, width, bands = pixels.shape
    assert width > 1000
    assert height > 500
    assert bands == 4
    colours = np.unique((pixels[..., :3] * 255).astype(np.uint8).reshape(-1, 3), axis=0)
    assert len(colours) > 30
    assert (pixels[..., 3] == 1.0).all()


def test_leads_differ_and_the_same_lead_does_not() -> None:
    first = _rendered(25)
    assert render_lead(sample_product(), 25) == first
    other = _pixels(_rendered(26))
    assert other.shape == _pixels(first).shape
    assert (other != _pixels(first)).any(axis=2).mean() > 0.05


def test_the_panels_hold_the_fields_of_the_lead(figures: list[Figure]) -> None:
    dataset = sample_product()
    render_lead(dataset, 26)
    (figure,) = figures
    meshes: list[Any] = [axes.collections[0].get_array() for axes in figure.axes[::2]]
    probabilities = sample_probabilities()[1]
    np.testing.assert_array_equal(meshes[0], sample_cycle().values[1, 1])
    np.testing.assert_allclose(meshes[1], probabilities[1] + probabilities[2], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(meshes[2], probabilities[2])


def test_the_picture_says_what_it_shows(figures: list[Figure]) -> None:
    render_lead(sample_product(), 26)
    text = _text(figures[0])
    assert "2026-07-15 20:00 UTC" in text
    assert "2026-07-14 18:00 UTC" in text
    assert "lead 26 h" in text
    assert "sample-1.2.3" in text
    assert "simulated" in text
    assert "RDAPS-KIM, not corrected" in text
    assert "0.1 mm or more" in text
    assert "10 mm or more" in text
    assert "35.5°N" in text
    assert "126°E" in text


def test_a_model_of_real_data_is_not_called_simulated(figures: list[Figure]) -> None:
    manifest = sample_manifest(simulated=False)
    render_lead(build_product(sample_cycle(), sample_probabilities(), manifest, PROVENANCE), 25)
    assert "simulated" not in _text(figures[0])


def test_meridians_are_labelled_across_the_date_line(figures: list[Figure]) -> None:
    render_lead(sample_product(DEGREES), 25)
    labels = [label.get_text() for label in figures[0].axes[0].get_xticklabels()]
    assert labels
    assert all(label.endswith("E") for label in labels)
    wide = sample_product(DEGREES.model_copy(update={"first_longitude_degrees": 178.0}))
    render_lead(wide, 25)
    labels = [label.get_text() for label in figures[1].axes[0].get_xticklabels()]
    assert any(label.endswith("W") for label in labels)
    assert any(label.endswith("E") for label in labels)
    places = figures[1].axes[0].get_xticks()
    assert (np.diff(places) > 0).all()


def test_rain_classes_are_the_agreed_ones_and_darken_steadily(figures: list[Figure]) -> None:
    assert RAIN_LEVELS_MM == (0.1, 0.5, 1, 2, 5, 10, 20, 30, 50)
    render_lead(sample_product(), 25)
    for axes in figures[0].axes[::2]:
        mesh: Any = axes.collections[0]
        levels = mesh.norm.boundaries
        colours = mesh.cmap(mesh.norm(np.array([*levels[:-1], levels[-1] * 1.01])))[:, :3]
        lightness = colours @ [0.2126, 0.7152, 0.0722]
        assert (np.diff(lightness)[:-1] < 0).all()
        dry = mesh.cmap(mesh.norm(np.array([0.99 * levels[0]])))[0, :3]
        assert dry.tolist() == [1.0, 1.0, 1.0]


def test_no_figure_is_left_with_pyplot() -> None:
    _rendered(25)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("lead", [24, 28])
def test_an_unknown_lead_is_not_found(lead: int) -> None:
    with pytest.raises(NotFound, match="25, 26, 27"):
        render_lead(sample_product(), lead)


def test_a_missing_lead_is_not_found_and_said_to_be_missing() -> None:
    dataset = build_product(sample_cycle((25, 27)), sample_probabilities(2), sample_manifest(), PROVENANCE)
    with pytest.raises(NotFound, match="missing in the cycle"):
        render_lead(dataset, 26)


def _text(figure: Figure) -> str:
    pieces = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        pieces += [axes.get_title()]
        pieces += [label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    return "\n".join(pieces)
