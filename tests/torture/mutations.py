"""Files made hostile: by chance, and by what is known of GRIB and NetCDF. Same generator, same bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]

_BILLION: Final = 10**9
WIDE: Final = 31623
"""Squared it is 10^9 points."""

_NUMBERS: Final = (0, 1, 2, 4, 5, 127, 128, 255, 256, 32767, 65535, 2**24 - 1, 2**31 - 1, 2**32 - 1, _BILLION)
_OCTETS: Final = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
_REPEATS: Final = (2, 3, 20, 200)
_LARGEST_RESULT: Final = 4_000_000


def unchanged(content: bytes, _: np.random.Generator) -> bytes:
    """For files that are hostile as they are."""
    return content


def flip_bits(content: bytes, random: np.random.Generator) -> bytes:
    """One to sixteen bits anywhere."""
    result = bytearray(content)
    for position in random.integers(len(result), size=int(random.integers(1, 17))):
        result[position] ^= 1 << int(random.integers(8))
    return bytes(result)


def flip_head_bits(content: bytes, random: np.random.Generator) -> bytes:
    """One to four bits of the first 400 bytes, where headers lie."""
    result = bytearray(content)
    for position in random.integers(min(400, len(result)), size=int(random.integers(1, 5))):
        result[position] ^= 1 << int(random.integers(8))
    return bytes(result)


def extreme_octets(content: bytes, random: np.random.Generator) -> bytes:
    """One to eight octets at the ends of their range."""
    result = bytearray(content)
    for position in random.integers(len(result), size=int(random.integers(1, 9))):
        result[position] = int(random.choice(_OCTETS))
    return bytes(result)


def extreme_words(content: bytes, random: np.random.Generator) -> bytes:
    """One to four numbers of two, four or eight octets, of either order, at the ends of their range."""
    result = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        size = int(random.choice((2, 4, 8)))
        start = int(random.integers(max(1, min(len(result), 2000) - size)))
        number = int(random.choice(np.array(_NUMBERS, np.int64))) % (1 << 8 * size)
        result[start : start + size] = number.to_bytes(size, "big" if random.random() < 0.5 else "little")
    return bytes(result)


def truncate(content: bytes, random: np.random.Generator) -> bytes:
    """An end that comes too early."""
    return content[: int(random.integers(len(content)))]


def cut_out(content: bytes, random: np.random.Generator) -> bytes:
    """A stretch that is gone from the middle."""
    first, last = sorted(int(place) for place in random.integers(len(content), size=2))
    return content[:first] + content[last:]


def overwrite(content: bytes, random: np.random.Generator) -> bytes:
    """A stretch of noise, or of zeros."""
    start = int(random.integers(len(content)))
    length = min(int(random.integers(1, 2000)), len(content) - start)
    filling = random.bytes(length) if random.random() < 0.5 else bytes(length)
    return content[:start] + filling + content[start + length :]


def insert(content: bytes, random: np.random.Generator) -> bytes:
    """Noise between two bytes."""
    start = int(random.integers(len(content)))
    return content[:start] + random.bytes(int(random.integers(1, 200))) + content[start:]


def repeat(content: bytes, random: np.random.Generator) -> bytes:
    """The same messages again and again."""
    times = int(random.choice(_REPEATS))
    return content * max(1, min(times, _LARGEST_RESULT // max(1, len(content))))


def append_noise(content: bytes, random: np.random.Generator) -> bytes:
    """More after the end."""
    return content + random.bytes(int(random.integers(1, 10_000)))


ANY: Final[tuple[Mutation, ...]] = (
    flip_bits,
    flip_head_bits,
    extreme_octets,
    extreme_words,
    truncate,
    cut_out,
    overwrite,
    insert,
    repeat,
    append_noise,
)
"""Of files of every form."""


def grib_sections(content: bytes) -> list[tuple[int, int]]:
    """Start and length of every section of the GRIB messages of a sound file, without sections 0 and 8."""
    found: list[tuple[int, int]] = []
    start = content.find(b"GRIB")
    while 0 <= start < len(content) - 8:
        first_edition = content[start + 7] == 1
        length = int.from_bytes(
            content[start + 4 : start + 7] if first_edition else content[start + 8 : start + 16]
        )
        place, end, width = (
            start + (8 if first_edition else 16),
            start + length - 4,
            3 if first_edition else 4,
        )
        while place < end:
            size = int.from_bytes(content[place : place + width])
            found.append((place, size))
            place += size
        start = content.find(b"GRIB", start + length)
    return found


def wrong_length(content: bytes, random: np.random.Generator) -> bytes:
    """A length of a section or a message that is not its own."""
    result = bytearray(content)
    first_edition = content[content.find(b"GRIB") + 7] == 1
    if random.random() < 0.25:
        start, width = content.find(b"GRIB") + (4 if first_edition else 8), 3 if first_edition else 8
    else:
        start, width = _any_section(content, random)[0], 3 if first_edition else 4
    old = int.from_bytes(content[start : start + width])
    near = [old - 1, old + 1, old + 4, 2 * old]
    number = int(random.choice(np.array([*_NUMBERS, *near], np.int64))) % (1 << 8 * width)
    result[start : start + width] = number.to_bytes(width)
    return bytes(result)


def wrong_number(content: bytes, random: np.random.Generator) -> bytes:
    """A section of GRIB2 under the number of another one."""
    result = bytearray(content)
    result[_any_section(content, random)[0] + 4] = int(random.integers(10))
    return bytes(result)


def giant_grid(content: bytes, random: np.random.Generator) -> bytes:
    """Grids of 10^9 points and more, some with as many values announced, some without a bit for any."""
    result = bytearray(content)
    shapes = ((WIDE, WIDE), (_BILLION, 1), (2, _BILLION // 2), (2**31 - 1, 2), (7000, 7000), (65535, 65535))
    nx, ny = shapes[int(random.integers(len(shapes)))]
    points = nx * ny % 2**32
    with_values, constant = random.random() < 0.5, random.random() < 0.5
    for start, _ in grib_sections(content):
        if content[start + 4] == 3:
            result[start + 6 : start + 10] = points.to_bytes(4)
            result[start + 30 : start + 38] = nx.to_bytes(4) + ny.to_bytes(4)
        if content[start + 4] == 5 and with_values:
            result[start + 5 : start + 9] = points.to_bytes(4)
        if content[start + 4] == 5 and constant:
            result[start + 19] = 0
    return bytes(result)


def giant_first_edition_grid(content: bytes, random: np.random.Generator) -> bytes:
    """The largest grid that GRIB1 can tell of, 65535 x 65535 points."""
    result = bytearray(content)
    sections = grib_sections(content)
    description = sections[1][0]
    wide = int(random.choice((65535, 65534, 40000, 7000)))
    result[description + 6 : description + 10] = wide.to_bytes(2) + wide.to_bytes(2)
    if random.random() < 0.5:
        result[sections[-1][0] + 10] = 0
    return bytes(result)


def swap_sections(content: bytes, random: np.random.Generator) -> bytes:
    """Two sections in the places of each other."""
    (first, first_size), (second, second_size) = sorted(_two_sections(content, random))
    return b"".join(
        (
            content[:first],
            content[second : second + second_size],
            content[first + first_size : second],
            content[first : first + first_size],
            content[second + second_size :],
        )
    )


def wrong_section(content: bytes, random: np.random.Generator) -> bytes:
    """A section in place of another one, dropped or doubled; the length of the message follows."""
    (first, first_size), (second, second_size) = _two_sections(content, random)
    section = content[second : second + second_size]
    kept = (b"", section, content[first : first + first_size] * 2)[int(random.integers(3))]
    result = bytearray(content[:first] + kept + content[first + first_size :])
    message = content.rfind(b"GRIB", 0, first)
    if content[message + 7] == 2:
        old = int.from_bytes(content[message + 8 : message + 16])
        result[message + 8 : message + 16] = (old + len(kept) - first_size).to_bytes(8)
    else:
        old = int.from_bytes(content[message + 4 : message + 7])
        result[message + 4 : message + 7] = (old + len(kept) - first_size).to_bytes(3)
    return bytes(result)


def mixed_templates(content: bytes, random: np.random.Generator) -> bytes:
    """Template numbers of sections 3, 4 and 5 that are not those of their octets."""
    result = bytearray(content)
    places = {3: 12, 4: 7, 5: 9}
    for start, _ in grib_sections(content):
        number = content[start + 4]
        if number in places and random.random() < 0.4:
            template = int(random.choice((0, 1, 2, 3, 4, 8, 10, 20, 30, 40, 41, 42, 50, 61, 101, 200, 65535)))
            result[start + places[number] : start + places[number] + 2] = template.to_bytes(2)
    return bytes(result)


def section_noise(content: bytes, random: np.random.Generator) -> bytes:
    """Up to six octets of one section, behind its length."""
    result = bytearray(content)
    start, size = _any_section(content, random)
    for _ in range(int(random.integers(1, 7))):
        place = start + int(random.integers(3, max(4, min(size, 120))))
        if place < len(result):
            result[place] = int(random.choice((*_OCTETS, int(random.integers(256)))))
    return bytes(result)


GRIB2: Final[tuple[Mutation, ...]] = (
    wrong_length,
    wrong_number,
    giant_grid,
    swap_sections,
    wrong_section,
    mixed_templates,
    section_noise,
)
GRIB1: Final[tuple[Mutation, ...]] = (
    wrong_length,
    giant_first_edition_grid,
    swap_sections,
    wrong_section,
    section_noise,
)


def classic_header(content: bytes, random: np.random.Generator) -> bytes:
    """Numbers of the header of classic NetCDF: lengths of dimensions and names, types, offsets."""
    result = bytearray(content)
    for _ in range(int(random.integers(1, 4))):
        start = 4 * int(random.integers(1, min(len(content), 3000) // 4))
        result[start : start + 4] = int(random.choice(np.array(_NUMBERS, np.int64))).to_bytes(4)
    return bytes(result)


def hdf5_addresses(content: bytes, random: np.random.Generator) -> bytes:
    """Addresses and lengths of HDF5, which are numbers of eight octets that point into the file."""
    result = bytearray(content)
    words = np.frombuffer(content[: len(content) // 8 * 8], "<u8")
    pointing = np.flatnonzero((words > 0) & (words < len(content)))
    for place in random.choice(pointing, size=min(len(pointing), int(random.integers(1, 4)))):
        choices = (
            0,
            8,
            int(random.integers(len(content))),
            len(content) - 1,
            len(content),
            _BILLION,
            2**63,
            2**64 - 1,
        )
        start = 8 * int(place)
        result[start : start + 8] = choices[int(random.integers(len(choices)))].to_bytes(8, "little")
    return bytes(result)


CLASSIC: Final[tuple[Mutation, ...]] = (classic_header,)
HDF5: Final[tuple[Mutation, ...]] = (hdf5_addresses,)


def _any_section(content: bytes, random: np.random.Generator) -> tuple[int, int]:
    sections = grib_sections(content)
    return sections[int(random.integers(len(sections)))]


def _two_sections(content: bytes, random: np.random.Generator) -> tuple[tuple[int, int], tuple[int, int]]:
    sections = grib_sections(content)
    near = int(random.integers(len(sections) - 1))
    other = min(len(sections) - 1, near + int(random.integers(1, 7)))
    return sections[near], sections[other]
