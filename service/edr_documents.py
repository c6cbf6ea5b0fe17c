"""The documents of OGC API - EDR: what there is to ask, where and how.

Source: OGC 19-086r6, OGC API - Environmental Data Retrieval 1.1, whose shapes ``edr_pydantic`` enforces.
There is one collection, precipitation; its instances are the cycles, named by their reference time. A query
of the collection itself is one of the newest cycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import xarray as xr
from edr_pydantic.capabilities import ConformanceModel, LandingPageModel
from edr_pydantic.collections import Collection, Collections, Instance, Instances
from edr_pydantic.data_queries import DataQueries, EDRQuery
from edr_pydantic.extent import Extent, Spatial, Temporal
from edr_pydantic.link import EDRQueryLink, Link
from edr_pydantic.observed_property import Category, ObservedProperty
from edr_pydantic.parameter import MeasurementType, Parameters
from edr_pydantic.parameter import Parameter as EdrParameter
from edr_pydantic.unit import Symbol, Unit
from edr_pydantic.variables import CubeVariables, Variables

from service.coverage_json import UCUM
from service.edr_query import COVERAGE_JSON, CRS84, FORMATS, reference_systems
from service.product import RAW_PRECIPITATION
from service.product_parameters import Parameter, parameters_of
from service.reference_systems import degrees_wkt, native_wkt
from service.times import iso_time

COLLECTION: Final = "precipitation"
COVERAGE_JSON_TYPE: Final = "application/prs.coverage+json"
JSON_TYPE: Final = "application/json"
OPENAPI_TYPE: Final = "application/vnd.oai.openapi+json;version=3.1"
QUERIES: Final = ("position", "area", "cube")
CONFORMANCE: Final = (
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/collections",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/core",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/collections",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/json",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/covjson",
    "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/queries",
)

_GREGORIAN: Final = "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian"
_TITLE: Final = "Precipitation, corrected"
_HOUR: Final = np.timedelta64(1, "h")


@dataclass(frozen=True)
class Offer:
    """What the products of one model have in common.

    bbox: west, south, east, north of the cell centres; over the date line west is the larger.
    """

    comment: str
    bbox: tuple[float, float, float, float]
    leads_hours: tuple[int, ...]
    period_hours: int
    parameters: tuple[Parameter, ...]
    systems: dict[str, str]
    """Well-known text by name."""


def offer_of(dataset: xr.Dataset) -> Offer:
    """The offer that a product is an example of."""
    start, end = dataset["time_bounds"].values[0]
    texts = {"CRS84": degrees_wkt}
    texts["native"] = lambda: native_wkt(dataset)
    return Offer(
        comment=dataset.attrs["comment"],
        bbox=_bounds(dataset),
        leads_hours=tuple(dataset["lead"].values.tolist()),
        period_hours=int((end - start) / _HOUR),
        parameters=parameters_of(dataset),
        systems={name: texts[name]() for name in reference_systems(dataset)},
    )


def landing_page(root: str) -> LandingPageModel:
    """/req/core/root-success. root: the address of the service with a slash at its end."""
    return LandingPageModel(
        title="Rainpost",
        description="Precipitation forecasts, corrected: probabilities of no rain, rain and heavy rain.",
        keywords=["precipitation", "probability", "forecast"],
        links=[
            _link(root, "self", JSON_TYPE, "This document"),
            _link(root, "alternate", "text/html", "The map"),
            _link(f"{root}openapi.json", "service-desc", OPENAPI_TYPE, "The interface, for programs"),
            _link(f"{root}docs", "service-doc", "text/html", "The interface, for people"),
            _link(f"{root}conformance", "conformance", JSON_TYPE, "Conformance classes"),
            _link(f"{root}collections", "data", JSON_TYPE, "Collections"),
        ],
    )


def conformance() -> ConformanceModel:
    """/req/core/conformance-success."""
    return ConformanceModel(conformsTo=list(CONFORMANCE))


def collections_document(root: str, collections: Sequence[Collection]) -> Collections:
    """/req/collections/rc-md-success."""
    here = _link(f"{root}collections", "self", JSON_TYPE, "This document")
    return Collections(links=[here], collections=list(collections))


def collection_document(root: str, offer: Offer, first: np.datetime64, last: np.datetime64) -> Collection:
    """/req/collections/src-md-success. first, last: reference times of the oldest and the newest cycle."""
    path = f"{root}collections/{COLLECTION}"
    links = [
        _link(f"{root}collections", "collection", JSON_TYPE, "Collections"),
        _link(f"{path}/instances", "instance", JSON_TYPE, "The cycles"),
    ]
    return Collection(
        title=_TITLE,
        description=f"The cycles, by reference time; queries here are of the newest. {offer.comment}",
        **_described(path, COLLECTION, offer, (first, last), links, instances=f"{path}/instances"),
    )


def instances_document(root: str, instances: Sequence[Instance]) -> Instances:
    """/req/instances/rc-md-success."""
    here = _link(f"{root}collections/{COLLECTION}/instances", "self", JSON_TYPE, "This document")
    return Instances(links=[here], instances=list(instances))


def instance_document(root: str, offer: Offer, reference_time: np.datetime64) -> Instance:
    """/req/instances/src-md-success."""
    name = iso_time(reference_time)
    above = f"{root}collections/{COLLECTION}"
    links = [
        _link(above, "collection", JSON_TYPE, "All cycles"),
        _link(f"{root}cycles/{name}", "related", JSON_TYPE, "How the cycle stands, its revisions and inputs"),
        _link(f"{root}cycles/{name}/product", "enclosure", "application/x-netcdf", "The whole product"),
    ]
    return Instance(
        title=f"{_TITLE}, cycle of {name}",
        description=f"The newest revision of the cycle of {name}. {offer.comment}",
        **_described(f"{above}/instances/{name}", name, offer, (reference_time, reference_time), links),
    )


def _described(
    path: str,
    identity: str,
    offer: Offer,
    reference_times: tuple[np.datetime64, np.datetime64],
    links: list[Link],
    instances: str | None = None,
) -> dict[str, Any]:
    """What a collection and an instance have alike. instances: where those of a collection are."""
    queries = {name: EDRQuery(link=_query(path, name, offer)) for name in QUERIES}
    if instances is not None:
        variables = Variables(query_type="instances", output_formats=[JSON_TYPE])
        queries["instances"] = EDRQuery(
            link=EDRQueryLink(href=instances, rel="instance", type=JSON_TYPE, variables=variables)
        )
    return {
        "id": identity,
        "keywords": ["precipitation", "probability", "forecast"],
        "links": [
            _link(path, "self", JSON_TYPE, "This document"),
            *links,
            *(_link(f"{path}/{name}", "data", COVERAGE_JSON_TYPE, name.capitalize()) for name in QUERIES),
        ],
        "extent": _extent(offer, *reference_times),
        "data_queries": DataQueries(**queries),
        "crs": list(offer.systems),
        "output_formats": list(FORMATS),
        "parameter_names": Parameters({one.name: _parameter(one, offer) for one in offer.parameters}),
    }


def _query(path: str, name: str, offer: Offer) -> EDRQueryLink:
    common: dict[str, Any] = {
        "title": f"{name.capitalize()} query",
        "query_type": name,
        "output_formats": list(FORMATS),
        "default_output_format": COVERAGE_JSON,
        "crs_details": [{"crs": one, "wkt": wkt} for one, wkt in offer.systems.items()],
    }
    # There is no vertical axis, but the unit of one is required.
    variables = CubeVariables(height_units=["m"], **common) if name == "cube" else Variables(**common)
    return EDRQueryLink(href=f"{path}/{name}", rel="data", type=COVERAGE_JSON_TYPE, variables=variables)


def _extent(offer: Offer, first: np.datetime64, last: np.datetime64) -> Extent:
    """Valid times from the first lead of the first cycle to the last lead of the last one."""
    begin, end = (
        time + lead * _HOUR for time, lead in ((first, offer.leads_hours[0]), (last, offer.leads_hours[-1]))
    )
    if first == last:
        values = [iso_time(first + lead * _HOUR) for lead in offer.leads_hours]
    else:
        values = [f"{iso_time(begin)}/{iso_time(end)}"]
    return Extent(
        spatial=Spatial(bbox=[list(offer.bbox)], crs=CRS84),
        temporal=Temporal(interval=[[_moment(begin), _moment(end)]], values=values, trs=_GREGORIAN),
    )


def _parameter(parameter: Parameter, offer: Offer) -> EdrParameter:
    names = parameter.categories
    encoding: dict[str, Any] = {}
    if names:
        encoding["categoryEncoding"] = {name: number for number, name in enumerate(names)}
    measured = MeasurementType(method="sum", duration=f"PT{offer.period_hours}H")
    return EdrParameter(
        id=parameter.name,
        label=parameter.label,
        dataType="integer" if names else "float",
        unit=None
        if parameter.unit is None
        else Unit(label=parameter.unit, symbol=Symbol(value=parameter.unit, type=UCUM)),
        observedProperty=ObservedProperty(
            id=parameter.property_id,
            label=parameter.property_label,
            categories=[Category(id=name, label=name.replace("_", " ")) for name in names] or None,
        ),
        measurementType=measured if parameter.variable == RAW_PRECIPITATION else None,
        **encoding,
    )


def _bounds(dataset: xr.Dataset) -> tuple[float, float, float, float]:
    latitude, longitude = dataset["latitude"].values, dataset["longitude"].values
    # Seen from one of its points a grid does not jump at the date line.
    middle = longitude[longitude.shape[0] // 2, longitude.shape[1] // 2]
    offset = np.mod(longitude - middle + 180.0, 360.0) - 180.0
    west, east = (
        float(np.mod(middle + part + 180.0, 360.0) - 180.0) for part in (offset.min(), offset.max())
    )
    return (
        round(west, 5),
        round(float(latitude.min()), 5),
        round(east, 5),
        round(float(latitude.max()), 5),
    )


def _moment(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[s]").item()
    return moment.replace(tzinfo=UTC)


def _link(href: str, rel: str, media_type: str, title: str) -> Link:
    return Link(href=href, rel=rel, type=media_type, title=title, hreflang="en")
