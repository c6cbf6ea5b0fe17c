"""How long a classic NetCDF file has to be.

The library reads zeros where a classic file ends too early, without an error: only the header tells.

Source: NetCDF Classic Format Specification, NetCDF User's Guide, appendix B (CDF-1, CDF-2 and CDF-5).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import BinaryIO, Final

_TYPE_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_SHORT: Final = (1, 2, 3, 7, 8)
"""Types of less than four bytes, which a single record variable leaves without padding."""


@dataclass(frozen=True)
class _Variable:
    """shape: with 0 for the record dimension. begin: offset of its first value."""

    shape: tuple[int, ...]
    kind: int
    begin: int

    @property
    def is_record(self) -> bool:
        return bool(self.shape) and self.shape[0] == 0

    @property
    def bytes_at_once(self) -> int:
        """Of the whole variable, or of one record."""
        return prod(self.shape[1:] if self.is_record else self.shape) * _TYPE_SIZES[self.kind]


class _Header:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        magic = file.read(4)
        self._count_bytes = 8 if magic[3] == 5 else 4
        self._offset_bytes = 4 if magic[3] == 1 else 8
        records = self._count()
        self.records: int | None = None if records == (1 << 8 * self._count_bytes) - 1 else records
        lengths = [self._dimension() for _ in range(self._entries())]
        self._skip_attributes()
        self.variables = [self._variable(lengths) for _ in range(self._entries())]

    def _integer(self, size: int) -> int:
        octets = self._file.read(size)
        if len(octets) < size:
            raise EOFError("the header ends too early")
        return int.from_bytes(octets, "big")

    def _count(self) -> int:
        return self._integer(self._count_bytes)

    def _entries(self) -> int:
        self._integer(4)
        return self._count()

    def _skip(self, size: int) -> None:
        self._file.seek(_padded(size), 1)

    def _dimension(self) -> int:
        self._skip(self._count())
        return self._count()

    def _skip_attributes(self) -> None:
        for _ in range(self._entries()):
            self._skip(self._count())
            kind = self._integer(4)
            self._skip(self._count() * _TYPE_SIZES[kind])

    def _variable(self, lengths: list[int]) -> _Variable:
        self._skip(self._count())
        shape = tuple(lengths[self._count()] for _ in range(self._count()))
        self._skip_attributes()
        kind = self._integer(4)
        self._count()
        return _Variable(shape, kind, self._integer(self._offset_bytes))


def least_size(file: BinaryIO) -> int:
    """Bytes that a classic file, open at its start, must have to hold the values that its header announces.

    Padding after the last value is not counted. Raises EOFError where the header itself is cut off, KeyError
    and IndexError where it makes no sense.
    """
    header = _Header(file)
    ends = [file.tell()]
    ends += [
        variable.begin + variable.bytes_at_once for variable in header.variables if not variable.is_record
    ]
    recorded = [variable for variable in header.variables if variable.is_record]
    if recorded and header.records:
        step = sum(_padded(variable.bytes_at_once) for variable in recorded)
        if len(recorded) == 1 and recorded[0].kind in _SHORT:
            step = recorded[0].bytes_at_once
        before = (header.records - 1) * step
        ends += [variable.begin + before + variable.bytes_at_once for variable in recorded]
    return max(ends)


def _padded(size: int) -> int:
    return -(-size // 4) * 4
