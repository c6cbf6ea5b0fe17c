"""z-scores of the inputs, from the training split alone, kept in the archive.

They are kept under a digest of the data and of the splits, so that every run on the same data and splits uses
the same numbers to the last bit, wherever it computes.
"""

from __future__ import annotations

import contextlib
import hashlib
import math

import numpy as np
import zarr
from zarr.errors import ContainsGroupError

from service.artefact import Normalisation
from service.errors import InputError
from training.archive_store import Archive
from training.splits import FoldSplits, Rows, SpanSplits

RELATIVE_TOLERANCE = 1e-6
"""Sums in another order differ by less."""


def statistics_digest(archive: Archive, splits: SpanSplits | FoldSplits) -> str:
    """sha256 of what the statistics follow from: the data and the splits."""
    return hashlib.sha256(f"{archive.digest} {splits.model_dump_json()}".encode()).hexdigest()


def normalisation(
    archive: Archive, splits: SpanSplits | FoldSplits, training_rows: Rows
) -> dict[str, Normalisation]:
    """Mean and standard deviation of every channel over the wet training samples.

    They are stored in the archive at the first call, unless it cannot be written to.

    Raises:
        InputError: no training sample has precipitation, a channel is constant, or the stored statistics are
            not those of the data.
    """
    computed = _compute(archive, training_rows)
    path = f"statistics/{statistics_digest(archive, splits)}"
    with contextlib.suppress(ContainsGroupError, OSError):
        zarr.create_group(
            archive.path,
            path=path,
            zarr_format=3,
            attributes={name: entry.model_dump() for name, entry in computed.items()},
        )
    try:
        attributes = zarr.open_group(archive.path, path=path, mode="r").attrs
    except FileNotFoundError:
        return computed
    stored = {name: Normalisation.model_validate(entry) for name, entry in attributes.items()}
    if set(stored) != set(computed) or not all(_agree(stored[name], computed[name]) for name in stored):
        raise InputError(
            "The statistics in the archive are not those of its samples",
            where=f"{archive.path}, {path}",
            expected=str(computed),
            got=str(stored),
            advice="the archive was changed by hand: make it again",
        )
    return {name: stored[name] for name in archive.header.channels}


def _compute(archive: Archive, training_rows: Rows) -> dict[str, Normalisation]:
    rows = training_rows[archive.index.wet[training_rows]]
    if not rows.size:
        raise InputError(
            "No training sample has precipitation", where=str(archive.path), advice="ask for more cycles"
        )
    cells = len(rows) * math.prod(archive.field_shape)
    means = archive.index.sums[rows].sum(axis=0) / cells
    variances = archive.index.squares[rows].sum(axis=0) / cells - means**2
    constant = [
        name for name, variance in zip(archive.header.channels, variances, strict=True) if not variance > 0
    ]
    if constant:
        raise InputError("A channel has one value everywhere", where=f"{archive.path}: {', '.join(constant)}")
    return {
        name: Normalisation(mean=float(mean), standard_deviation=math.sqrt(variance))
        for name, mean, variance in zip(archive.header.channels, means, variances, strict=True)
    }


def _agree(one: Normalisation, other: Normalisation) -> bool:
    pairs = ((one.mean, other.mean), (one.standard_deviation, other.standard_deviation))
    scale = RELATIVE_TOLERANCE * other.standard_deviation
    return all(bool(np.isclose(a, b, rtol=RELATIVE_TOLERANCE, atol=scale)) for a, b in pairs)
