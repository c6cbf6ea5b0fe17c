"""A part of a product as CoverageJSON.

Source: OGC 21-069r2, CoverageJSON 1.0, whose rules ``covjson_pydantic`` enforces. Domains are chosen so that
a client needs no projection unless it asks for one:

==============================  =================  ====================================================
asked for                       domain             axes
==============================  =================  ====================================================
a point                         PointSeries        t, and the centre of the cell
an area or box, CRS84           MultiPointSeries   t, and longitude and latitude of every cell: the
                                                   cells of a projected grid make no grid of degrees
the same of a grid of degrees   Grid               t, y, x: latitude and longitude
the same, native                Grid               t, y, x of the product's plane, whose WKT it carries
==============================  =================  ====================================================

On a grid, cells of its rectangle outside the area are null. So is everything at a lead that is missing. t has
the valid time, the end of the period, and the period as its bounds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import xarray as xr
from covjson_pydantic.coverage import Coverage
from covjson_pydantic.domain import Axes, Domain, DomainType, ValuesAxis
from covjson_pydantic.ndarray import NdArrayFloat, NdArrayInt
from covjson_pydantic.observed_property import Category, ObservedProperty
from covjson_pydantic.parameter import Parameter as CoverageParameter
from covjson_pydantic.parameter import Parameters
from covjson_pydantic.reference_system import ReferenceSystem, ReferenceSystemConnectionObject
from covjson_pydantic.unit import Symbol, Unit
from numpy.typing import NDArray

from service.edr_query import CRS84, Sample
from service.product_coordinates import product_grid
from service.product_parameters import Parameter, parameter_values
from service.reference_systems import native_wkt

UCUM: Final = "http://www.opengis.net/def/uom/UCUM/"
_DEGREE_DECIMALS, _METRE_DECIMALS = 5, 3


def coverage_json(sample: Sample) -> bytes:
    """The document of a sample that is not empty."""
    domain, axis_names, shape = _domain(sample)
    attributes = sample.dataset.attrs
    coverage = Coverage(
        domain=domain,
        parameters=Parameters({one.name: _parameter(one) for one in sample.parameters}),
        ranges={one.name: _range(sample, one, axis_names, shape) for one in sample.parameters},
        title=attributes["title"],
        comment=attributes["comment"],
        model=f"{attributes['model_name']}-{attributes['model_version']}",
    )
    return coverage.model_dump_json(exclude_none=True).encode()


def on_grid(sample: Sample) -> bool:
    """Whether its cells are shown as a rectangle."""
    projected = product_grid(sample.dataset).projection_coordinates() is not None
    return not sample.cells.single and not (projected and sample.system == "CRS84")


def _domain(sample: Sample) -> tuple[Domain, list[str], list[int]]:
    """With the names and the lengths of the axes of its ranges."""
    x, y = _positions(sample)
    times = _times(sample.dataset.isel(lead=sample.leads))
    leads = len(times.values)
    if on_grid(sample):
        kind, names, shape = DomainType.grid, ["t", "y", "x"], [leads, *x.shape]
        axes = Axes(x=_axis(x[0]), y=_axis(y[:, 0]), t=times)
    elif sample.cells.single:
        kind, names, shape = DomainType.point_series, ["t", "y", "x"], [leads, 1, 1]
        axes = Axes(x=_axis(x), y=_axis(y), t=times)
    else:
        kind, names, shape = DomainType.multi_point_series, ["t", "composite"], [leads, x.size]
        pairs = list(zip(x.tolist(), y.tolist(), strict=True))
        composite = ValuesAxis[tuple[Any, ...]](dataType="tuple", coordinates=["x", "y"], values=pairs)
        axes = Axes(composite=composite, t=times)
    return Domain(domainType=kind, axes=axes, referencing=_referencing(sample)), names, shape


def _positions(sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y of the cells (n,), or of their rectangle (y, x) where they are shown as one."""
    dataset, cells = sample.dataset, sample.cells
    if sample.system == "native":
        x, y = np.meshgrid(dataset["x"].values, dataset["y"].values)
        decimals = _METRE_DECIMALS
    else:
        x, y = dataset["longitude"].values, dataset["latitude"].values
        decimals = _DEGREE_DECIMALS
    place = cells.window if on_grid(sample) else (cells.rows, cells.columns)
    return np.round(x[place], decimals), np.round(y[place], decimals)


def _range(
    sample: Sample, parameter: Parameter, axis_names: list[str], shape: list[int]
) -> NdArrayFloat | NdArrayInt:
    cells = sample.cells
    whole = parameter_values(sample.dataset.isel(lead=sample.leads), parameter)
    if on_grid(sample):
        values = np.where(cells.mask(), whole[:, *cells.window], np.nan)
    else:
        values = whole[:, cells.rows, cells.columns]
    objects = values.astype(object)
    objects[np.isnan(values)] = None
    listed = objects.ravel().tolist()
    if parameter.categories:
        integers = [None if one is None else int(one) for one in listed]
        return NdArrayInt(axisNames=axis_names, shape=shape, values=integers)
    return NdArrayFloat(axisNames=axis_names, shape=shape, values=listed)


def _axis(values: NDArray[np.float64]) -> ValuesAxis[float]:
    return ValuesAxis[float](values=values.tolist())


def _times(dataset: xr.Dataset) -> ValuesAxis[datetime]:
    return ValuesAxis[datetime](
        values=_moments(dataset["time"].values), bounds=_moments(dataset["time_bounds"].values.ravel())
    )


def _moments(times: NDArray[np.datetime64]) -> list[datetime]:
    return [one.replace(tzinfo=UTC) for one in times.astype("datetime64[s]").tolist()]


def _referencing(sample: Sample) -> list[ReferenceSystemConnectionObject]:
    if sample.system == "native":
        plane = ReferenceSystem(
            type="ProjectedCRS",
            description={"en": "the plane of the product, in m"},
            wkt=native_wkt(sample.dataset),
        )
    else:
        plane = ReferenceSystem(type="GeographicCRS", id=CRS84)
    return [
        ReferenceSystemConnectionObject(coordinates=["x", "y"], system=plane),
        ReferenceSystemConnectionObject(
            coordinates=["t"], system=ReferenceSystem(type="TemporalRS", calendar="Gregorian")
        ),
    ]


def _parameter(parameter: Parameter) -> CoverageParameter:
    """The parameter with its unit, or with its categories and the integers that stand for them."""
    names = parameter.categories
    observed = ObservedProperty(
        id=parameter.property_id,
        label={"en": parameter.property_label},
        categories=[Category(id=name, label={"en": name.replace("_", " ")}) for name in names] or None,
    )
    return CoverageParameter(
        label={"en": parameter.label},
        observedProperty=observed,
        categoryEncoding={name: number for number, name in enumerate(names)} or None,
        unit=None
        if parameter.unit is None
        else Unit(label={"en": parameter.unit}, symbol=Symbol(value=parameter.unit, type=UCUM)),
    )
