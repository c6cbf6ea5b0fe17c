"""Samples of the sample product."""

from __future__ import annotations

import numpy as np
import xarray as xr

from service.edr_query import Sample
from service.geometry import Cells, ReferenceSystem, cells_of_box, cells_of_point
from service.product_coordinates import product_grid
from service.product_parameters import parameters_of
from tests.service.sample_product import DEGREES

ALL_LEADS = (0, 1, 2)
DATE_LINE = DEGREES.model_copy(update={"first_longitude_degrees": 178.0})
"""The window goes over it."""


def cells_around(product: xr.Dataset, rows: slice, columns: slice) -> Cells:
    """Those whose centres a box of degrees holds that is drawn around a few of them."""
    part = product.isel(y=rows, x=columns)
    edges = (
        float(part["longitude"].min()) - 1e-4,
        float(part["latitude"].min()) - 1e-4,
        float(part["longitude"].max()) + 1e-4,
        float(part["latitude"].max()) + 1e-4,
    )
    return cells_of_box(product_grid(product), ",".join(map(str, edges)), "CRS84")


def centre(product: xr.Dataset, row: int, column: int) -> str:
    """WKT of the middle of a cell, longitude before latitude."""
    here = product.isel(y=row, x=column)
    return f"POINT({float(here['longitude'])} {float(here['latitude'])})"


def sample(
    product: xr.Dataset,
    cells: Cells,
    *names: str,
    leads: tuple[int, ...] = ALL_LEADS,
    system: ReferenceSystem = "CRS84",
) -> Sample:
    """The named parameters, all without a name."""
    chosen = tuple(one for one in parameters_of(product) if not names or one.name in names)
    return Sample(product, chosen, np.array(leads, np.intp), cells, system)


def point_sample(product: xr.Dataset, row: int, column: int, *names: str) -> Sample:
    """All leads of one cell."""
    return sample(
        product, cells_of_point(product_grid(product), centre(product, row, column), "CRS84"), *names
    )
