"""Capabilities and exceptions of WMS 1.3.0 as XML.

Source: OGC 06-042, 7.2 and Annex C (dimensions): ``time`` is the valid time, the end of the period;
``reference_time`` the cycle, asked for as DIM_REFERENCE_TIME. Without them the newest cycle's first lead is
shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

import numpy as np
import xarray as xr
from pyproj import Transformer

from service.edr_documents import offer_of
from service.layers import Layer
from service.product_coordinates import product_grid
from service.wms_map import layer_palette, legend_size, map_layers
from service.wms_request import LARGEST_PIXELS, NATIVE, PNG, SYSTEMS, VERSION, WmsError

WMS_NAMESPACE: Final = "http://www.opengis.net/wms"
EXCEPTION_NAMESPACE: Final = "http://www.opengis.net/ogc"
INFO_FORMATS: Final = ("application/json", "text/plain")
_LINKS: Final = "http://www.w3.org/1999/xlink"
_TITLES: Final = {"class": "Class that the model calls", "rain": "Rain of the forecast, not corrected"}


@dataclass(frozen=True)
class Times:
    """ISO 8601. reference_times: of the cycles, newest first; valid_times: of their leads, oldest first."""

    reference_times: tuple[str, ...]
    valid_times: tuple[str, ...]
    default_time: str


def capabilities(dataset: xr.Dataset | None, times: Times, address: str) -> bytes:
    """The document. dataset: of the newest cycle, None without any; address: of the service's ``/wms``."""
    root = ET.Element("WMS_Capabilities", {"version": VERSION, "xmlns": WMS_NAMESPACE, "xmlns:xlink": _LINKS})
    service = _add(root, "Service")
    for name, text in (
        ("Name", "WMS"),
        ("Title", "Rainpost"),
        ("Abstract", "Precipitation forecasts, corrected." if dataset is None else dataset.attrs["comment"]),
    ):
        _add(service, name, text)
    _link(service, address.removesuffix("wms"))
    for name in ("MaxWidth", "MaxHeight"):
        _add(service, name, str(LARGEST_PIXELS))
    capability = _add(root, "Capability")
    request = _add(capability, "Request")
    for name, formats in (
        ("GetCapabilities", ("text/xml",)),
        ("GetMap", (PNG,)),
        ("GetFeatureInfo", INFO_FORMATS),
    ):
        operation = _add(request, name)
        for one in formats:
            _add(operation, "Format", one)
        _link(_add(_add(_add(operation, "DCPType"), "HTTP"), "Get"), f"{address}?")
    _add(_add(capability, "Exception"), "Format", "XML")
    _layers(capability, dataset, times, address)
    return _written(root)


def exception_report(error: WmsError) -> bytes:
    """Table E.1 and its document."""
    root = ET.Element("ServiceExceptionReport", {"version": VERSION, "xmlns": EXCEPTION_NAMESPACE})
    _add(root, "ServiceException", str(error), **({"code": error.code} if error.code else {}))
    return _written(root)


def _written(root: ET.Element) -> bytes:
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _layers(capability: ET.Element, dataset: xr.Dataset | None, times: Times, address: str) -> None:
    parent = _add(capability, "Layer")
    _add(parent, "Title", "Rainpost")
    if dataset is None:
        return
    for system in _systems(dataset):
        _add(parent, "CRS", system)
    west, south, east, north = offer_of(dataset).bbox
    if west > east:
        west, east = -180.0, 180.0
    box = _add(parent, "EX_GeographicBoundingBox")
    for name, degrees in (
        ("westBoundLongitude", west),
        ("eastBoundLongitude", east),
        ("southBoundLatitude", south),
        ("northBoundLatitude", north),
    ):
        _add(box, name, f"{degrees:.5f}")
    for system, edges in _boxes(dataset, (west, south, east, north)).items():
        names = ("minx", "miny", "maxx", "maxy")
        values = {name: f"{edge:.5f}" for name, edge in zip(names, edges, strict=True)}
        _add(parent, "BoundingBox", CRS=system, **values)
    for layer in map_layers(dataset):
        _layer(parent, dataset, layer, times, address)


def _layer(parent: ET.Element, dataset: xr.Dataset, layer: Layer, times: Times, address: str) -> None:
    element = _add(parent, "Layer", queryable="1")
    _add(element, "Name", layer.name)
    title = _TITLES.get(layer.kind, f"Probability of {layer.threshold_mm or 0.0:g} mm or more")
    _add(element, "Title", title)
    # Dimensions are inherited, but not every client knows.
    for name, values, default in (
        ("time", times.valid_times, times.default_time),
        ("reference_time", times.reference_times, times.reference_times[0]),
    ):
        _add(element, "Dimension", ",".join(values), name=name, units="ISO8601", default=default)
    style = _add(element, "Style")
    _add(style, "Name", "default")
    _add(style, "Title", "Colours of the map at /")
    width, height = legend_size(layer_palette(dataset, layer))
    legend = _add(style, "LegendURL", width=str(width), height=str(height))
    _add(legend, "Format", PNG)
    query = f"SERVICE=WMS&VERSION={VERSION}&REQUEST=GetLegendGraphic&LAYER={layer.name}&FORMAT={PNG}"
    _link(legend, f"{address}?{query}")


def _systems(dataset: xr.Dataset) -> Sequence[str]:
    projected = product_grid(dataset).projection_coordinates() is not None
    return SYSTEMS if projected else [name for name in SYSTEMS if name != NATIVE]


def _boxes(
    dataset: xr.Dataset, degrees: tuple[float, float, float, float]
) -> dict[str, tuple[float, float, float, float]]:
    """By system, in the order of its axes."""
    west, south, east, north = degrees
    mercator = Transformer.from_crs("OGC:CRS84", "EPSG:3857", always_xy=True)
    boxes = {
        "CRS:84": degrees,
        "EPSG:4326": (south, west, north, east),
        "EPSG:3857": (*mercator.transform(west, south), *mercator.transform(east, north)),
    }
    axes = product_grid(dataset).projection_coordinates()
    if axes is not None:
        x, y = axes
        boxes[NATIVE] = (
            float(np.min(x)),
            float(np.min(y)),
            float(np.max(x)),
            float(np.max(y)),
        )
    return boxes


def _add(parent: ET.Element, tag: str, text: str | None = None, /, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _link(parent: ET.Element, address: str) -> None:
    ET.SubElement(parent, "OnlineResource", {"xlink:type": "simple", "xlink:href": address})
