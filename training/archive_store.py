"""The archive: samples in one Zarr group, appended cycle by cycle.

Layout (Zarr format 3, opens with ``xarray.open_zarr``): ``inputs`` float32 (sample, channel, y, x) in
physical units and ``rain_mm`` float32 (sample, y, x), NaN where nothing was observed, a chunk for every
sample; per sample ``reference_time`` (s since 1970), ``lead_hours``, ``sums`` and ``squares`` (sample,
channel) over all cells, ``cells`` (sample, class), the number of observed cells of each class, and
``sample_sha256`` (sample, 32) over the bytes of inputs and rain. The attribute ``committed`` counts the
samples that are whole: it is written last, so that a writer that is killed at any moment goes on from there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from zarr.codecs import BloscCodec

from service.channels import THRESHOLDS_MM
from service.errors import InputError
from service.specification import CycleSpecification
from training.sole_writer import claim

Floats = NDArray[np.float32]

INDEX_CHUNK: Final = 1024
CLASS_EDGES_MM: Final = (-np.inf, *THRESHOLDS_MM, np.inf)
HEADER, COMMITTED, DIGEST = "header", "committed", "digest"

# Of seven settings of zstd and lz4 this one reads second fastest and is among the smallest: 1.09 MB and 3 ms
# a sample of simulated data, which has 1.95 MB uncompressed.
COMPRESSOR: Final = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")


class Header(BaseModel):
    """What an archive holds.

    channels: in the order of ``inputs``.
    specification: how cycles were read, None for pairs that are no cycles of a forecast model of ours.
    provenance: what it was made from, for people and for the check that a later run adds the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: tuple[str, ...]
    simulated: bool
    specification: CycleSpecification | None
    provenance: dict[str, JsonValue]


@dataclass(frozen=True)
class CycleSamples:
    """The samples of one cycle: inputs (lead, channel, y, x), rain (lead, y, x) in mm, NaN not observed."""

    reference_time: np.datetime64
    leads_hours: tuple[int, ...]
    inputs: Floats
    rain_mm: Floats


@dataclass(frozen=True)
class Index:
    """What is known of every sample without reading it; arrays as in the archive."""

    reference_times: NDArray[np.datetime64]
    leads_hours: NDArray[np.int64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    cells: NDArray[np.int64]

    @property
    def wet(self) -> NDArray[np.bool_]:
        """Per sample, whether any cell was observed to have precipitation."""
        result: NDArray[np.bool_] = self.cells[:, 1:].sum(axis=1) > 0
        return result


class Archive:
    """A finished archive, for reading.

    Attributes:
        header, index: what it holds.
        digest: sha256 over the digests of all samples in order.
        field_shape: (y, x).

    Raises:
        InputError: there is none, or its writer did not come to the end.
    """

    def __init__(self, path: Path) -> None:
        group, attributes = _open(path, "r")
        if not attributes.get(DIGEST):
            raise InputError(
                "The archive is not finished",
                where=str(path),
                advice="give the command that makes it again: it goes on where it was",
            )
        self.path = path
        self.header = _header(path, attributes)
        self.digest: str = attributes[DIGEST]
        self._inputs, self._rain_mm = group["inputs"], group["rain_mm"]
        self.field_shape: tuple[int, int] = self._rain_mm.shape[1:]
        self.index = Index(
            reference_times=group["reference_time"][:].astype("datetime64[s]"),
            leads_hours=group["lead_hours"][:],
            sums=group["sums"][:],
            squares=group["squares"][:],
            cells=group["cells"][:],
        )

    def inputs(self, row: int) -> Floats:
        """Inputs (channel, y, x) of one sample in physical units."""
        result: Floats = self._inputs[row]
        return result

    def rain_mm(self, row: int) -> Floats:
        """Observed rain (y, x) of one sample, NaN where nothing was observed."""
        result: Floats = self._rain_mm[row]
        return result


class ArchiveWriter:
    """An archive to append to; its ``with`` block, or the process, keeps other writers away until it ends.

    Args:
        path: the archive; made if there is none.
        header: what it holds.
        field_shape: (y, x).

    Attributes:
        committed: number of samples that are there already.
        reference_times: of their cycles, in order.

    Raises:
        InputError: the archive holds something else, or is being written.
    """

    def __init__(self, path: Path, header: Header, field_shape: tuple[int, int]) -> None:
        self._close = weakref.finalize(self, os.close, claim(path))
        if not path.exists():
            _create(path, header, field_shape)
        self._group, attributes = _open(path, "r+")
        stored, shape = _header(path, attributes), tuple(self._group["rain_mm"].shape[1:])
        if (stored, shape) != (header, field_shape):
            raise InputError(
                "The archive holds something else",
                where=str(path),
                expected=f"{header.provenance} with fields {field_shape}",
                got=f"{stored.provenance} with fields {shape}",
                advice="give the same options, or another archive",
            )
        self.committed = int(attributes[COMMITTED])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def reference_times(self) -> NDArray[np.datetime64]:
        """Of the samples that are there."""
        times: NDArray[np.datetime64] = self._group["reference_time"][: self.committed]
        return times.astype("datetime64[s]")

    def append(self, samples: CycleSamples) -> None:
        """Adds the samples of one cycle, all or none of them."""
        rows = {
            "inputs": samples.inputs,
            "rain_mm": samples.rain_mm,
            "reference_time": np.full(
                len(samples.inputs), samples.reference_time.astype("datetime64[s]").astype(np.int64)
            ),
            "lead_hours": np.array(samples.leads_hours, np.int64),
            **_summary(samples),
        }
        end = self.committed + len(samples.inputs)
        for name, values in rows.items():
            array = self._group[name]
            # A writer that was killed may have left longer arrays than it committed.
            array.resize((end, *array.shape[1:]))
            array[self.committed : end] = values
        self._group.attrs.update({COMMITTED: end, DIGEST: None})
        self.committed = end

    def finish(self) -> str:
        """Makes the archive readable and returns its digest.

        Raises:
            InputError: it holds no sample.
        """
        if not self.committed:
            raise InputError("The archive would be empty", where=str(self._group.store_path))
        for _, array in self._group.arrays():
            array.resize((self.committed, *array.shape[1:]))
        digest = hashlib.sha256()
        for sample in self._group["sample_sha256"][:]:
            digest.update(sample.tobytes().hex().encode())
        self._group.attrs.update({DIGEST: digest.hexdigest()})
        return digest.hexdigest()


def _summary(samples: CycleSamples) -> dict[str, NDArray[Any]]:
    """Sums from which the statistics of any set of samples follow, and a digest of each sample."""
    wide = samples.inputs.astype(np.float64)
    classes = [
        [int(((rain >= low) & (rain < high)).sum()) for low, high in pairwise(CLASS_EDGES_MM)]
        for rain in samples.rain_mm
    ]
    digests = [
        hashlib.sha256(inputs.tobytes() + rain.tobytes()).digest()
        for inputs, rain in zip(samples.inputs, samples.rain_mm, strict=True)
    ]
    return {
        "sums": wide.sum(axis=(2, 3)),
        "squares": (wide**2).sum(axis=(2, 3)),
        "cells": np.array(classes),
        "sample_sha256": np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1),
    }


class _Array(NamedTuple):
    """An array whose first dimension is the sample."""

    dtype: type
    sizes: dict[str, int]
    samples_per_chunk: int = INDEX_CHUNK
    attributes: Mapping[str, JsonValue] = {}


def _layout(channels: int, field_shape: tuple[int, int]) -> dict[str, _Array]:
    field = dict(zip(("y", "x"), field_shape, strict=True))
    return {
        "inputs": _Array(np.float32, {"channel": channels, **field}, 1),
        "rain_mm": _Array(np.float32, field, 1, {"units": "mm"}),
        "reference_time": _Array(
            np.int64, {}, attributes={"units": "seconds since 1970-01-01", "calendar": "standard"}
        ),
        "lead_hours": _Array(np.int64, {}, attributes={"standard_name": "forecast_period", "units": "hour"}),
        "sums": _Array(np.float64, {"channel": channels}),
        "squares": _Array(np.float64, {"channel": channels}),
        "cells": _Array(np.int64, {"class": len(CLASS_EDGES_MM) - 1}),
        "sample_sha256": _Array(np.uint8, {"byte": hashlib.sha256().digest_size}),
    }


def _create(path: Path, header: Header, field_shape: tuple[int, int]) -> None:
    """Makes an empty archive, whole or not at all."""
    temporary = path.with_name(f"{path.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    group = zarr.create_group(temporary, zarr_format=3)
    for name, array in _layout(len(header.channels), field_shape).items():
        sizes = tuple(array.sizes.values())
        group.create_array(
            name,
            shape=(0, *sizes),
            chunks=(array.samples_per_chunk, *sizes),
            dtype=array.dtype,
            compressors=COMPRESSOR,
            dimension_names=("sample", *array.sizes),
            attributes=dict(array.attributes),
        )
    group.attrs.update({HEADER: header.model_dump(mode="json"), COMMITTED: 0, DIGEST: None})
    temporary.rename(path)


def _open(path: Path, mode: Literal["r", "r+"]) -> tuple[Any, dict[str, Any]]:
    try:
        group = zarr.open_group(path, mode=mode)
    except (FileNotFoundError, ValueError) as error:
        raise InputError(
            "No archive",
            where=str(path),
            expected="a Zarr group that training.dataset, training.archive or training.pairs made",
            got="nothing" if not path.exists() else "something else",
        ) from error
    attributes = dict(group.attrs)
    if HEADER not in attributes:
        raise InputError("No archive of samples", where=str(path), got="another Zarr group")
    return group, attributes


def _header(path: Path, attributes: dict[str, Any]) -> Header:
    try:
        return Header.model_validate(attributes[HEADER])
    except ValidationError as error:
        raise InputError(
            "The archive has a header of another kind", where=str(path), got=str(error)
        ) from error
