"""Cycles of the bench are those that a centre would send: one time, and rain that fell in the same hours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from service import grib
from tests.bench.publication import Cycles
from training.cycle_files import write_grib2
from training.orography import KOREA
from training.simulate import simulate_cycle


def test_another_reference_time_leaves_leads_and_intervals_as_they_are(tmp_path: Path) -> None:
    paths = write_grib2(simulate_cycle(1, np.datetime64("2022-08-09T18", "s"), (24, 25), KOREA), tmp_path)
    hours = [
        [(one.quantity, one.lead_start_hours, one.lead_hours) for one in grib.scan(path)] for path in paths
    ]
    moved = np.datetime64("2024-02-28T23", "s")
    cycles = Cycles(paths)
    for reference_time in (np.datetime64("2023-01-01T00", "s"), moved):
        cycles.date(reference_time)
    for path, before in zip(paths, hours, strict=True):
        headers = list(grib.scan(path))
        assert {header.reference_time for header in headers} == {moved}
        assert [(one.quantity, one.lead_start_hours, one.lead_hours) for one in headers] == before
    assert any(start == 0 and end == 24 for quantity, start, end in hours[0] + hours[1])
