"""Web Map Service 1.3.0: ``/wms``, for QGIS and its like."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import xarray as xr
from fastapi import APIRouter, Request, Response

from service.errors import InputError, NotFound
from service.product_coordinates import product_grid
from service.recent import Recent
from service.representations import Body, Representation
from service.routes.state import Service
from service.runtime import Runtime
from service.store import Record
from service.times import iso_time, parse_time
from service.versions import rainpost_version
from service.wms_capabilities import INFO_FORMATS, Times, capabilities, exception_report
from service.wms_map import cells_of_pixels, draw_legend, draw_map, layer_values, named_layer
from service.wms_request import PNG, MapRequest, WmsError, map_request, number, required, upper_names

router = APIRouter(tags=["WMS"])

_XML: Final = "text/xml"
_CYCLES_LISTED: Final = 100
_MAPS: Final = Recent[str, Body](64)
"""By ETag; a map of 256 x 256 pixels has some 10 kB."""


@router.get(
    "/wms",
    summary="Web Map Service 1.3.0",
    response_class=Response,
    responses={
        200: {"description": "A document, a picture, or an exception", "content": {_XML: {}, PNG: {}}},
        304: {"description": "The client has it already"},
    },
)
async def wms(request: Request, service: Service) -> Response:
    """GetCapabilities, GetMap, GetFeatureInfo and GetLegendGraphic by REQUEST.

    Names of parameters may be of any case. What is refused is an exception in XML with status 200, as clients
    of WMS expect it.
    """
    parameters = upper_names(request.query_params.multi_items())

    def answer() -> Response:
        try:
            return _answer(request, service, parameters)
        except WmsError as error:
            report = exception_report(error)
            return Response(report, headers={"Cache-Control": "no-store"}, media_type=_XML)

    return await asyncio.to_thread(answer)


def _answer(request: Request, service: Runtime, parameters: Mapping[str, str]) -> Response:
    if parameters.get("SERVICE", "WMS").upper() != "WMS":
        raise WmsError("SERVICE must be WMS", "InvalidParameterValue")
    name = required(parameters, "REQUEST")
    if name == "GetCapabilities":
        return _capabilities(request, service)
    if name == "GetMap":
        return _map(request, service, map_request(parameters))
    if name == "GetFeatureInfo":
        return _feature_info(request, service, parameters)
    if name == "GetLegendGraphic":
        dataset = service.shelf.dataset(_newest(service))
        layer = named_layer(dataset, required(parameters, "LAYER"))
        return _picture(request, f"legend {layer}", lambda: draw_legend(dataset, layer))
    raise WmsError(f"there is no request {name[:40]!r}", "OperationNotSupported")


def _capabilities(request: Request, service: Runtime) -> Response:
    times = service.store.cycles()[:_CYCLES_LISTED]
    address = f"{request.base_url}wms"
    if not times:
        content = capabilities(None, Times((), (), ""), address)
    else:
        dataset = service.shelf.dataset(_newest(service))
        leads = dataset["lead"].values.astype("timedelta64[h]")
        valid = np.unique(np.concatenate([time + leads for time in times]))
        listed = Times(
            tuple(iso_time(time) for time in times),
            tuple(iso_time(time) for time in valid),
            iso_time(times[0] + leads[0]),
        )
        content = capabilities(dataset, listed, address)
    form = Representation(f'"{hashlib.sha256(content).hexdigest()}"', _XML)
    return form.answer(request, lambda: Body(content))


def _map(request: Request, service: Runtime, asked: MapRequest) -> Response:
    record, dataset, lead = _found(service, asked)
    for name in asked.layers:
        named_layer(dataset, name)
    return _picture(request, f"{record.sha256} {lead} {asked}", lambda: draw_map(dataset, asked, lead))


def _feature_info(request: Request, service: Runtime, parameters: Mapping[str, str]) -> Response:
    """Values of the layers at a pixel, as JSON or as text; of no cell there are none."""
    asked = map_request(parameters)
    media_type = parameters.get("INFO_FORMAT") or INFO_FORMATS[0]
    if media_type not in INFO_FORMATS:
        raise WmsError(f"INFO_FORMAT must be one of {', '.join(INFO_FORMATS)}", "InvalidFormat")
    column = number(parameters, "I", 0, asked.width - 1, "InvalidPoint")
    row = number(parameters, "J", 0, asked.height - 1, "InvalidPoint")
    record, dataset, lead = _found(service, asked)
    rows, columns, inside = cells_of_pixels(product_grid(dataset), asked)
    place = rows[row, column], columns[row, column]
    values: dict[str, float | None] = {}
    for name in required(parameters, "QUERY_LAYERS").split(","):
        value = float(layer_values(dataset, named_layer(dataset, name), lead)[place])
        values[name] = round(value, 6) if inside[row, column] and np.isfinite(value) else None
    here = dataset.isel(lead=lead)
    document = {
        "reference_time": record.reference_time,
        "time": iso_time(np.datetime64(here["time"].values.astype("datetime64[s]").item(), "s")),
        "model": record.origin.model.identity,
        "values": values,
        "comment": dataset.attrs["comment"],
    }
    if media_type == INFO_FORMATS[0]:
        content = json.dumps(document).encode()
    else:
        lines = {key: value for key, value in document.items() if key != "values"} | values
        content = "".join(f"{key} = {value}\n" for key, value in lines.items()).encode()
    form = Representation(f'"{hashlib.sha256(content).hexdigest()}"', media_type)
    return form.answer(request, lambda: Body(content))


def _picture(request: Request, what: str, make: Callable[[], bytes]) -> Response:
    digest = hashlib.sha256(f"{what} {rainpost_version()}".encode()).hexdigest()
    form = Representation(f'"{digest}"', PNG, compressible=False)
    return form.answer(request, lambda: _MAPS.get(form.etag, lambda: Body(make())))


def _found(service: Runtime, asked: MapRequest) -> tuple[Record, xr.Dataset, int]:
    """The product and the position of the lead that the dimensions name.

    A valid time without a reference time is that of the newest cycle that has it.
    """
    valid = None if asked.time in {None, "current"} else _moment(asked.time or "", "TIME")
    if asked.reference_time is not None:
        candidates = [_moment(asked.reference_time, "DIM_REFERENCE_TIME")]
    else:
        candidates = service.store.cycles()[: 1 if valid is None else _CYCLES_LISTED]
    for reference_time in candidates:
        try:
            record = service.store.record(reference_time)
        except NotFound as error:
            raise WmsError(
                f"there is no cycle of {iso_time(reference_time)}", "InvalidDimensionValue"
            ) from error
        dataset = service.shelf.dataset(record)
        if valid is None:
            return record, dataset, 0
        places = np.flatnonzero(dataset["time"].values.astype("datetime64[s]") == valid)
        if places.size:
            return record, dataset, int(places[0])
    if not candidates:
        raise WmsError("no cycle is published yet", "LayerNotDefined")
    raise WmsError(f"no lead ends at TIME {asked.time!r}", "InvalidDimensionValue")


def _moment(text: str, name: str) -> np.datetime64:
    try:
        return parse_time(text, where=name)
    except InputError as error:
        raise WmsError(
            f"{name} must be a time, such as 2026-11-22T00:00Z", "InvalidDimensionValue"
        ) from error


def _newest(service: Runtime) -> Record:
    newest = service.store.newest()
    if newest is None:
        raise WmsError("no cycle is published yet", "LayerNotDefined")
    return service.store.record(newest)
