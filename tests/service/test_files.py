"""Files are told apart by their content, whatever their names say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service import files
from service.errors import EmptyInput, UnrecognisedInput
from tests.service.sample_grib import Sample, smooth, write
from tests.service.sample_netcdf import Form, Variable, write_netcdf


def test_names_tell_nothing(tmp_path: Path) -> None:
    written = Sample(smooth(), surface=(103, 2), lead_hours=25)
    grib = write(tmp_path / "forecast.nc", written)
    heading = write(tmp_path / "bulletin.txt", b"YXAA85 RKSL 091800\r\r\n", written)
    netcdf = write_netcdf(tmp_path / "forecast.grib2", {"T2": Variable(smooth()[None], "K")})
    classic = write_netcdf(
        tmp_path / "forecast", {"T2": Variable(smooth()[None], "K")}, Form(file_format="NETCDF3_CLASSIC")
    )
    paths = [grib, netcdf, heading, classic, grib]
    headers = [header for path in paths for header in files.scan(path)]
    assert [header.locator[0] for header in headers] == [
        "message",
        "variable",
        "message",
        "variable",
        "message",
    ]
    with files.reading() as read:
        for header in headers:
            np.testing.assert_allclose(read(header), smooth(), rtol=0, atol=1e-4)
            assert (header.quantity, header.level, header.lead_hours) == ("temperature", 2.0, 25.0)


def test_an_empty_file(tmp_path: Path) -> None:
    path = write(tmp_path / "empty.grib2")
    with pytest.raises(EmptyInput, match=r"empty\.grib2"):
        files.scan(path)


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"\x1f\x8b\x08compressed", b"\0" * 5000, b"BUFR"])
def test_something_else(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "else.grib2", content)
    with pytest.raises(UnrecognisedInput, match="neither GRIB nor NetCDF") as caught:
        files.scan(path)
    assert caught.value.got == repr(content[:16])
