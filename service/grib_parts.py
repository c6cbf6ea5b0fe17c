"""Some values of a GRIB2 field out of its packed ones, without the others.

Where the packing lets one value be found by itself, a part of the grid costs a part of the decoding: simple
packing by bit offset, JPEG 2000 by area. The values are those of eccodes' full decoding bit for bit, because
the arithmetic is its arithmetic. Everything else (complex and CCSDS packing, where a value rests on those
before it, and whatever is out of the ordinary) is declined, and eccodes decodes it whole.

Source: WMO Manual on Codes (WMO-No. 306), volume I.2, regulation 92.9.4, templates 5.0, 5.40, 7.0 and 7.40.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service import openjpeg
from service.fields import Region
from service.grib_grids import Scanning
from service.grib_messages import (
    BITMAP,
    BITMAP_FOLLOWS,
    DATA,
    NO_BITMAP,
    REPRESENTATION,
    Extent,
    Field,
    Octets,
)
from service.grib_sections import signed, unsigned

SIMPLE, JPEG_2000 = 0, 40
"""Templates of section 5 of which parts can be decoded."""

LARGEST_SHARE: Final = 0.5
"""Of all points; beyond it eccodes is as quick with all of them."""

_MOST_BITS: Final = 32
_LARGEST_SCALE: Final = 100
_HEAD_OF_DATA, _HEAD_OF_BITMAP = 5, 6
_HEAD_OF_CODESTREAM: Final = 512
_WORD: Final = 8

Numbers = NDArray[np.int64]
"""Which ones, of points or of packed values, counted from 0 in the order of the file."""

Integers = NDArray[np.uint64] | NDArray[np.int32]


@dataclass(frozen=True)
class Packing:
    """Section 5 of a template that scales integers: value = (reference + integer 2^E) / 10^D.

    count: of packed values. bits: of each; with none all values are the reference.
    """

    template: int
    count: int
    reference: float
    binary_scale: int
    decimal_scale: int
    bits: int

    def scaled(self, integers: Integers) -> NDArray[np.float64]:
        """In the order of eccodes, whose powers of ten come from repeated division or multiplication."""
        power_of_ten = 1.0
        for _ in range(abs(self.decimal_scale)):
            power_of_ten = power_of_ten / 10.0 if self.decimal_scale > 0 else power_of_ten * 10.0
        return np.asarray((integers * 2.0**self.binary_scale + self.reference) * power_of_ten, np.float64)


def part_of_values(
    octets: Octets, field: Field, order: Scanning, region: Region
) -> NDArray[np.float64] | None:
    """The values in a region of the grid, (y, x), NaN in holes of the bitmap; None where that is declined."""
    packing = _packing(octets.section(field[REPRESENTATION]))
    total = order.ny * order.nx
    if packing is None or math.prod(region.shape) > LARGEST_SHARE * total:
        return None
    points = order.positions(region)
    packed = _packed_numbers(octets, field[BITMAP], points, total, packing.count)
    if packed is None:
        return None
    numbers, present = packed
    if packing.bits == 0:
        values = np.full(points.shape, packing.reference)
    else:
        unpack = _by_bit_offset if packing.template == SIMPLE else _by_area
        integers = unpack(octets, field[DATA], packing, numbers)
        if integers is None:
            return None
        values = packing.scaled(integers)
    return np.where(present, values, np.nan)


def _packing(section: bytes) -> Packing | None:
    """Of section 5, whole; None for templates that cannot be decoded in part and for odd numbers."""
    template = unsigned(section, 10, 2)
    if template not in {SIMPLE, JPEG_2000}:
        return None
    (reference,) = struct.unpack(">f", section[11:15])
    packing = Packing(
        template,
        count=unsigned(section, 6, 4),
        reference=reference,
        binary_scale=signed(section, 16, 2),
        decimal_scale=signed(section, 18, 2),
        bits=unsigned(section, 20, 1),
    )
    plain = (
        np.isfinite(reference)
        and packing.bits <= _MOST_BITS
        and max(abs(packing.binary_scale), abs(packing.decimal_scale)) <= _LARGEST_SCALE
    )
    return packing if plain else None


def _packed_numbers(
    octets: Octets, bitmap: Extent, points: Numbers, total: int, count: int
) -> tuple[Numbers, NDArray[np.bool_]] | None:
    """Which of the ``count`` packed values stands in each point, and in which points there is one at all."""
    indicator = octets.at(bitmap.start, _HEAD_OF_BITMAP)[-1]
    if indicator == NO_BITMAP:
        return (points, np.ones(points.shape, bool)) if count == total else None
    if indicator != BITMAP_FOLLOWS or 8 * (bitmap.length - _HEAD_OF_BITMAP) < total:
        return None
    bits = np.frombuffer(octets.section(bitmap), np.uint8, offset=_HEAD_OF_BITMAP)
    present = np.unpackbits(bits, count=total).view(bool)
    before = np.cumsum(present)
    if before[-1] != count or count == 0:
        return None
    # In a hole the value of some other point is unpacked, and not used.
    return np.maximum(before[points] - 1, 0), present[points]


def _by_bit_offset(
    octets: Octets, data: Extent, packing: Packing, numbers: Numbers
) -> NDArray[np.uint64] | None:
    """Integers that follow one another without a gap, the first bit of each at its number times the bits."""
    bits = packing.bits
    if packing.count * bits > 8 * (data.length - _HEAD_OF_DATA):
        return None
    first = int(numbers.min()) * bits // 8
    size = ((int(numbers.max()) + 1) * bits + 7) // 8 - first
    padded = size + _WORD - 1
    packed = octets.at(data.start + _HEAD_OF_DATA + first, padded).ljust(padded, b"\0")
    # From every byte on, eight bytes as one number: each integer lies whole in the word of its first byte.
    words = np.ndarray((size,), ">u8", packed, strides=(1,))
    offset = numbers * bits - 8 * first
    unused = (8 * _WORD - bits - (offset & 7)).astype(np.uint64)
    integers: NDArray[np.uint64] = words[offset >> 3] >> unused & np.uint64((1 << bits) - 1)
    return integers


def _by_area(octets: Octets, data: Extent, _: Packing, numbers: Numbers) -> NDArray[np.int32] | None:
    """Integers that are the pixels of an image, row by row: decoded in the rectangle around those wanted."""
    start, length = data.start + _HEAD_OF_DATA, data.length - _HEAD_OF_DATA
    image = openjpeg.image(octets.at(start, min(length, _HEAD_OF_CODESTREAM)))
    if image is None or not image.reversible:
        return None
    rows, columns = np.divmod(numbers, image.width)
    top, left = int(rows.min()), int(columns.min())
    area = openjpeg.Area(top, left, int(rows.max()) + 1, int(columns.max()) + 1)
    pixels = openjpeg.decode(octets.at(start, length), area)
    return None if pixels is None else pixels[rows - top, columns - left]
