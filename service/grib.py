"""GRIB2 files: headers of all fields, and decoding of single ones, whole or in part.

Headers come from a walk over the sections (``service.grib_messages``) that passes over packed values. To be
read, a field is cut out of its message, which may hold several (regulation 92.2: sections 2 to 7 repeat), as
a message of its own, and given to eccodes: no state of the library is touched, so that several threads may
read at once, and no index file is written. Where only a part of the grid is wanted and the packing lets it be
found, the rest is not decoded at all (``service.grib_parts``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import eccodes
import numpy as np
from numpy.typing import NDArray

from service import grib_sections
from service.errors import WrongGrid
from service.fields import FieldHeader, Region, Values
from service.grib_grids import GridSection, Scanning, grid_section, scanning
from service.grib_messages import (
    DATA,
    GRID,
    IDENTIFICATION,
    PRODUCT,
    REPRESENTATION,
    Field,
    Message,
    Octets,
    broken,
    message,
    messages,
    single,
)
from service.grib_parts import part_of_values
from service.grib_sections import Identification, Product

READER: Final = "message"
"""First word of the locators of this reader."""

_MISSING: Final = 1e36
"""Stands for points without a value between eccodes and this module; no packing reaches it."""

_START_OF_IMAGE: Final = 30
"""Octets of section 7 that tell the size of a JPEG 2000 image."""


def scan(path: Path) -> list[FieldHeader]:
    """Headers of all fields in file order.

    Raises TruncatedInput where a message ends early or its sections do not fit together, UnrecognisedInput
    for GRIB edition 1 and for bytes that are no message, WrongGrid for grids without rows and columns.
    """
    grids: dict[bytes, GridSection] = {}
    with path.open("rb") as file:
        octets = Octets(file)
        return [
            _header(octets, path, found, index, grids)
            for found in messages(octets, path.name)
            for index in range(len(found.fields))
        ]


def read(header: FieldHeader, region: Region | None = None) -> Values:
    """Values of one field in the header's unit, float32 (y, x), NaN where the bitmap or the packing has none.

    region: what of the grid is wanted; None for all of it.
    Raises TruncatedInput where the field does not decode.
    """
    with header.path.open("rb") as file, _sound(header.label):
        octets = Octets(file)
        whole, field = _located(octets, header)
        _, product = _origin_and_product(octets, whole, field)
        if (product.quantity, product.level, product.lead_hours) != _signature(header):
            raise broken(header.label, "the field that was there when the file was scanned", product.quantity)
        order = scanning(octets.section(field[GRID]), header.label)
        if (order.ny, order.nx) != header.grid.shape:
            raise broken(header.label, f"a grid of {header.grid.shape} points (y, x)", f"{order}")
        values = None if region is None else part_of_values(octets, field, order, region)
        if values is None:
            values = _decoded(octets, whole, field, order, region, header.label)
    if product.factor != 1.0:
        values = values * product.factor
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def _decoded(
    octets: Octets, whole: Message, field: Field, order: Scanning, region: Region | None, where: str
) -> NDArray[np.float64]:
    """The field as eccodes decodes it, and of it the region, (y, x)."""
    data = field[DATA]
    fault = grib_sections.codestream_fault(
        octets.section(field[REPRESENTATION]), octets.at(data.start, min(data.length, _START_OF_IMAGE))
    )
    if fault:
        raise broken(where, "as many values in section 7 as section 5 announces", fault)
    values = order.arranged(_decode(single(octets, whole, field), "values", where))
    if region is not None:
        values = values[region.rows, region.columns]
    return np.where(values == _MISSING, np.nan, values)


def _signature(header: FieldHeader) -> tuple[str, float, float]:
    return header.quantity, header.level, header.lead_hours


def _header(
    octets: Octets, path: Path, whole: Message, index: int, grids: dict[bytes, GridSection]
) -> FieldHeader:
    field = whole.fields[index]
    locator = (READER, whole.number, "field", index + 1, "byte", whole.extent.start)
    where = f"{path.name}, message {whole.number} at byte {whole.extent.start}"
    with _sound(where):
        identification, product = _origin_and_product(octets, whole, field)
        grid_bytes = octets.section(field[GRID])
        if grid_bytes not in grids:
            grids[grid_bytes] = _layout(octets, where, whole, field)
        layout = grids[grid_bytes]
        representation = octets.section(field[REPRESENTATION])
        step = grib_sections.packing_step(representation)
        points = layout.grid.shape[0] * layout.grid.shape[1]
        fault = grib_sections.representation_fault(representation, points)
    if fault:
        raise broken(where, "a section 5 that fits the grid", fault)
    return FieldHeader(
        quantity=product.quantity,
        level_type=product.level_type,
        level=product.level,
        unit=product.unit,
        reference_time=identification.reference_time,
        lead_start_hours=product.lead_start_hours,
        lead_hours=product.lead_hours,
        grid=layout.grid,
        grid_relative_winds=layout.grid_relative_winds,
        centre=identification.centre,
        path=path,
        locator=locator,
        packing_step=step * product.factor,
    )


def _origin_and_product(octets: Octets, whole: Message, field: Field) -> tuple[Identification, Product]:
    origin = grib_sections.identification(octets.section(field[IDENTIFICATION]))
    return origin, grib_sections.product(whole.discipline, octets.section(field[PRODUCT]), origin)


@contextmanager
def _sound(where: str) -> Iterator[None]:
    """Octets without a meaning show as arithmetic on them that fails."""
    try:
        yield
    except (IndexError, ValueError, ArithmeticError) as error:
        raise broken(where, "sections 1, 3, 4 and 5 as in the WMO manual", str(error)) from error


def _layout(octets: Octets, where: str, whole: Message, field: Field) -> GridSection:
    def points() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        cut = single(octets, whole, field)
        return _decode(cut, "latitudes", where), _decode(cut, "longitudes", where)

    try:
        return grid_section(octets.section(field[GRID]), where, points)
    except WrongGrid as error:
        if error.where == where:
            raise
        place = f"{where}, {error.where}" if error.where else where
        raise WrongGrid(
            error.what, where=place, expected=error.expected, got=error.got, advice=error.advice
        ) from error


def _located(octets: Octets, header: FieldHeader) -> tuple[Message, Field]:
    """What a locator points at, read anew: the file may have changed since the scan."""
    _, number, _, position, _, start = header.locator
    whole = message(octets, header.path.name, int(start), int(number))
    index = int(position) - 1
    if index >= len(whole.fields):
        raise broken(header.label, f"{position} fields", f"{len(whole.fields)}")
    return whole, whole.fields[index]


def _decode(message: bytes, key: str, where: str) -> NDArray[np.float64]:
    """An array of one single-field message: values with ``_MISSING`` for holes, latitudes or longitudes."""
    try:
        handle = eccodes.codes_new_from_message(message)
        try:
            if key == "values":
                eccodes.codes_set(handle, "missingValue", _MISSING)
            points: NDArray[np.float64] = eccodes.codes_get_double_array(handle, key)
            expected = int(eccodes.codes_get_long(handle, "numberOfDataPoints"))
        finally:
            eccodes.codes_release(handle)
    except eccodes.CodesInternalError as error:
        raise broken(where, f"{key} that decode", str(error)) from error
    if points.size != expected:
        raise broken(where, f"{expected} {key}", f"{points.size}")
    return points
