"""Maps: the right fields on the right ground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from service.channels import CHANNELS
from training.domain import WINDOW, specification
from training.figure_maps import (
    Case,
    Ground,
    Reconstruction,
    amount_classes,
    grad_cam,
    ground,
    heaviest,
    heavy_case,
    reconstruction,
    short_name,
)
from training.figures import save

SHAPE = (12, 8)
PLAIN = Ground(SHAPE)


def _mesh(axes: Axes) -> np.ndarray[Any, np.dtype[Any]]:
    values: Any = axes.collections[0].get_array()
    return np.asarray(values)


def _by_title(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title() and axes.get_visible()}


def _rain(seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).gamma(0.3, 20.0, SHAPE).astype(np.float32)


def test_the_ground_of_the_paper_is_korea() -> None:
    korea = ground(specification())
    assert korea.shape == (WINDOW.ny, WINDOW.nx)
    assert korea.plane is not None
    assert korea.land is not None

    def land_at(latitude: float, longitude: float) -> float:
        plane, land = korea.plane, korea.land
        assert plane is not None
        assert land is not None
        distance = (plane["latitude"] - latitude) ** 2 + (plane["longitude"] - longitude) ** 2
        return float(land.flat[int(distance.values.argmin())])

    assert land_at(36.5, 128.0) > 0.9
    assert land_at(37.5, 130.5) < 0.1


def test_there_is_no_land_where_the_simulation_has_no_map() -> None:
    korea = specification()
    eastwards = korea.target.model_copy(update={"origin_x": -700.0})
    wide = ground(korea.model_copy(update={"target": eastwards}))
    assert wide.land is not None
    assert np.isnan(wide.land).all()


def test_the_heavy_case_is_the_one_with_most_heavy_cells() -> None:
    rain_mm = np.zeros((4, *SHAPE), np.float32)
    rain_mm[1, :3] = 9.99
    rain_mm[2, 0, :5] = 10.0
    rain_mm[3, 0, :4] = 100.0
    rain_mm[3, 1:] = np.nan
    assert heaviest(rain_mm) == 2


def test_amounts_on_a_threshold_belong_to_the_class_above() -> None:
    found = amount_classes(np.array([0.0, 0.05, 0.1, 9.99, 10.0, np.nan], np.float32))
    np.testing.assert_array_equal(found, [0, 0, 1, 1, 2, np.nan])


def test_every_system_has_its_panel() -> None:
    observed, raw = _rain(1), _rain(2)
    observed[0, 0] = np.nan
    classes = {name: amount_classes(_rain(seed)).astype(np.intp) for seed, name in enumerate("abcde")}
    panels = _by_title(heavy_case(Case("a case", observed, raw, classes), PLAIN))
    assert list(panels) == ["observed", "raw forecast", *"abcde"]
    np.testing.assert_array_equal(_mesh(panels["observed"]), observed)
    np.testing.assert_array_equal(_mesh(panels["raw forecast"]), raw)
    for name, values in classes.items():
        np.testing.assert_array_equal(_mesh(panels[name]), values)


def test_heat_maps_are_shares_of_their_maxima_and_may_be_empty() -> None:
    observed = _rain()
    warm = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    heat = {"stage 1": warm, "fusion": np.zeros(SHAPE, np.float32)}
    panels = _by_title(grad_cam("a case", observed, np.zeros(SHAPE, np.intp), heat, PLAIN))
    assert list(panels) == ["observed", "result", "stage 1", "fusion"]
    np.testing.assert_allclose(_mesh(panels["stage 1"]), warm / warm.max())
    assert _mesh(panels["fusion"]).max() == 0
    np.testing.assert_array_equal(_mesh(panels["observed"]), amount_classes(observed))


def test_the_reconstruction_fills_what_was_masked_and_only_that() -> None:
    generator = np.random.default_rng(0)
    channels = tuple(CHANNELS)
    fields = generator.normal(size=(16, *SHAPE)).astype(np.float32)
    masked = generator.random((16, *SHAPE)) < 0.9
    guess = np.where(masked, fields + np.float32(0.25), np.float32(9.0))
    figure = reconstruction(Reconstruction(channels, fields, masked, guess), PLAIN)
    images = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(images) == 3 * 16
    for number in (0, 7, 8, 15):
        block, column = divmod(number, 8)
        shown: list[Any] = [images[(3 * block + row) * 8 + column] for row in range(3)]
        seen, left, filled = shown
        np.testing.assert_array_equal(seen, fields[number])
        np.testing.assert_array_equal(np.ma.getmaskarray(left), masked[number])
        np.testing.assert_array_equal(
            filled, np.where(masked[number], fields[number] + np.float32(0.25), fields[number])
        )
    titles = [axes.get_title() for axes in figure.axes]
    assert titles.count("error 0.25") == 16
    assert titles.count("rain") == 1


def test_channels_have_the_names_of_the_paper() -> None:
    names = [short_name(channel) for channel in CHANNELS]
    assert names == [
        "Z 100", "Z 500", "Z 850", "SLP", "RH 500", "RH 850", "T 2", "T 500",
        "T 850", "U 10", "U 500", "U 850", "V 10", "V 500", "V 850", "rain",
    ]  # fmt: skip


@pytest.mark.parametrize("dry", [False, True])
def test_maps_of_korea_are_drawn_also_where_it_is_dry(dry: bool, tmp_path: Path) -> None:
    shape = (WINDOW.ny, WINDOW.nx)
    rain = np.zeros(shape, np.float32)
    if not dry:
        rain[40:80, 40:60] = 20.0
    classes = {"ours": amount_classes(rain).astype(np.intp)}
    save(heavy_case(Case("a case", rain, rain, classes), ground(specification())), tmp_path / "case.png")
    assert (tmp_path / "case.png").stat().st_size > 10_000
