"""GRIB2 files as messages, fields and sections: a walk over headers that passes over packed values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Final, NamedTuple

from service.errors import TruncatedInput, UnrecognisedInput

IDENTIFICATION, LOCAL, GRID, PRODUCT, REPRESENTATION, BITMAP, DATA = range(1, 8)
"""Numbers of the sections."""

BITMAP_FOLLOWS, NO_BITMAP = 0, 255
"""Code table 6.0."""

_MAGIC, _END = b"GRIB", b"7777"
_LENGTH_OF_SECTION_0: Final = 16
_LONGEST_GAP: Final = 4096
"""Bytes of bulletin headings or padding that may stand between two messages."""

_PREVIOUS_BITMAP: Final = 254
_BLOCK: Final = 1024
"""Bytes that hold the end of one message and the sections of the next up to its values, as a rule."""


class Extent(NamedTuple):
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


class Octets:
    """An open file, read where it is asked for.

    The blocks of the last two short reads are kept: the end of a message, the sections of the next one and
    the head of its values lie side by side, so that a message that is passed over costs one short read. What
    is longer is read by itself.
    """

    def __init__(self, file: BufferedReader) -> None:
        self._descriptor = file.fileno()
        self.size = os.fstat(self._descriptor).st_size
        self._blocks = ((0, b""), (0, b""))

    def at(self, start: int, length: int) -> bytes:
        """``length`` bytes from ``start``, fewer where the file ends."""
        if length > _BLOCK:
            return os.pread(self._descriptor, length, start)
        for first, block in self._blocks:
            if first <= start and start + length <= first + len(block):
                return block[start - first : start - first + length]
        block = os.pread(self._descriptor, _BLOCK, start)
        self._blocks = ((start, block), self._blocks[0])
        return block[:length]

    def section(self, extent: Extent) -> bytes:
        """All octets of a section."""
        return self.at(extent.start, extent.length)


def messages(octets: Octets, name: str) -> Iterator[Message]:
    """All messages in file order.

    name: of the file, for errors.
    Raises TruncatedInput where a message ends early or its sections do not fit together, UnrecognisedInput
    for GRIB edition 1 and for bytes that are no message.
    """
    start, number = _next_start(octets, name, 0), 0
    while start is not None:
        number += 1
        found = message(octets, name, start, number)
        yield found
        start = _next_start(octets, name, start + found.extent.length)


def message(octets: Octets, name: str, start: int, number: int) -> Message:
    """The message that starts at a byte; raises as ``messages`` does."""
    where = f"{name}, message {number} at byte {start}"
    head = octets.at(start, _LENGTH_OF_SECTION_0)
    if not _MAGIC.startswith(head[:4]):
        raise broken(where, "'GRIB'", f"{head[:4]!r}")
    if len(head) > 7 and head[7] != 2:
        raise UnrecognisedInput(
            f"A message of GRIB edition {head[7]}",
            where=where,
            expected="GRIB edition 2",
            got=f"edition {head[7]}",
            advice="Convert the file with 'grib_set -s edition=2' or ask the provider for GRIB2.",
        )
    length = int.from_bytes(head[8:], "big") if len(head) == _LENGTH_OF_SECTION_0 else _LENGTH_OF_SECTION_0
    if start + length > octets.size:
        raise TruncatedInput(
            "The file ends inside a message",
            where=where,
            expected=f"{length} bytes from byte {start}",
            got=f"{octets.size - start} bytes",
            advice="Send the file again; it was cut off in transfer.",
        )
    extent = Extent(start, length)
    fields = tuple(_fields(octets, extent, where))
    if length < _LENGTH_OF_SECTION_0 + 4 or octets.at(start + length - 4, 4) != _END:
        raise broken(where, "'7777' at the end of the message", f"something else {length} bytes after 'GRIB'")
    return Message(number, extent, head[6], fields)


def single(octets: Octets, whole: Message, field: Field) -> bytes:
    """One field as a message of its own."""
    if len(whole.fields) == 1:
        return octets.section(whole.extent)
    body = b"".join(
        octets.section(field[number]) for number in range(IDENTIFICATION, DATA + 1) if number in field
    )
    length = _LENGTH_OF_SECTION_0 + len(body) + len(_END)
    head = _MAGIC + b"\0\0" + bytes((whole.discipline, 2)) + length.to_bytes(8, "big")
    return b"".join((head, body, _END))


def broken(where: str, expected: str, got: str) -> TruncatedInput:
    """The error of a message whose octets contradict one another."""
    return TruncatedInput(
        "A GRIB message that does not hold together",
        where=where,
        expected=expected,
        got=got,
        advice="Send the file again; it was cut off or damaged.",
    )


def _next_start(octets: Octets, name: str, offset: int) -> int | None:
    """Offset of the next message, None at the end of the file."""
    if offset >= octets.size:
        return None
    if octets.at(offset, len(_MAGIC)) == _MAGIC:
        return offset
    gap = octets.at(offset, _LONGEST_GAP)
    found = gap.find(_MAGIC)
    if found >= 0:
        return offset + found
    # Downloads by byte range often take in the first byte of the message after the wanted one: a start of
    # 'GRIB' too short to tell a length is no message, and what it cost the cycle is missed by name later.
    rest = gap.strip(b"\0\r\n\x01\x03 ")
    if offset > 0 and _MAGIC.startswith(rest) and offset + len(gap) == octets.size:
        return None
    raise UnrecognisedInput(
        "Bytes that are no GRIB message",
        where=f"{name} at byte {offset} of {octets.size}",
        expected=f"'GRIB' within {_LONGEST_GAP} bytes, or the end of the file",
        got=repr(gap[:16]),
        advice="The file is damaged or holds something else after its last message.",
    )


def _fields(octets: Octets, extent: Extent, where: str) -> Iterator[Field]:
    """Every field of the message: a section stays in force until it is repeated."""
    field: Field = {}
    bitmap: Extent | None = None
    offset, end = extent.start + _LENGTH_OF_SECTION_0, extent.start + extent.length - len(_END)
    while offset < end:
        head = octets.at(offset, 6)
        length, number = int.from_bytes(head[:4], "big"), head[4]
        if not 5 <= length <= end - offset or not IDENTIFICATION <= number <= DATA:
            raise broken(
                where,
                f"a section 1 to 7 of 5 to {end - offset} bytes at byte {offset}",
                f"section {number} of {length} bytes",
            )
        field[number] = section = Extent(offset, length)
        if number == BITMAP and length > 5:
            if head[5] == _PREVIOUS_BITMAP and bitmap is not None:
                field[number] = bitmap
            elif head[5] == BITMAP_FOLLOWS:
                bitmap = section
        if number == DATA:
            missing = {IDENTIFICATION, GRID, PRODUCT, REPRESENTATION, BITMAP} - set(field)
            if missing:
                raise broken(
                    where, "sections 1, 3, 4, 5 and 6 before section 7", f"none of {sorted(missing)}"
                )
            yield dict(field)
        offset += length
    if DATA not in field:
        raise broken(where, "at least one section 7", "none")
