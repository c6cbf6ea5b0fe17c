"""Observations for tests, in the DFS text form, on the target grid of the sample artefact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.service.sample_artefact import SAMPLE_SPECIFICATION, SAMPLE_TARGET

SHAPE = (SAMPLE_TARGET.ny, SAMPLE_TARGET.nx)
KOREA_STANDARD_TIME = np.timedelta64(9, "h")


def sample_rain_mm(seed: int) -> NDArray[np.float64]:
    """(y, x) over the whole target grid: dry, wet and heavy cells, both thresholds met exactly, NaN holes."""
    generator = np.random.default_rng(seed)
    values = generator.choice([0.0, 0.05, 0.1, 0.6, 3.0, 10.0, 40.0], SHAPE)
    values[generator.random(SHAPE) < 0.1] = np.nan
    return np.asarray(values)


def window_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of the target grid that the sample model sees."""
    window = SAMPLE_SPECIFICATION.window
    return values[window.slices]


def dfs_name(valid_time: np.datetime64) -> str:
    """A file name with the hour in KST."""
    local = str((valid_time + KOREA_STANDARD_TIME).astype("datetime64[h]"))
    return f"nph-dfs_odam_grd.{local.replace('-', '').replace('T', '')}.txt"


def dfs_text(values: NDArray[np.float64], *, headed: bool = False) -> str:
    """Twenty values a line, missing -99.00, with or without nx and ny."""
    words = [f"{value:.2f}" for value in np.where(np.isnan(values), -99.0, values).ravel()]
    lines = [", ".join(words[start : start + 20]) for start in range(0, len(words), 20)]
    head = f"{values.shape[1]}, {values.shape[0]},\n" if headed else ""
    return head + ",\n".join(lines) + "\n"


def write_dfs(folder: Path, valid_time: np.datetime64, values: NDArray[np.float64]) -> Path:
    """A DFS text file under its own name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / dfs_name(valid_time)
    path.write_text(dfs_text(values))
    return path
