"""The size that a classic header announces, against files of the library."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import netCDF4
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.netcdf_classic import least_size
from tests.service.sample_netcdf import FileFormat

CLASSIC = [name for name in get_args(FileFormat) if name.startswith("NETCDF3")]
KINDS = ("i1", "i2", "i4", "f4", "f8")


def written(
    path: Path, file_format: FileFormat, records: int, variables: list[tuple[str, bool, int]]
) -> Path:
    """A file of variables (kind, whether over records, length of the inner dimension)."""
    with netCDF4.Dataset(path, "w", format=file_format) as dataset:
        dataset.set_fill_off()
        dataset.title = "odd"
        dataset.createDimension("record", None)
        for number, (kind, recorded, length) in enumerate(variables):
            dataset.createDimension(f"x{number}", length)
            dimensions = ("record", f"x{number}") if recorded else (f"x{number}",)
            variable = dataset.createVariable(f"v{number}", kind, dimensions)
            variable.units = "K"
            variable[:] = np.ones((records, length) if recorded else length)
    return path


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file_format=st.sampled_from(CLASSIC),
    records=st.integers(1, 4),
    variables=st.lists(
        st.tuples(st.sampled_from(KINDS), st.booleans(), st.integers(1, 7)), min_size=1, max_size=4
    ),
)
def test_the_least_size_is_that_of_the_file_less_padding(
    tmp_path: Path, file_format: FileFormat, records: int, variables: list[tuple[str, bool, int]]
) -> None:
    path = written(tmp_path / "odd.nc", file_format, records, variables)
    with path.open("rb") as file:
        assert 0 <= path.stat().st_size - least_size(file) < 4


@pytest.mark.parametrize("kind", ["i1", "i2"])
@pytest.mark.parametrize("file_format", CLASSIC)
def test_a_single_record_variable_of_short_type_has_no_padding(
    tmp_path: Path, kind: str, file_format: FileFormat
) -> None:
    path = written(tmp_path / "short.nc", file_format, 5, [(kind, True, 3)])
    with path.open("rb") as file:
        assert 0 <= path.stat().st_size - least_size(file) < 4


def test_a_header_that_is_cut_off_is_an_end_of_file(tmp_path: Path) -> None:
    path = written(tmp_path / "cut.nc", "NETCDF3_CLASSIC", 2, [("f4", True, 3)])
    path.write_bytes(path.read_bytes()[:60])
    with path.open("rb") as file, pytest.raises(EOFError):
        least_size(file)
