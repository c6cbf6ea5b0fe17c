"""Pictures of a product: raw rain beside the probabilities, on the product's own projection."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.errors import NotFound
from service.product import EXCEEDANCE, PRESENT, RAW_PRECIPITATION

RAIN_LEVELS_MM: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0)
PROBABILITY_LEVELS: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
RARE_LEVELS: Final = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
"""For the highest class, whose probability seldom reaches a half."""

_PANEL_INCHES: Final = 3.4
_LEFT, _BETWEEN, _BELOW, _ABOVE = 0.55, 0.6, 1.15, 0.75
"""Inches around the panels. Fixed places take a fifth of the time of a layout engine."""
_DOTS_PER_INCH: Final = 110
_NO_DATA: Final = "0.6"
_GRATICULE_STEPS_DEGREES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True)
class _Panel:
    """levels, colours, open_end: as ``colour_scale`` takes them."""

    title: str
    values: NDArray[np.float64]
    levels: tuple[float, ...]
    open_end: bool
    colours: str
    label: str


def render_lead(dataset: xr.Dataset, lead_hours: int) -> bytes:
    """PNG of one lead: raw rain, probability of rain, probability of the highest class.

    Raises NotFound for a lead that the product does not know or does not have.
    """
    leads = [int(lead) for lead in dataset["lead"].values]
    status = dataset["lead_status"].values
    present = [lead for lead, state in zip(leads, status, strict=True) if state == PRESENT]
    if lead_hours not in present:
        raise NotFound(
            "the product has no such lead",
            where="lead",
            expected=f"one of {', '.join(map(str, present))}",
            got=f"{lead_hours}" + (", which was missing in the cycle" if lead_hours in leads else ""),
        )
    here = dataset.isel(lead=leads.index(lead_hours))
    figure = _figure(dataset)
    headline = _headline(dataset, here)
    width, height = figure.get_size_inches()
    figure.text(0.5, 1.0 - 0.3 / height, headline, ha="center", va="center", fontsize=12)
    figure.text(0.5, 0.15 / height, _footnote(dataset), ha="center", va="center", fontsize=8)
    for number, panel in enumerate(_panels(dataset, here)):
        left = (_LEFT + number * (_PANEL_INCHES + _BETWEEN)) / width
        panel_height = (height - _BELOW - _ABOVE) / height
        axes = figure.add_axes((left, _BELOW / height, _PANEL_INCHES / width, panel_height))
        bar = figure.add_axes((left, 0.68 / height, _PANEL_INCHES / width, 0.14 / height))
        _draw(axes, bar, panel, dataset)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Title": headline, "Software": None})
    return buffer.getvalue()


def _figure(dataset: xr.Dataset) -> Figure:
    """As high as the window is, within reason."""
    extent = {axis: float(np.ptp(dataset[axis].values)) for axis in ("x", "y")}
    shape = extent["y"] * _aspect(dataset) / extent["x"]
    height = float(np.clip(_PANEL_INCHES * shape, 1.5, 9.0)) + _ABOVE + _BELOW
    figure = Figure(figsize=(2 * _LEFT + 3 * _PANEL_INCHES + 2 * _BETWEEN - 0.3, height), dpi=_DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    return figure


def _panels(dataset: xr.Dataset, here: xr.Dataset) -> tuple[_Panel, _Panel, _Panel]:
    thresholds = dataset["threshold"].values
    exceedance = here[EXCEEDANCE].values
    return (
        _Panel(
            f"{dataset.attrs['nwp_model']}, not corrected",
            here[RAW_PRECIPITATION].values,
            RAIN_LEVELS_MM,
            open_end=True,
            colours="viridis_r",
            label=f"rain of {_period_hours(here)} h, mm",
        ),
        _Panel(
            f"Rain: {thresholds[0]:g} mm or more",
            exceedance[0],
            PROBABILITY_LEVELS,
            open_end=False,
            colours="Blues",
            label="probability",
        ),
        _Panel(
            f"Heavy rain: {thresholds[-1]:g} mm or more",
            exceedance[-1],
            RARE_LEVELS,
            open_end=False,
            colours="YlOrRd",
            label="probability",
        ),
    )


def colour_scale(levels: tuple[float, ...], colours: str, *, open_end: bool) -> tuple[Colormap, BoundaryNorm]:
    """One colour per interval between the levels; white below the first, grey where there is no value.

    Args:
        levels: bounds of the colours.
        colours: a map of matplotlib whose lightness falls steadily, so that its order is seen by every kind
            of colour vision.
        open_end: whether values above the last level have a colour of their own.
    """
    intervals = len(levels) - 1 + open_end
    chosen = [tuple(colour) for colour in colormaps[colours](np.linspace(0.08, 1.0, intervals))]
    colour_map = ListedColormap(chosen).with_extremes(under="white", over=chosen[-1], bad=_NO_DATA)
    return colour_map, BoundaryNorm(levels, intervals, extend="max" if open_end else "neither")


def _draw(axes: Axes, bar_axes: Axes, panel: _Panel, dataset: xr.Dataset) -> None:
    colour_map, norm = colour_scale(panel.levels, panel.colours, open_end=panel.open_end)
    mesh = axes.pcolormesh(
        dataset["x"].values, dataset["y"].values, panel.values, cmap=colour_map, norm=norm, shading="nearest"
    )
    axes.set_aspect(_aspect(dataset))
    axes.set_title(panel.title, fontsize=10)
    draw_graticule(axes, dataset)
    bar = Colorbar(bar_axes, mesh, orientation="horizontal", ticks=panel.levels)
    bar_axes.set_xticks(panel.levels, [f"{level:g}" for level in panel.levels], fontsize=7)
    bar_axes.minorticks_off()
    bar.set_label(f"{panel.label} (white: less than {panel.levels[0]:g})", fontsize=8)


def draw_graticule(axes: Axes, dataset: xr.Dataset) -> None:
    """Lines of latitude and longitude, labelled where they leave through the left and the lower edge.

    ``dataset`` has the axes ``x`` and ``y`` and ``latitude`` and ``longitude`` (y, x).
    """
    x, y = dataset["x"].values, dataset["y"].values
    latitude, longitude = dataset["latitude"].values, _continuous(dataset["longitude"].values)
    parallels, meridians = _round_values(latitude), _round_values(longitude)
    for field, levels in ((latitude, parallels), (longitude, meridians)):
        axes.contour(x, y, field, levels=levels, colors="black", linewidths=0.4, alpha=0.5)
    axes.set_yticks(*_ticks(parallels, latitude[:, int(np.argmin(x))], y, "N", "S"), fontsize=7)
    axes.set_xticks(*_ticks(meridians, longitude[int(np.argmin(y))], x, "E", "W"), fontsize=7)
    axes.tick_params(length=2)


def _round_values(field: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round values inside the field's range, six at the most where a step allows it."""
    extent = float(np.ptp(field))
    step = next((step for step in _GRATICULE_STEPS_DEGREES if extent / step <= 6.0), 30.0)
    return np.arange(np.ceil(field.min() / step), np.floor(field.max() / step) + 1) * step


def _ticks(
    values: NDArray[np.float64],
    along: NDArray[np.float64],
    positions: NDArray[np.float64],
    positive: str,
    negative: str,
) -> tuple[list[float], list[str]]:
    """Where ``along`` an edge the values lie, and their labels."""
    order = np.argsort(along)
    inside = values[(values >= along.min()) & (values <= along.max())]
    places = np.interp(inside, along[order], positions[order])
    labels = []
    for value in inside:
        wrapped = value if positive == "N" else (value + 180.0) % 360.0 - 180.0
        labels.append(f"{abs(wrapped):g}°{positive if wrapped >= 0.0 else negative}")
    return places.tolist(), labels


def _continuous(longitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitudes without a jump at the date line."""
    first = longitude.flat[0]
    return np.asarray(first + (longitude - first + 180.0) % 360.0 - 180.0)


def _aspect(dataset: xr.Dataset) -> float:
    """Length of a unit of y over that of x: one metre is one metre, one degree of longitude is shorter."""
    if dataset["x"].attrs["units"] == "m":
        return 1.0
    return 1.0 / float(np.cos(np.radians(dataset["latitude"].values.mean())))


def _period_hours(here: xr.Dataset) -> int:
    start, end = here["time_bounds"].values
    return int((end - start) / np.timedelta64(1, "h"))


def _headline(dataset: xr.Dataset, here: xr.Dataset) -> str:
    moments = np.array([dataset["forecast_reference_time"].values, here["time"].values])
    reference, end = (str(text).replace("T", " ") for text in np.datetime_as_string(moments, unit="m"))
    period = f"Rain of {_period_hours(here)} h ending {end} UTC"
    return f"{period}   (forecast of {reference} UTC, lead {int(here['lead'])} h)"


def _footnote(dataset: xr.Dataset) -> str:
    model = f"model {dataset.attrs['model_name']}-{dataset.attrs['model_version']}"
    if dataset.attrs["training_simulated"] == "true":
        return f"{model}, trained on simulated data: not a forecast to act on"
    return model
