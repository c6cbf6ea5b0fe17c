"""Remapping: bilinear, exact, whole, and kept on disk."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

from service import remapping
from service.errors import OutsideGrid, WrongGrid
from service.grids import CurvilinearGrid, Grid, LambertGrid, LatitudeLongitudeGrid, grid_from_definition
from service.projections import LambertConformal
from service.remapping import RemapWeights, build_weights, remap_weights
from service.specification import Window
from tests.service.test_grids import QPE, RDAPS

CONE = LambertConformal((30.0, 60.0), 38.0, 126.0, 6.37e6, 6.37e6)
SOURCE = LambertGrid(CONE, 60, 50, -90e3, -75e3, 3000.0, 3000.0)
TARGET = grid_from_definition(QPE).window(128, 33, 14, 17)
DEGREES = LatitudeLongitudeGrid(60, 50, 36.0, 124.0, 0.08, 0.08)


@pytest.fixture(autouse=True)
def _without_memory() -> None:
    remap_weights.cache_clear()


def _analytic(
    source: LambertGrid | LatitudeLongitudeGrid, target: Grid, field: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Bilinear interpolation in the source's own plane, by another implementation and in float64."""
    row, column = source.fractional_index(*target.latitude_longitude())
    ny, nx = source.shape
    interpolate = RegularGridInterpolator((np.arange(ny), np.arange(nx)), field.astype(np.float64))
    return np.asarray(interpolate(np.stack([row, column], axis=-1)))


@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize("kind", ["Lambert", "latitude-longitude"])
def test_equals_analytic_bilinear_interpolation(kind: str, upside_down: bool) -> None:
    source: LambertGrid | LatitudeLongitudeGrid = SOURCE if kind == "Lambert" else DEGREES
    if upside_down and isinstance(source, LambertGrid):
        source = LambertGrid(CONE, 60, 50, -90e3, 72e3, 3000.0, -3000.0)
    elif upside_down:
        source = LatitudeLongitudeGrid(60, 50, 39.92, 124.0, -0.08, 0.08)
    field = np.random.default_rng(1).gamma(0.3, 10.0, source.shape).astype(np.float32)
    remapped = build_weights(source, TARGET).apply(field[np.newaxis])[0]
    expected = _analytic(source, TARGET, field)
    np.testing.assert_array_max_ulp(remapped, expected.astype(np.float32), maxulp=1)


def test_the_real_pair_of_grids_equals_analytic_bilinear_interpolation() -> None:
    source = grid_from_definition(RDAPS)
    target = grid_from_definition(QPE, Window(y_start=15, x_start=10, ny=224, nx=128))
    assert isinstance(source, LambertGrid)
    field = (101325.0 + 1000.0 * np.random.default_rng(2).normal(size=source.shape)).astype(np.float32)
    weights = build_weights(source, target)
    remapped = weights.apply(field[np.newaxis])[0]
    np.testing.assert_array_max_ulp(remapped, _analytic(source, target, field).astype(np.float32), maxulp=1)
    assert weights.source_rows.start > 190
    assert weights.source_rows.stop < 620
    assert weights.source_columns.start > 450
    assert weights.source_columns.stop < 710


def test_without_a_closed_form_the_result_is_nearly_the_same() -> None:
    curvilinear = CurvilinearGrid(*SOURCE.latitude_longitude())
    field = np.random.default_rng(3).normal(size=(1, *SOURCE.shape)).astype(np.float32)
    plane = build_weights(SOURCE, TARGET).apply(field)
    searched = build_weights(curvilinear, TARGET).apply(field)
    np.testing.assert_allclose(searched, plane, rtol=0, atol=3e-5)


@settings(deadline=None, max_examples=40)
@given(st.floats(-10, 10), st.floats(-1, 1), st.floats(-1, 1), st.booleans())
def test_linear_fields_are_reproduced(constant: float, along_y: float, along_x: float, degrees: bool) -> None:
    source = DEGREES if degrees else SOURCE
    row, column = np.indices(source.shape)
    field = (constant + along_y * row + along_x * column).astype(np.float32)
    target_row, target_column = source.fractional_index(*TARGET.latitude_longitude())
    expected = constant + along_y * target_row + along_x * target_column
    remapped = remap_weights(source, TARGET).apply(field[np.newaxis])[0]
    np.testing.assert_allclose(remapped, expected, rtol=0, atol=2e-5)


@settings(deadline=None, max_examples=40)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100))
def test_a_constant_field_keeps_its_value(value: float) -> None:
    """0.1 mm must not become a little less: it is a threshold."""
    field = np.full((1, *SOURCE.shape), value, np.float32)
    remapped = remap_weights(SOURCE, TARGET).apply(field)
    np.testing.assert_array_equal(remapped, np.float32(value))


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**31),
    st.sampled_from(["Lambert", "latitude-longitude", "curvilinear"]),
    st.integers(0, 236),
    st.integers(0, 132),
)
def test_weights_are_positive_and_sum_to_one(seed: int, kind: str, y_start: int, x_start: int) -> None:
    target = grid_from_definition(QPE).window(y_start, x_start, 17, 17)
    latitude, longitude = target.latitude_longitude()
    south, west = latitude.min() - 0.5, longitude.min() - 0.5
    source: Grid = LatitudeLongitudeGrid(24, 20, south, west, 0.1, 0.12)
    if kind == "Lambert":
        row, column = SOURCE.fractional_index(latitude, longitude)
        x, y = SOURCE.x_first_m + 3e3 * (column.min() - 1), SOURCE.y_first_m + 3e3 * (row.min() - 1)
        source = LambertGrid(CONE, 40, 40, x, y, 3000.0, 3000.0)
    if kind == "curvilinear":
        shake = np.random.default_rng(seed).uniform(-0.02, 0.02, (2, *source.shape))
        source = CurvilinearGrid(*(np.array(source.latitude_longitude()) + shake))
    matrix = build_weights(source, target).matrix
    assert matrix.data.min() > 0.0
    assert np.diff(matrix.indptr).max() <= 4
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=0, atol=1e-14)


def test_a_global_source_serves_a_target_across_its_seam() -> None:
    source = LatitudeLongitudeGrid(720, 361, 90.0, 0.0, -0.5, 0.5)
    target = LatitudeLongitudeGrid(40, 20, 50.0, -5.1, 0.25, 0.25)
    _, longitude = source.latitude_longitude()
    latitude, _ = source.latitude_longitude()
    field = (np.cos(np.radians(longitude)) + latitude).astype(np.float32)
    remapped = build_weights(source, target).apply(field[np.newaxis])[0]
    north, east = target.latitude_longitude()
    np.testing.assert_allclose(remapped, np.cos(np.radians(east)) + north, rtol=0, atol=2e-5)


def test_all_fields_are_remapped_alone() -> None:
    weights = build_weights(SOURCE, TARGET)
    fields = np.random.default_rng(4).normal(size=(37, *SOURCE.shape)).astype(np.float32)
    together = weights.apply(fields)
    assert together.shape == (37, *TARGET.shape)
    assert together.dtype == np.float32
    for index in (0, 15, 16, 36):
        np.testing.assert_array_equal(together[index], weights.apply(fields[index : index + 1])[0])
    assert weights.apply(fields[:0]).shape == (0, *TARGET.shape)


def test_window_holds_all_that_is_needed_and_no_more() -> None:
    weights = build_weights(SOURCE, TARGET)
    fields = np.random.default_rng(5).normal(size=(2, *SOURCE.shape)).astype(np.float32)
    needed = fields[:, weights.source_rows, weights.source_columns]
    assert needed.shape[1:] == weights.window_shape
    np.testing.assert_array_equal(weights.apply_to_window(needed), weights.apply(fields))
    contributions: NDArray[np.float64] = np.asarray(weights.matrix.sum(axis=0)).reshape(weights.window_shape)
    assert contributions[0].any()
    assert contributions[-1].any()
    assert contributions[:, 0].any()
    assert contributions[:, -1].any()


def test_nan_spreads_to_the_targets_that_it_contributes_to_and_nowhere_else() -> None:
    weights = build_weights(SOURCE, TARGET)
    fields = np.ones((1, *SOURCE.shape), np.float32)
    row, column = weights.source_rows.start + 5, weights.source_columns.start + 7
    fields[0, row, column] = np.nan
    remapped = weights.apply(fields)[0]
    target_row, target_column = SOURCE.fractional_index(*TARGET.latitude_longitude())
    touched = (np.abs(target_row - row) < 1) & (np.abs(target_column - column) < 1)
    assert touched.any()
    np.testing.assert_array_equal(np.isnan(remapped), touched)


@pytest.mark.parametrize(
    "source",
    [SOURCE, DEGREES, CurvilinearGrid(*SOURCE.latitude_longitude())],
    ids=lambda grid: grid.describe(),
)
def test_points_that_are_hit_keep_their_values_whatever_lies_beside_them(source: Grid) -> None:
    field = np.full((1, *source.shape), np.nan, np.float32)
    field[0, 12:22, 10:18] = np.random.default_rng(6).normal(size=(10, 8))
    weights = build_weights(source, source.window(12, 10, 10, 8))
    assert weights.window_shape == (10, 8)
    np.testing.assert_array_equal(weights.apply(field)[0], field[0, 12:22, 10:18])


@pytest.mark.parametrize("shape", [(1, 50, 59), (50, 60), (1, 60, 50)])
def test_fields_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(WrongGrid, match=r"\(n, 50, 60\)"):
        build_weights(SOURCE, TARGET).apply(np.zeros(shape, np.float32))


def test_targets_outside_the_source_are_counted_and_located() -> None:
    source = LambertGrid(CONE, 60, 50, -90e3, -75e3 + 20 * 3000.0, 3000.0, 3000.0)
    latitude, longitude = TARGET.latitude_longitude()
    row, _ = source.fractional_index(latitude, longitude)
    outside = int((row < 0).sum())
    assert 0 < outside < latitude.size
    with pytest.raises(OutsideGrid) as caught:
        build_weights(source, TARGET)
    assert f"{outside} of {latitude.size} target points" in caught.value.where
    assert f"{latitude[0, 0]:.4f} N {longitude[0, 0]:.4f} E" in caught.value.where
    assert "60 x 50" in caught.value.expected
    assert f"{source.latitude_longitude()[0].max():.3f} N" in caught.value.expected


def test_weights_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "weights"
    made = remap_weights(SOURCE, TARGET, folder)
    assert [path.suffix for path in folder.iterdir()] == [".npz"]
    remap_weights.cache_clear()
    monkeypatch.setattr(remapping, "build_weights", _never)
    loaded = remap_weights(SOURCE, TARGET, folder)
    assert remap_weights(SOURCE, TARGET, folder) is loaded
    _assert_same(loaded, made)


def _never(source: Grid, target: Grid) -> RemapWeights:
    raise AssertionError(f"made again: {source} {target}")


def _assert_same(one: RemapWeights, other: RemapWeights) -> None:
    assert (one.source_shape, one.target_shape) == (other.source_shape, other.target_shape)
    assert (one.source_rows, one.source_columns) == (other.source_rows, other.source_columns)
    np.testing.assert_array_equal(one.matrix.toarray(), other.matrix.toarray())


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for position in range(len(content) // 4, len(content), len(content) // 4):
        content[position] ^= 0xFF
    path.write_bytes(bytes(content))


def _of_other_grids(path: Path) -> None:
    (other,) = _saved(path.parent / "other", SOURCE, TARGET.window(0, 0, 5, 5))
    path.write_bytes(other.read_bytes())


def _negative(path: Path) -> None:
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["weights"][0] -= 1.0
    arrays["weights"][1] += 1.0
    np.savez(path, allow_pickle=False, **arrays)


def _pointing_outside(path: Path) -> None:
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["indices"][0] = 10**6
    np.savez(path, allow_pickle=False, **arrays)


def _saved(folder: Path, source: Grid, target: Grid) -> list[Path]:
    remap_weights(source, target, folder)
    remap_weights.cache_clear()
    return list(folder.iterdir())


@pytest.mark.parametrize(
    "damage", [_truncated, _empty, _flipped, _of_other_grids, _negative, _pointing_outside]
)
def test_damaged_weights_are_made_again(
    damage: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = _saved(tmp_path / "weights", SOURCE, TARGET)
    assert callable(damage)
    damage(path)
    remap_weights.cache_clear()
    with caplog.at_level(logging.WARNING):
        weights = remap_weights(SOURCE, TARGET, path.parent)
    assert str(path) in caplog.text
    _assert_same(weights, build_weights(SOURCE, TARGET))
    caplog.clear()
    remap_weights.cache_clear()
    remap_weights(SOURCE, TARGET, path.parent)
    assert not caplog.text


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="no space"):
        remap_weights(SOURCE, TARGET, tmp_path)
    assert not list(tmp_path.iterdir())
