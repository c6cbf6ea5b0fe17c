"""Forecast files of any form, told apart by their first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from service import grib, netcdf
from service.errors import EmptyInput, UnrecognisedInput
from service.fields import FieldHeader, Region, Values

_NETCDF_MAGIC: Final = (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF\r\n\x1a\n")
_LONGEST_HEADING: Final = 256
"""Bytes of a bulletin heading that may stand before the first GRIB message."""


class Read(Protocol):
    """Values of a field, all of them or those of a region of its grid."""

    def __call__(self, header: FieldHeader, region: Region | None = None) -> Values: ...


def is_netcdf(head: bytes) -> bool:
    """Whether a file that begins with these bytes is NetCDF, classic or HDF5."""
    return head.startswith(_NETCDF_MAGIC)


def scan(path: Path) -> list[FieldHeader]:
    """Headers of all fields, in file order.

    Raises EmptyInput, UnrecognisedInput, TruncatedInput and WrongGrid.
    """
    with path.open("rb") as file:
        head = file.read(_LONGEST_HEADING)
    if not head:
        raise EmptyInput("The file is empty", where=path.name, expected="GRIB2 or NetCDF", got="0 bytes")
    if is_netcdf(head):
        return netcdf.scan(path)
    if b"GRIB" in head:
        return grib.scan(path)
    raise UnrecognisedInput(
        "The file is neither GRIB nor NetCDF",
        where=path.name,
        expected="'GRIB', 'CDF' or the signature of HDF5 in the first bytes",
        got=repr(head[:16]),
        advice="Send the forecast files themselves, not an archive, a listing or an error page.",
    )


@contextmanager
def reading() -> Iterator[Read]:
    """A function that gives the values behind headers of ``scan``, each by the reader that made it.

    Quickest in the order of files and variables. Several threads may call it. It raises TruncatedInput.
    """
    with netcdf.Reader() as datasets:
        readers = {grib.READER: grib.read, netcdf.READER: datasets.read}

        def read(header: FieldHeader, region: Region | None = None) -> Values:
            return readers[str(header.locator[0])](header, region)

        yield read


def read(header: FieldHeader, region: Region | None = None) -> Values:
    """The values behind one header, all or those of a region. Raises TruncatedInput."""
    with reading() as values_of:
        return values_of(header, region)
