"""Maps and legends of WMS: layers of a product in a reference system of the client's choice."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pyproj import Transformer

from service.grids import Grid, product_index
from service.layers import CLASS_LAYER, OBSERVED_LAYER, Layer, called_class, layers_of
from service.palettes import NO_VALUE, Palette, palette_of
from service.product import EXCEEDANCE, RAW_PRECIPITATION
from service.product_coordinates import product_grid
from service.wms_request import NATIVE, MapRequest, WmsError

_SWATCH, _ROW, _LEGEND_WIDTH, _FONT = 18, 20, 150, 12
Index = NDArray[np.intp]


def map_layers(dataset: xr.Dataset) -> tuple[Layer, ...]:
    """The layers of a product without the observations, which do not belong to it."""
    return tuple(layer for layer in layers_of(dataset) if layer.name != OBSERVED_LAYER)


def named_layer(dataset: xr.Dataset, name: str) -> Layer:
    """The layer of a name. Raises WmsError."""
    for layer in map_layers(dataset):
        if layer.name == name:
            return layer
    raise WmsError(f"there is no layer {name[:40]!r}", "LayerNotDefined")


def layer_values(dataset: xr.Dataset, layer: Layer, lead: int) -> NDArray[np.float64]:
    """(y, x) at a position among the leads, NaN where there is no value."""
    if layer.name == CLASS_LAYER:
        return np.asarray(called_class(dataset)[lead])
    if layer.kind == "rain":
        return np.asarray(dataset[RAW_PRECIPITATION].values[lead], np.float64)
    place = _thresholds(dataset).index(layer.threshold_mm or 0.0)
    return np.asarray(dataset[EXCEEDANCE].values[place, lead], np.float64)


def draw_map(dataset: xr.Dataset, asked: MapRequest, lead: int) -> bytes:
    """The picture of a map, the last layer on top; each pixel shows the cell that its middle lies in."""
    rows, columns, inside = cells_of_pixels(product_grid(dataset), asked)
    picture = Image.new("RGBA", (asked.width, asked.height), (0, 0, 0, 0))
    for name in asked.layers:
        layer = named_layer(dataset, name)
        colours = layer_palette(dataset, layer).paint(layer_values(dataset, layer, lead))
        pixels = np.where(inside[..., None], colours[rows, columns], np.uint8(0))
        picture.alpha_composite(Image.fromarray(pixels, "RGBA"))
    if not asked.transparent:
        ground = Image.new("RGBA", picture.size, asked.background)
        ground.alpha_composite(picture)
        picture = ground.convert("RGB")
    return _png(picture)


def cells_of_pixels(grid: Grid, asked: MapRequest) -> tuple[Index, Index, NDArray[np.bool_]]:
    """Row and column of the cell below each pixel (height, width), and whether there is one."""
    x = asked.west + (np.arange(asked.width) + 0.5) * (asked.east - asked.west) / asked.width
    y = asked.north - (np.arange(asked.height) + 0.5) * (asked.north - asked.south) / asked.height
    across, down = np.meshgrid(x, y)
    axes = grid.projection_coordinates()
    if asked.system == NATIVE and axes is not None:
        along_x, along_y = axes
        row = (down - along_y[0]) / (along_y[1] - along_y[0])
        column = (across - along_x[0]) / (along_x[1] - along_x[0])
    else:
        if asked.system == "EPSG:3857":
            across, down = _from_mercator().transform(across, down)
        row, column = product_index(grid, down, across)
    with np.errstate(invalid="ignore"):
        rows, columns = np.rint(row), np.rint(column)
        inside = (rows >= 0) & (rows < grid.shape[0]) & (columns >= 0) & (columns < grid.shape[1])
    if asked.system != NATIVE:
        inside &= np.abs(down) <= 90.0
    return (
        np.where(inside, rows, 0).astype(np.intp),
        np.where(inside, columns, 0).astype(np.intp),
        inside,
    )


def layer_palette(dataset: xr.Dataset, layer: Layer) -> Palette:
    """The colours of a layer."""
    return palette_of(layer, tuple(_thresholds(dataset)))


def draw_legend(dataset: xr.Dataset, layer: Layer) -> bytes:
    """The legend of a layer as a picture: a colour and where it begins, or the class it stands for."""
    palette = layer_palette(dataset, layer)
    unit = {"probability": "%", "class": "", "rain": " mm"}[layer.kind]
    names = [str(name).replace("_", " ") for name in dataset["class_name"].values]
    entries: list[tuple[str | None, str]] = [
        (colour, names[int(level)] if layer.kind == "class" else f"{_shown(level, unit)}{unit} or more")
        for level, colour in zip(palette.levels, palette.colours, strict=True)
    ]
    entries.append((NO_VALUE, "no value"))
    picture = Image.new("RGB", legend_size(palette), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(_FONT)
    for number, (colour, text) in enumerate(entries):
        top = number * _ROW
        box = (1, top + 1, 1 + _SWATCH * 1.5, top + _SWATCH)
        pen.rectangle(box, fill=colour or "white", outline="#888888")
        pen.text((_SWATCH * 1.5 + 8, top + 3), text, fill="black", font=font)
    return _png(picture)


def legend_size(palette: Palette) -> tuple[int, int]:
    """Width and height of a legend in pixels: a row for each colour, one for no value."""
    return _LEGEND_WIDTH, _ROW * (len(palette.colours) + 1)


def _shown(level: float, unit: str) -> str:
    return f"{100.0 * level:g}" if unit == "%" else f"{level:g}"


def _thresholds(dataset: xr.Dataset) -> list[float]:
    return [float(one) for one in dataset["threshold"].values]


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@lru_cache(maxsize=1)
def _from_mercator() -> Transformer:
    """To longitude and latitude, as everywhere here the same on a sphere and on WGS 84."""
    return Transformer.from_crs("EPSG:3857", "OGC:CRS84", always_xy=True)
