"""What every route has at hand."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Depends, Request

from service.problems import MEDIA_TYPE, Problem
from service.runtime import Runtime


def _runtime(request: Request) -> Runtime:
    runtime = request.app.state.runtime
    if not isinstance(runtime, Runtime):
        raise TypeError("the application was made without a runtime")
    return runtime


Service = Annotated[Runtime, Depends(_runtime)]
"""The running service."""

NETCDF: Final = "application/x-netcdf"
GEOTIFF: Final = "image/tiff; application=geotiff"
GRIB2: Final = "application/wmo-GRIB2"
"""The name that OGC API - EDR and WMO use; neither name is registered."""

_PASSING: Final = frozenset({429, 503})


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's entry for the problem documents of a route."""
    return {status: problem_response(status, "A problem document") for status in statuses}


def problem_response(status: int, meaning: str) -> dict[str, Any]:
    """One of them, with the header that says when to try again where it can pass."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    answer: dict[str, Any] = {"description": meaning, "content": {MEDIA_TYPE: {"schema": schema}}}
    if status in _PASSING:
        seconds = {"description": "Seconds after which to try again", "schema": {"type": "integer"}}
        answer["headers"] = {"Retry-After": seconds}
    return answer
