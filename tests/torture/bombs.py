"""Small files that become giant ones when somebody believes them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Final

import netCDF4
import numpy as np

from tests.service.sample_cycle import REFERENCE_TIME, SIZE, encode, sample_fields
from tests.torture.mutations import grib_sections

_WIDE: Final = 60_000
_CHUNK: Final = 9_000
_POINTS: Final = (32_000, 31_250)


def netcdf_of_many_gigabytes(path: Path) -> Path:
    """28.8 GB of one field in some kilobytes: chunks that were never written."""
    with netCDF4.Dataset(path, "w") as dataset:
        _frame(dataset, _WIDE)
        dataset.createVariable("T2", "f8", ("time", "y", "x"), zlib=True).units = "K"
    return path


def netcdf_in_one_chunk(path: Path) -> Path:
    """A grid as it should be, whose 900 values lie in one compressed chunk of 648 MB."""
    with netCDF4.Dataset(path, "w") as dataset:
        _frame(dataset, None)
        shape = (1, _CHUNK, _CHUNK)
        field = dataset.createVariable(
            "T2", "f8", ("time", "y", "x"), zlib=True, complevel=1, chunksizes=shape
        )
        field.units = "K"
        field[0:1, 0:SIZE, 0:SIZE] = np.full((1, SIZE, SIZE), 280.0)
    return path


def grib_of_a_billion_points() -> bytes:
    """10^9 equal values, for which GRIB2 needs no bit."""
    content = encode(next(iter(sample_fields())))
    result = bytearray(content)
    nx, ny = _POINTS
    for start, _ in grib_sections(content):
        if content[start + 4] == 3:
            result[start + 6 : start + 10] = (nx * ny).to_bytes(4)
            result[start + 30 : start + 38] = nx.to_bytes(4) + ny.to_bytes(4)
        if content[start + 4] == 5:
            result[start + 5 : start + 9] = (nx * ny).to_bytes(4)
            result[start + 19] = 0
    return bytes(result)


def zip_of_zeros() -> bytes:
    """512 MiB, packed three times over, eight times in each."""
    content = bytes(64 * 1024**2)
    for _ in range(3):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for number in range(8):
                file.writestr(f"sample_h{number:03d}.gb2", content)
        content = archive.getvalue()
    return content


def _frame(dataset: netCDF4.Dataset, width: int | None) -> None:
    for name, size in (("time", 1), ("y", width), ("x", width)):
        dataset.createDimension(name, size)
    dataset.setncattr("forecast_reference_time", str(REFERENCE_TIME))
    time = dataset.createVariable("time", "f8", ("time",))
    time.units = f"hours since {str(REFERENCE_TIME).replace('T', ' ')}"
    time.standard_name = "time"
    time[:] = [2]
    for name, axis, unit, first in (("lat", "y", "degrees_north", 37.6), ("lon", "x", "degrees_east", 125.5)):
        place = dataset.createVariable(name, "f8", (axis,), chunksizes=(SIZE,))
        place.units = unit
        place[:] = first + 0.03 * np.arange(SIZE if width is None else width) % 30
