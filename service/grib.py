"""GRIB2 files: a walk over the sections, and decoding of single fields.

The walk reads section headers and the few short sections that describe a field; packed values are passed
over. Reading cuts one field out of its message, which may hold several (regulation 92.2: sections 2 to 7
repeat), as a message of its own, and gives it to eccodes: no state of the library is touched, so that
several threads may read at once, and no index file is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

import eccodes
import numpy as np
from numpy.typing import NDArray

from service import grib_sections
from service.errors import TruncatedInput, UnrecognisedInput, WrongGrid
from service.fields import FieldHeader, Values
from service.grib_grids import GridSection, grid_section, scanning
from service.grib_sections import Identification, Product

READER: Final = "message"
"""First word of the locators of this reader."""

_MAGIC, _END = b"GRIB", b"7777"
_LENGTH_OF_SECTION_0: Final = 16
_LONGEST_GAP: Final = 4096
"""Bytes of bulletin headings or padding that may stand between two messages."""

_IDENTIFICATION, _LOCAL, _GRID, _PRODUCT, _REPRESENTATION, _BITMAP, _DATA = range(1, 8)
_PREVIOUS_BITMAP: Final = 254
_MISSING: Final = 1e36
"""Stands for points without a value between eccodes and this module; no packing reaches it."""


@dataclass(frozen=True)
class Extent:
    """Where bytes lie in the file."""

    start: int
    length: int


Field = dict[int, Extent]
"""Section number to extent, for one field; sections that fields share stand in each."""


@dataclass(frozen=True)
class Message:
    """number: from 1, in file order. fields: one or more."""

    number: int
    extent: Extent
    discipline: int
    fields: tuple[Field, ...]


def scan(path: Path) -> list[FieldHeader]:
    """Headers of all fields in file order.

    Raises TruncatedInput where a message ends early or its sections do not fit together, UnrecognisedInput
    for GRIB edition 1 and for bytes that are no message, WrongGrid for grids without rows and columns.
    """
    grids: dict[bytes, GridSection] = {}
    with path.open("rb") as file:
        return [
            _header(file, path, message, index, grids)
            for message in _messages(file, path)
            for index in range(len(message.fields))
        ]


def read(header: FieldHeader) -> Values:
    """Values of one field in the header's unit, float32 (y, x), NaN where the bitmap or the packing has none.

    Raises TruncatedInput where the field does not decode.
    """
    with header.path.open("rb") as file, _sound(header.label):
        message, index = _located(file, header)
        field = message.fields[index]
        _, product = _origin_and_product(file, message, field)
        if (product.quantity, product.level, product.lead_hours) != _signature(header):
            raise _broken(
                header.label, "the field that was there when the file was scanned", product.quantity
            )
        order = scanning(_section(file, field[_GRID]), header.label)
        cut = _cut(file, message, field)
        fault = grib_sections.codestream_fault(
            _section(file, field[_REPRESENTATION]), _section(file, field[_DATA])
        )
        if fault:
            raise _broken(header.label, "as many values in section 7 as section 5 announces", fault)
        points = _decode(cut, "values", header.label)
    points[points == _MISSING] = np.nan
    values = order.arranged(points)
    if product.factor != 1.0:
        values = values * product.factor
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def _signature(header: FieldHeader) -> tuple[str, float, float]:
    return header.quantity, header.level, header.lead_hours


def _messages(file: BufferedReader, path: Path) -> Iterator[Message]:
    size = os.fstat(file.fileno()).st_size
    start, number = _next_start(file, path, 0, size), 0
    while start is not None:
        number += 1
        message = _message(file, path, start, number, size)
        yield message
        start = _next_start(file, path, start + message.extent.length, size)


def _next_start(file: BufferedReader, path: Path, offset: int, size: int) -> int | None:
    """Offset of the next message, None at the end of the file."""
    if offset >= size:
        return None
    gap = os.pread(file.fileno(), _LONGEST_GAP, offset)
    found = gap.find(_MAGIC)
    if found >= 0:
        return offset + found
    # Downloads by byte range often take in the first byte of the message after the wanted one: a start of
    # 'GRIB' too short to tell a length is no message, and what it cost the cycle is missed by name later.
    rest = gap.strip(b"\0\r\n\x01\x03 ")
    if offset > 0 and _MAGIC.startswith(rest) and offset + len(gap) == size:
        return None
    raise UnrecognisedInput(
        "Bytes that are no GRIB message",
        where=f"{path.name} at byte {offset} of {size}",
        expected=f"'GRIB' within {_LONGEST_GAP} bytes, or the end of the file",
        got=repr(gap[:16]),
        advice="The file is damaged or holds something else after its last message.",
    )


def _message(file: BufferedReader, path: Path, start: int, number: int, size: int) -> Message:
    where = f"{path.name}, message {number} at byte {start}"
    head = os.pread(file.fileno(), _LENGTH_OF_SECTION_0, start)
    if not _MAGIC.startswith(head[:4]):
        raise _broken(where, "'GRIB'", f"{head[:4]!r}")
    if len(head) > 7 and head[7] != 2:
        raise UnrecognisedInput(
            f"A message of GRIB edition {head[7]}",
            where=where,
            expected="GRIB edition 2",
            got=f"edition {head[7]}",
            advice="Convert the file with 'grib_set -s edition=2' or ask the provider for GRIB2.",
        )
    length = int.from_bytes(head[8:], "big") if len(head) == _LENGTH_OF_SECTION_0 else _LENGTH_OF_SECTION_0
    if start + length > size:
        raise TruncatedInput(
            "The file ends inside a message",
            where=where,
            expected=f"{length} bytes from byte {start}",
            got=f"{size - start} bytes",
            advice="Send the file again; it was cut off in transfer.",
        )
    extent = Extent(start, length)
    if length < _LENGTH_OF_SECTION_0 + 4 or os.pread(file.fileno(), 4, start + length - 4) != _END:
        raise _broken(
            where, "'7777' at the end of the message", f"something else {length} bytes after 'GRIB'"
        )
    return Message(number, extent, head[6], tuple(_fields(file, extent, where)))


def _fields(file: BufferedReader, message: Extent, where: str) -> Iterator[Field]:
    """Every field of the message: a section stays in force until it is repeated."""
    field: Field = {}
    bitmap: Extent | None = None
    offset, end = message.start + _LENGTH_OF_SECTION_0, message.start + message.length - len(_END)
    while offset < end:
        head = os.pread(file.fileno(), 6, offset)
        length, number = int.from_bytes(head[:4], "big"), head[4]
        if not 5 <= length <= end - offset or not _IDENTIFICATION <= number <= _DATA:
            raise _broken(
                where,
                f"a section 1 to 7 of 5 to {end - offset} bytes at byte {offset}",
                f"section {number} of {length} bytes",
            )
        extent = Extent(offset, length)
        field[number] = extent
        if number == _BITMAP and length > 5:
            if head[5] == _PREVIOUS_BITMAP and bitmap is not None:
                field[number] = bitmap
            elif head[5] == 0:
                bitmap = extent
        if number == _DATA:
            missing = {_IDENTIFICATION, _GRID, _PRODUCT, _REPRESENTATION, _BITMAP} - set(field)
            if missing:
                raise _broken(
                    where, "sections 1, 3, 4, 5 and 6 before section 7", f"none of {sorted(missing)}"
                )
            yield dict(field)
        offset += length
    if _DATA not in field:
        raise _broken(where, "at least one section 7", "none")


def _broken(where: str, expected: str, got: str) -> TruncatedInput:
    return TruncatedInput(
        "A GRIB message that does not hold together",
        where=where,
        expected=expected,
        got=got,
        advice="Send the file again; it was cut off or damaged.",
    )


def _section(file: BufferedReader, extent: Extent) -> bytes:
    return os.pread(file.fileno(), extent.length, extent.start)


def _header(
    file: BufferedReader, path: Path, message: Message, index: int, grids: dict[bytes, GridSection]
) -> FieldHeader:
    field = message.fields[index]
    locator = (READER, message.number, "field", index + 1, "byte", message.extent.start)
    where = f"{path.name}, message {message.number} at byte {message.extent.start}"
    with _sound(where):
        identification, product = _origin_and_product(file, message, field)
        grid_bytes = _section(file, field[_GRID])
        if grid_bytes not in grids:
            grids[grid_bytes] = _layout(file, path, message, field)
        layout = grids[grid_bytes]
        representation = _section(file, field[_REPRESENTATION])
        step = grib_sections.packing_step(representation)
        points = layout.grid.shape[0] * layout.grid.shape[1]
        fault = grib_sections.representation_fault(representation, points)
    if fault:
        raise _broken(where, "a section 5 that fits the grid", fault)
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


def _origin_and_product(
    file: BufferedReader, message: Message, field: Field
) -> tuple[Identification, Product]:
    origin = grib_sections.identification(_section(file, field[_IDENTIFICATION]))
    return origin, grib_sections.product(message.discipline, _section(file, field[_PRODUCT]), origin)


@contextmanager
def _sound(where: str) -> Iterator[None]:
    """Octets without a meaning show as arithmetic on them that fails."""
    try:
        yield
    except (IndexError, ValueError, ArithmeticError) as error:
        raise _broken(where, "sections 1, 3, 4 and 5 as in the WMO manual", str(error)) from error


def _layout(file: BufferedReader, path: Path, message: Message, field: Field) -> GridSection:
    where = f"{path.name}, message {message.number} at byte {message.extent.start}"

    def points() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        cut = _cut(file, message, field)
        return _decode(cut, "latitudes", where), _decode(cut, "longitudes", where)

    try:
        return grid_section(_section(file, field[_GRID]), where, points)
    except WrongGrid as error:
        if error.where == where:
            raise
        place = f"{where}, {error.where}" if error.where else where
        raise WrongGrid(
            error.what, where=place, expected=error.expected, got=error.got, advice=error.advice
        ) from error


def _located(file: BufferedReader, header: FieldHeader) -> tuple[Message, int]:
    """The message that a locator points at, read anew: the file may have changed since the scan."""
    _, number, _, position, _, start = header.locator
    size = os.fstat(file.fileno()).st_size
    message = _message(file, header.path, int(start), int(number), size)
    index = int(position) - 1
    if index >= len(message.fields):
        raise _broken(header.label, f"{position} fields", f"{len(message.fields)}")
    return message, index


def _cut(file: BufferedReader, message: Message, field: Field) -> bytes:
    """One field as a message of its own."""
    body = b"".join(
        _section(file, field[number]) for number in range(_IDENTIFICATION, _DATA + 1) if number in field
    )
    length = _LENGTH_OF_SECTION_0 + len(body) + len(_END)
    head = _MAGIC + b"\0\0" + bytes((message.discipline, 2)) + length.to_bytes(8, "big")
    return head + body + _END


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
        raise _broken(where, f"{key} that decode", str(error)) from error
    if points.size != expected:
        raise _broken(where, f"{expected} {key}", f"{points.size}")
    return points
