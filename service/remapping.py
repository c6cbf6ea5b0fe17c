"""From the source grid to the target grid: cell-linked-list search and bilinear weights.

Source: Kim, Shim and Shin (2019), Atmosphere 10(3), 123, doi:10.3390/atmos10030123. The search is in
``service.quadrilaterals``; here its result becomes a sparse matrix, which is made once per pair of grids and
applied to all fields of a cycle in one step.
"""

from __future__ import annotations

import logging
import os
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from service.durability import TEMPORARY_SUFFIX
from service.errors import OutsideGrid, WrongGrid
from service.fields import Region
from service.grids import Grid
from service.quadrilaterals import Placement, placed_targets

logger = logging.getLogger(__name__)

_FORMAT: Final = 1
_FIELDS_AT_ONCE: Final = 16
"""Fields that are widened to float64 together: about 14 MB for a window of 250 x 430."""


@dataclass(frozen=True, eq=False)
class RemapWeights:
    """The linear map from fields on ``source_shape`` to fields on ``target_shape``.

    source_rows, source_columns: the smallest window of the source that holds all contributing points.
    matrix: (target points, points of the window) float64; stored entries are positive, rows sum to one.
    """

    source_shape: tuple[int, int]
    target_shape: tuple[int, int]
    source_rows: slice
    source_columns: slice
    matrix: csr_array[np.float64, tuple[int, int]]

    @property
    def window(self) -> Region:
        """The needed part of the source."""
        return Region(self.source_rows, self.source_columns)

    @property
    def window_shape(self) -> tuple[int, int]:
        """(y, x) of the needed part of the source."""
        return self.window.shape

    def apply(self, fields: NDArray[np.float32]) -> NDArray[np.float32]:
        """Remap (n, source y, source x) to (n, target y, target x).

        Sums are taken in float64 and rounded once, so that a constant field keeps its value. NaN in a
        contributing point (weight above zero) gives NaN; NaN elsewhere has no effect. Raises WrongGrid for
        another shape than the source's.
        """
        self._check_shape(fields, self.source_shape)
        return self.apply_to_window(fields[:, self.source_rows, self.source_columns])

    def apply_to_window(self, fields: NDArray[np.float32]) -> NDArray[np.float32]:
        """As ``apply``, of fields (n, y, x) that hold only ``source_rows`` and ``source_columns``."""
        self._check_shape(fields, self.window_shape)
        remapped = np.empty((len(fields), *self.target_shape), np.float32)
        for start in range(0, len(fields), _FIELDS_AT_ONCE):
            some = fields[start : start + _FIELDS_AT_ONCE]
            columns = np.ascontiguousarray(some.reshape(len(some), -1).T, dtype=np.float64)
            values = np.asarray(self.matrix @ columns).T
            remapped[start : start + len(some)] = values.reshape(len(some), *self.target_shape)
        return remapped

    def _check_shape(self, fields: NDArray[np.float32], expected: tuple[int, int]) -> None:
        if fields.ndim != 3 or fields.shape[1:] != expected:
            raise WrongGrid(
                "Fields do not lie on the grid that the weights were made for",
                expected=f"(fields, y, x) = (n, {expected[0]}, {expected[1]})",
                got=f"{fields.shape}",
            )


@lru_cache(maxsize=8)
def remap_weights(source: Grid, target: Grid, folder: Path | None = None) -> RemapWeights:
    """Weights from source to target, from memory, from ``folder``, or made and kept in both.

    A file in the folder that does not hold what was written is made again. Raises OutsideGrid where the
    source does not cover the target.
    """
    if folder is None:
        return build_weights(source, target)
    path = folder / f"remap-{source.digest[:20]}-{target.digest[:20]}.npz"
    if path.exists():
        try:
            return _load(path, source, target)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            logger.warning("remap weights in %s are unusable (%s) and are made again", path, error)
    weights = build_weights(source, target)
    _save(path, weights, source, target)
    return weights


def build_weights(source: Grid, target: Grid) -> RemapWeights:
    """Search and weigh, without any cache."""
    latitude, longitude = target.latitude_longitude()
    placement = placed_targets(source, latitude.ravel(), longitude.ravel())
    if not placement.inside.all():
        raise _outside(source, target, placement.inside)
    index, weight = _corner_weights(placement, source.shape[1])
    contributing = np.unique(index[weight > 0.0])
    rows, columns = np.divmod(contributing, source.shape[1])
    window_rows = slice(int(rows.min()), int(rows.max()) + 1)
    window_columns = slice(int(columns.min()), int(columns.max()) + 1)
    shape = (window_rows.stop - window_rows.start, window_columns.stop - window_columns.start)
    row, column = np.divmod(index, source.shape[1])
    # A corner of weight zero may lie outside the window: it is moved to its first point, and dropped below.
    local = np.where(weight > 0.0, (row - window_rows.start) * shape[1] + column - window_columns.start, 0)
    pointer = np.arange(0, index.size + 1, 4)
    matrix = csr_array((weight.ravel(), local.ravel(), pointer), shape=(len(index), shape[0] * shape[1]))
    matrix.eliminate_zeros()  # zero times NaN is NaN
    matrix.sort_indices()
    return RemapWeights(source.shape, target.shape, window_rows, window_columns, matrix)


def _corner_weights(placement: Placement, nx: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Numbers of the four corners in the source and their weights, each (target, 4)."""
    row, column = placement.row, placement.column
    following = np.mod(column + 1, nx)
    index = np.stack(
        [row * nx + column, row * nx + following, (row + 1) * nx + column, (row + 1) * nx + following], axis=1
    )
    y, x = placement.y, placement.x
    weight = np.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x], axis=1)
    return index, weight


def _outside(source: Grid, target: Grid, inside: NDArray[np.bool_]) -> OutsideGrid:
    latitude, longitude = target.latitude_longitude()
    south_north, west_east = source.latitude_longitude()
    row, column = np.divmod(int(np.flatnonzero(~inside)[0]), target.shape[1])
    return OutsideGrid(
        "The source grid does not cover the target grid",
        where=f"{(~inside).sum()} of {inside.size} target points, the first at "
        f"{latitude[row, column]:.4f} N {longitude[row, column]:.4f} E (row {row}, column {column})",
        expected=f"target points on {source.describe()}, which lies within "
        f"{south_north.min():.3f} to {south_north.max():.3f} N, "
        f"{west_east.min():.3f} to {west_east.max():.3f} E",
        got=target.describe(),
        advice="Send a forecast whose domain holds the target grid, or choose a model made for this domain",
    )


def _save(path: Path, weights: RemapWeights, source: Grid, target: Grid) -> None:
    """Write beside, under a name of its own, then rename: other processes see the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = weights.source_rows, weights.source_columns
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=TEMPORARY_SUFFIX)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(
                file,
                format=np.array(_FORMAT),
                grids=np.array([source.digest, target.digest]),
                window=np.array([rows.start, rows.stop, columns.start, columns.stop]),
                weights=weights.matrix.data,
                indices=weights.matrix.indices,
                pointer=weights.matrix.indptr,
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _load(path: Path, source: Grid, target: Grid) -> RemapWeights:
    """Read and check; ValueError, KeyError, OSError or a zip error for anything but what was written."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        if int(stored["format"]) != _FORMAT or stored["grids"].tolist() != [source.digest, target.digest]:
            raise ValueError("other grids or another format")
        y_start, y_stop, x_start, x_stop = stored["window"].tolist()
        points = target.shape[0] * target.shape[1]
        matrix = csr_array(
            (stored["weights"], stored["indices"], stored["pointer"]),
            shape=(points, (y_stop - y_start) * (x_stop - x_start)),
        )
    matrix.check_format(full_check=True)
    if not (matrix.data > 0).all() or not np.allclose(matrix.sum(axis=1), 1.0, rtol=0, atol=1e-12):
        raise ValueError("weights that are not positive or do not sum to one")
    return RemapWeights(source.shape, target.shape, slice(y_start, y_stop), slice(x_start, x_stop), matrix)
