"""The maps of the experiment: reconstruction (Figure 3), a heavy case (4) and Grad-CAM (6)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy import ndimage

from service.channels import CLASSES, THRESHOLDS_MM
from service.grids import grid_from_definition
from service.pictures import RAIN_LEVELS_MM, colour_scale, draw_graticule
from service.product_coordinates import horizontal
from service.specification import CycleSpecification
from training.domain import RDAPS_KIM
from training.figures import CLASS_NAMES, look, new_figure
from training.orography import terrain

CLASS_COLOURS: Final = ("white", "#8ec9ec", "#a3123a")
"""Each much darker than the one before."""
_NO_DATA: Final = "0.8"
_DEVIATIONS: Final = 3.0
"""Range of the colours of z-scores."""
_PANEL_INCHES: Final = 1.75
TITLE_LETTERS: Final = 20
"""In a line over a map."""

Field = NDArray[Any]


@dataclass(frozen=True)
class Ground:
    """What maps are drawn on: axes and positions of the cells, and where the land ends.

    plane: ``x``, ``y``, ``latitude`` and ``longitude`` as a product has them; None for data that are on no
    known map, whose axes are then cells.
    land: (y, x), 0 at sea to 1 on land, in the simulation's sketch of East Asia; NaN outside it.
    """

    shape: tuple[int, int]
    plane: xr.Dataset | None = None
    land: NDArray[np.float64] | None = None


def ground(specification: CycleSpecification) -> Ground:
    """The window of a specification."""
    grid = grid_from_definition(specification.target, specification.window)
    latitude, longitude = grid.latitude_longitude()
    index = grid_from_definition(RDAPS_KIM).fractional_index(latitude, longitude)
    land = None
    if index is not None:
        land = ndimage.map_coordinates(
            terrain().land_fraction.astype(np.float64), np.stack(index), order=1, cval=np.nan
        )
    return Ground(grid.shape, xr.Dataset(horizontal(grid)), land)


@dataclass(frozen=True)
class Reconstruction:
    """What the masked pre-training sees and answers; z-scores (channel, y, x).

    masked: (channel, y, x), True where the network saw nothing.
    """

    channels: tuple[str, ...]
    fields: NDArray[np.float32]
    masked: NDArray[np.bool_]
    reconstructed: NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One sample: what was observed, what each system made of it.

    observed_mm, raw_mm: (y, x), NaN where nothing was observed. classes: by system, (y, x) of class numbers.
    """

    title: str
    observed_mm: NDArray[np.float32]
    raw_mm: NDArray[np.float32]
    classes: Mapping[str, NDArray[np.intp]]


def heaviest(rain_mm: NDArray[np.float32]) -> int:
    """The sample of (sample, y, x) with the most cells of heavy rain; the first of equals."""
    return int((rain_mm >= THRESHOLDS_MM[-1]).sum(axis=(1, 2)).argmax())


def amount_classes(rain_mm: NDArray[np.float32]) -> NDArray[np.float64]:
    """Class numbers of amounts; NaN stays NaN."""
    classes = np.digitize(rain_mm, THRESHOLDS_MM).astype(np.float64)
    return np.where(np.isnan(rain_mm), np.nan, classes)


@look
def reconstruction(what: Reconstruction, place: Ground) -> Figure:
    """Figure 3: the z-scored variables, what was left of them, and with the gaps filled.

    Over the lowest row stands the root mean square error of the masked cells, in standard deviations.
    """
    half = len(what.channels) // 2
    figure = new_figure(half * 1.15 + 0.9, 6 * 1.15 * place.shape[0] / place.shape[1] + 1.0)
    panels = figure.subplots(6, half)
    mesh = None
    for number, channel in enumerate(what.channels):
        block, column = divmod(number, half)
        hidden = what.masked[number]
        fields, guess = what.fields[number], what.reconstructed[number]
        error = float(np.sqrt(np.mean((guess - fields)[hidden] ** 2)))
        shown = (fields, np.where(hidden, np.nan, fields), np.where(hidden, guess, fields))
        for row, values in enumerate(shown):
            axes = panels[3 * block + row, column]
            colours = colormaps["RdBu_r"].with_extremes(bad=_NO_DATA)
            mesh = axes.imshow(
                values, origin="lower", cmap=colours, vmin=-_DEVIATIONS, vmax=_DEVIATIONS, aspect="auto"
            )
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(True)
        panels[3 * block, column].set_title(short_name(channel), fontsize=9)
        panels[3 * block + 2, column].set_title(f"error {error:.2f}", fontsize=7)
    for row, name in enumerate(("input", "masked", "filled") * 2):
        panels[row, 0].set_ylabel(name)
    if mesh is not None:
        figure.colorbar(mesh, ax=panels, label="standard deviations", extend="both", shrink=0.4, pad=0.01)
    return figure


def short_name(channel: str) -> str:
    """A channel's symbol and level as the paper writes them, such as T 850."""
    symbols = {
        "geopotential_height": "Z",
        "mean_sea_level_pressure": "SLP",
        "relative_humidity": "RH",
        "temperature": "T",
        "eastward_wind": "U",
        "northward_wind": "V",
        "precipitation": "rain",
    }
    quantity, _, level = channel.rpartition("_")
    if channel in symbols:
        return symbols[channel]
    symbol = symbols.get(quantity, quantity)
    return symbol if symbol == "rain" else f"{symbol} {level.removesuffix('hpa').removesuffix('m')}"


@look
def heavy_case(case: Case, place: Ground) -> Figure:
    """Figure 4: observed and raw amounts, then the classes of every system over the observed heavy rain."""
    columns = -(-(2 + len(case.classes)) // 2)
    figure, panels = _maps(2, columns, place)
    scale = colour_scale(RAIN_LEVELS_MM, "viridis_r", open_end=True)
    mesh = None
    for axes, title, rain_mm in (
        (panels[0], "observed", case.observed_mm),
        (panels[1], "raw forecast", case.raw_mm),
    ):
        mesh = _draw(axes, rain_mm, place, *scale)
        axes.set_title(title)
    for axes, (system, classes) in zip(panels[2:], case.classes.items(), strict=False):
        _draw(axes, classes, place, *_class_scale())
        _outline_heavy(axes, case.observed_mm, place)
        axes.set_title(textwrap.fill(system, TITLE_LETTERS))
    for axes in panels[2 + len(case.classes) :]:
        axes.set_visible(False)
    if mesh is not None:
        figure.colorbar(
            mesh, ax=panels[:2], location="left", label="mm in an hour", ticks=RAIN_LEVELS_MM, format="%g",
            aspect=40,
        )  # fmt: skip
    figure.suptitle(case.title, fontsize=10)
    _class_legend(figure, "observed heavy rain")
    return figure


@look
def grad_cam(
    title: str,
    observed_mm: NDArray[np.float32],
    classes: NDArray[np.intp],
    heat: Mapping[str, NDArray[np.float32]],
    place: Ground,
) -> Figure:
    """Figure 6: the observed classes, the result, and the heat maps by depth, as shares of their maxima."""
    figure, panels = _maps(1, 2 + len(heat), place)
    for axes, name, shown in (
        (panels[0], "observed", amount_classes(observed_mm)),
        (panels[1], "result", classes),
    ):
        _draw(axes, shown, place, *_class_scale())
        axes.set_title(name)
    mesh = None
    for axes, (depth, values) in zip(panels[2:], heat.items(), strict=True):
        share = values / (values.max() or 1.0)
        mesh = _draw(axes, share, place, colormaps["YlOrBr"], Normalize(0, 1))
        _contour(axes, np.asarray(classes, np.float64), (0.5, 1.5), place, "black")
        axes.set_title(depth)
    if mesh is not None:
        figure.colorbar(mesh, ax=panels[2:], label="share of the maximum", shrink=0.7, aspect=30, pad=0.01)
    figure.suptitle(title, fontsize=10)
    _class_legend(figure, "classes of the result")
    return figure


def _maps(rows: int, columns: int, place: Ground) -> tuple[Figure, list[Axes]]:
    height = _PANEL_INCHES * place.shape[0] / place.shape[1]
    figure = new_figure(columns * (_PANEL_INCHES + 0.15) + 1.1, rows * (height + 0.3) + 0.9)
    return figure, list(np.ravel(figure.subplots(rows, columns, sharex=True, sharey=True)))


def _axes_values(place: Ground) -> tuple[Field, Field]:
    if place.plane is None:
        return np.arange(place.shape[1]), np.arange(place.shape[0])
    return place.plane["x"].values, place.plane["y"].values


def _draw(axes: Axes, values: Field, place: Ground, colours: Colormap, norm: Any) -> Any:
    x, y = _axes_values(place)
    mesh = axes.pcolormesh(x, y, values, cmap=colours, norm=norm, shading="nearest", rasterized=True)
    axes.set_aspect("equal")
    axes.spines[:].set_visible(True)
    if place.plane is not None:
        draw_graticule(axes, place.plane)
        axes.label_outer()
    if place.land is not None:
        _contour(axes, place.land, (0.5,), place, "0.35")
    return mesh


def _contour(axes: Axes, values: Field, levels: Sequence[float], place: Ground, colour: str) -> None:
    """Nothing where no level lies within the values: matplotlib would warn."""
    inside = [level for level in levels if np.nanmin(values) < level < np.nanmax(values)]
    if inside:
        axes.contour(*_axes_values(place), values, levels=inside, colors=colour, linewidths=0.8)


def _outline_heavy(axes: Axes, observed_mm: Field, place: Ground) -> None:
    _contour(axes, (observed_mm >= THRESHOLDS_MM[-1]).astype(np.float64), (0.5,), place, "black")


def _class_scale() -> tuple[Colormap, BoundaryNorm]:
    bounds = np.arange(len(CLASSES) + 1) - 0.5
    return ListedColormap(CLASS_COLOURS).with_extremes(bad=_NO_DATA), BoundaryNorm(bounds, len(CLASSES))


def _class_legend(figure: Figure, contours: str) -> None:
    handles: list[Any] = [
        Patch(facecolor=colour, edgecolor="0.4", label=CLASS_NAMES[name])
        for name, colour in zip(CLASSES, CLASS_COLOURS, strict=True)
    ]
    handles.append(Line2D([], [], color="black", linewidth=0.8, label=contours))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
