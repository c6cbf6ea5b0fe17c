"""Samples per second of reading an archive, part by part, beside what a training run computes.

``python -m tests.bench.loader --archive data/simulated.zarr [--run runs/NAME]``. On one core: reading and
decompressing, z-scores on top, everything that a training step asks for; and the same bytes without
compression, as a peer. With a run, its rate from ``curves.csv`` (which includes the reading) and which of the
two bounds it.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.archive_store import Archive
from training.samples import DataSettings, Split

BATCH = 16


def rate(read: Callable[[NDArray[np.intp]], object], indices: NDArray[np.intp]) -> float:
    """Samples per second over the indices, batch by batch."""
    parts = np.array_split(indices, max(len(indices) // BATCH, 1))
    started = time.perf_counter()
    for part in parts:
        read(part)
    return len(indices) / (time.perf_counter() - started)


def uncompressed_rate(split: Split, indices: NDArray[np.intp]) -> float:
    """Samples per second of inputs and rain from plain ``.npy`` files that lie in the cache of the system."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, rain = Path(folder, "inputs.npy"), Path(folder, "rain.npy")
        np.save(inputs, np.stack([split.physical(int(index)) for index in indices]))
        np.save(rain, split.rain_mm(indices))
        arrays = np.load(inputs, mmap_mode="r"), np.load(rain, mmap_mode="r")
        return rate(lambda rows: [np.array(array[rows]) for array in arrays], np.arange(len(indices)))


def stored_bytes(archive: Path) -> int:
    """Size of everything below the archive."""
    return sum(path.stat().st_size for path in archive.rglob("*") if path.is_file())


def computed_rate(run: Path) -> float:
    """Samples per second of a run, where its curves end."""
    with (run / "curves.csv").open(newline="") as file:
        return float(list(csv.DictReader(file))[-1]["samples_per_second"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.loader", description=__doc__)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="a training run on the same archive")
    parser.add_argument("--samples", type=int, default=200)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    split = Split(DataSettings(archive=arguments.archive), "train")
    archive = Archive(arguments.archive)
    generator = np.random.default_rng(0)
    indices = generator.permutation(len(split))[: arguments.samples]
    raw_bytes = 4 * (len(archive.header.channels) + 1) * int(np.prod(archive.field_shape))
    size = stored_bytes(arguments.archive) / len(archive.index.leads_hours)
    print(f"{size / 1e6:.2f} MB a sample, {raw_bytes / size:.2f} x smaller than uncompressed")
    rate(split.fields, indices)  # the first pass fills the cache of the system
    rates = {
        "inputs, decompressed": rate(lambda rows: [split.physical(int(row)) for row in rows], indices),
        "inputs, z-scored": rate(split.fields, indices),
        "inputs and rain, all of a training step": rate(
            lambda rows: (split.fields(rows), split.rain_mm(rows)), indices
        ),
        "uncompressed .npy, without z-scores": uncompressed_rate(split, indices),
    }
    for name, value in rates.items():
        print(f"{name:45s} {value:7.0f} samples/s on one core")
    if arguments.run:
        step = computed_rate(arguments.run)
        share = step / rates["inputs and rain, all of a training step"]
        bound = "reading" if share > 0.5 else "compute"
        print(f"{'training, ' + arguments.run.name:45s} {step:7.1f} samples/s")
        print(f"reading takes {100 * share:.0f} % of a step: {bound} bounds it")


if __name__ == "__main__":
    main()
