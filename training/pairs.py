"""Forecasts and observations on one grid, without cycles, as an archive of one channel.

``python -m training.pairs --npz FILE --forecast KEY --observed KEY --out archive.zarr``. For data that come
as two arrays (time, y, x) in mm: enough to fit and to score, not to serve without a way to read cycles.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from service.artefact import digest_file
from service.channels import THRESHOLDS_MM
from service.errors import InputError
from training.archive_store import Archive, ArchiveWriter, CycleSamples, Floats, Header
from training.samples import PAIRS_CHANNEL

MULTIPLE: Final = 32
"""The networks halve their input five times."""

FIRST_TIME: Final = np.datetime64("1970-01-01", "s")
STEP_HOURS: Final = 24

NEGATIVE_TOLERANCE_MM: Final = THRESHOLDS_MM[0]
"""Smooth interpolation to another grid leaves amounts a little below zero, which are zero."""


def padded(fields: Floats) -> Floats:
    """(sample, y, x) with rows and columns of NaN after the last, up to a multiple of 32."""
    after = [-size % MULTIPLE for size in fields.shape[1:]]
    return np.pad(fields, ((0, 0), (0, after[0]), (0, after[1])), constant_values=np.nan)


def continued(field: Floats) -> Floats:
    """(y, x) whose missing cells have the value of the nearest cell that has one."""
    nearest = ndimage.distance_transform_edt(np.isnan(field), return_distances=False, return_indices=True)
    result: Floats = field[tuple(nearest)]
    return result


def read_pairs(path: Path, forecast: str, observed: str) -> tuple[Floats, Floats]:
    """Forecast and observed precipitation (sample, y, x) in mm, NaN where there is none.

    Raises:
        InputError: no such file or array, arrays that do not fit each other, amounts that are infinite or
            -0.1 mm or less, a time without any forecast, or nothing observed.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays)
            found = [_amounts(arrays[name]) for name in (forecast, observed) if name in names]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError("The pairs cannot be read", where=str(path), got=str(error)) from error
    if len(found) != 2:
        raise InputError(
            "An array is missing", where=str(path), expected=f"{forecast}, {observed}", got=", ".join(names)
        )
    raw_mm, rain_mm = found
    if raw_mm.ndim != 3 or raw_mm.shape != rain_mm.shape:
        raise InputError(
            "Forecast and observation do not fit each other",
            where=str(path),
            expected="two arrays of one shape (time, y, x)",
            got=f"{raw_mm.shape}, {rain_mm.shape}",
        )
    for name, amounts in ((forecast, raw_mm), (observed, rain_mm)):
        wrong = (amounts <= -NEGATIVE_TOLERANCE_MM) | np.isinf(amounts)
        if wrong.any():
            raise InputError(
                "Precipitation is negative or infinite",
                where=f"{path}, {name} at (time, y, x) = {tuple(np.argwhere(wrong)[0].tolist())}",
                expected="mm, NaN where there is none",
                got=f"{wrong.sum()} values",
            )
    empty = np.flatnonzero(np.isnan(raw_mm).all(axis=(1, 2)))
    if empty.size or np.isnan(rain_mm).all():
        where = f"time {empty[0]} has no forecast" if empty.size else "nothing is observed"
        raise InputError("Pairs without values", where=f"{path}, {where}")
    return np.maximum(raw_mm, np.float32(0)), np.maximum(rain_mm, np.float32(0))


def _amounts(array: NDArray[np.generic]) -> Floats:
    return array.astype(np.float32)


def build(path: Path, forecast: str, observed: str, out: Path) -> str:
    """Writes the archive and returns its digest. The times are ordinals: one a day, with a lead of a day.

    Raises:
        InputError: as ``read_pairs``, or the archive holds something else.
    """
    raw_mm, rain_mm = (padded(fields) for fields in read_pairs(path, forecast, observed))
    header = Header(
        channels=(PAIRS_CHANNEL,),
        simulated=False,
        specification=None,
        provenance={
            "made_by": "training.pairs",
            "file": path.name,
            "sha256": digest_file(path),
            "forecast": forecast,
            "observed": observed,
            "times": f"ordinals {STEP_HOURS} h apart, not dates",
        },
    )
    with ArchiveWriter(out, header, (raw_mm.shape[1], raw_mm.shape[2])) as writer:
        for number in range(writer.committed, len(raw_mm)):
            time = FIRST_TIME + np.timedelta64(STEP_HOURS * number, "h")
            inputs = continued(raw_mm[number])[None, None]
            writer.append(CycleSamples(time, (STEP_HOURS,), inputs, rain_mm[number : number + 1]))
        return writer.finish()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.pairs", description=__doc__)
    parser.add_argument("--npz", type=Path, required=True)
    parser.add_argument("--forecast", required=True, help="name of the array of forecasts, mm")
    parser.add_argument("--observed", required=True, help="name of the array of observations, mm")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    digest = build(arguments.npz, arguments.forecast, arguments.observed, arguments.out)
    index = Archive(arguments.out).index
    shares = index.cells.sum(axis=0) / index.cells.sum()
    print(f"{len(index.leads_hours)} samples, class shares {shares.round(4).tolist()}, digest {digest}")


if __name__ == "__main__":
    main()
