"""The DFS forms of QPE: every number comes back, every defect is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from service.errors import PhysicalLimit, TruncatedInput, WrongGrid, WrongPeriod
from service.observation_dfs import HEADER_BYTES, is_binary, is_text, named_time, read_binary, read_text
from tests.service.sample_observation import dfs_text

SHAPE = (5, 7)
TENTHS = arrays.arrays(np.int64, SHAPE, elements=st.integers(-1, 4000))


def amounts(tenths: NDArray[np.int64]) -> NDArray[np.float32]:
    """mm, with holes where the number is negative."""
    return np.where(tenths < 0, np.nan, tenths / 10).astype(np.float32)


@given(tenths=TENTHS, headed=st.booleans())
def test_text_reads_back(
    tmp_path_factory: pytest.TempPathFactory, tenths: NDArray[np.int64], headed: bool
) -> None:
    path = tmp_path_factory.mktemp("dfs") / "text"
    path.write_text(dfs_text(amounts(tenths).astype(np.float64), headed=headed))
    assert is_text(path.read_bytes()[:256])
    found = read_text(path, SHAPE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, amounts(tenths))


@given(tenths=TENTHS)
def test_binary_reads_back(tmp_path_factory: pytest.TempPathFactory, tenths: NDArray[np.int64]) -> None:
    path = tmp_path_factory.mktemp("dfs") / "binary"
    values = np.where(tenths < 0, -99.0, tenths / 10).astype("<f4")
    path.write_bytes(bytes(HEADER_BYTES) + values.tobytes())
    assert is_binary(path.stat().st_size, SHAPE)
    assert not is_binary(path.stat().st_size - 1, SHAPE)
    np.testing.assert_array_equal(read_binary(path, SHAPE), amounts(tenths))


def test_rows_run_from_the_south(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text(dfs_text(np.arange(35.0).reshape(SHAPE)))
    assert read_text(path, SHAPE)[0].tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("text", "kind", "match"),
    [
        (dfs_text(np.ones((5, 6))), TruncatedInput, "got: 30 values"),
        (dfs_text(np.ones((6, 7))), WrongGrid, "expected: 35 values, 7 x 5"),
        (dfs_text(np.ones((7, 5)), headed=True), WrongGrid, "beginning with 5, 7, 1.00"),
        (dfs_text(np.ones(SHAPE), headed=True)[:-20], TruncatedInput, "got: 3. values"),
        (dfs_text(np.ones(SHAPE)).replace("1.00", "1.0-0", 1), TruncatedInput, "not a number; .*1.0-0"),
    ],
)
def test_text_of_another_grid_is_refused(
    tmp_path: Path, text: str, kind: type[Exception], match: str
) -> None:
    path = tmp_path / "text"
    path.write_text(text)
    with pytest.raises(kind, match=match):
        read_text(path, SHAPE)


def test_binary_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary"
    path.write_bytes(bytes(HEADER_BYTES) + np.ones(70, "<f4").tobytes())
    with pytest.raises(WrongGrid, match="got: 2 planes"):
        read_binary(path, SHAPE)
    path.write_bytes(bytes(HEADER_BYTES) + np.full(35, 3.5, ">f4").tobytes())
    with pytest.raises(PhysicalLimit, match=r"in the other byte order is 3\.5"):
        read_binary(path, SHAPE)


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("dfs_rn1_grd.2022081003.txt", "2022-08-09T18:00"),
        ("nph-dfs_odam_grd_tmfc_202208100300_vars_RN1", "2022-08-09T18:00"),
        ("2022081003_again_202208100300", "2022-08-09T18:00"),
        ("202208100330.bin", "2022-08-09T18:30"),
        ("rn1.txt", None),
        ("rn1_20220810.txt", None),
        ("rn1_2022081099.txt", None),
        ("rn1_20220810030000.txt", None),
    ],
)
def test_the_time_in_a_name_is_kst(name: str, time: str | None) -> None:
    assert named_time(name) == (None if time is None else np.datetime64(time, "s"))


def test_two_times_in_a_name_are_a_forecast() -> None:
    with pytest.raises(WrongPeriod, match="got: 2022-08-10T03:00:00, 2022-08-10T06:00:00"):
        named_time("shrt_tmfc_2022081003_tmef_2022081006")
