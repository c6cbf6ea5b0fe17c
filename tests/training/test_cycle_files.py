"""Simulated cycles as files: what is written reads back as what was simulated."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from service.channels import CHANNELS, PRECIPITATION_CHANNEL
from service.cycle import assemble, read_cycle
from service.files import scan
from training.cycle_files import DFS_VALUES_PER_LINE, write_grib2, write_netcdf, write_qpe
from training.domain import specification
from training.simulate import KOREA, SimulatedCycle, simulate_cycle
from training.simulated_fields import read_simulated, simulated_headers

REFERENCE_TIME = np.datetime64("2022-08-09T18", "s")


@pytest.fixture(scope="module")
def cycle() -> SimulatedCycle:
    return simulate_cycle(3, REFERENCE_TIME, (24, 25), KOREA)


def quantity(channel: str) -> str:
    return CHANNELS[channel].quantity


@pytest.mark.parametrize("write", [write_grib2, write_netcdf])
def test_files_hold_the_simulated_cycle(cycle: SimulatedCycle, write: object, tmp_path: Path) -> None:
    paths = write_grib2(cycle, tmp_path) if write is write_grib2 else write_netcdf(cycle, tmp_path)
    found = read_cycle(paths, specification((25,)))
    wanted = assemble(simulated_headers(cycle), read_simulated(cycle), specification((25,)))
    assert found.reference_time == REFERENCE_TIME
    # 16 bits cover a variable's range: in GRIB2 that of a message, in NetCDF that of all its levels.
    for index, name in enumerate(wanted.channels):
        same = [other for other, one in enumerate(wanted.channels) if quantity(one) == quantity(name)]
        spread = float(np.ptp(wanted.values[:, same]))
        # Rain is a difference of accumulations, which range further than it does.
        limit = 0.02 if name == PRECIPITATION_CHANNEL else 5e-5 * spread
        error = float(np.abs(found.values[:, index] - wanted.values[:, index]).max())
        assert 0 < error <= limit, name


def test_names_are_those_of_the_archive(cycle: SimulatedCycle, tmp_path: Path) -> None:
    names = [path.name for path in write_grib2(cycle, tmp_path)]
    assert names == [
        f"r030_v040_ne36_{kind}_h{lead:03d}.2022080918.gb2" for lead in (24, 25) for kind in ("pres", "unis")
    ]


def test_a_few_dozen_messages_are_not_wanted(cycle: SimulatedCycle, tmp_path: Path) -> None:
    headers = [header for path in write_grib2(cycle, tmp_path) for header in scan(path)]
    rain = [(one.lead_start_hours, one.lead_hours) for one in headers if one.quantity == "precipitation"]
    assert rain == [(0.0, float(lead)) for lead in cycle.leads_hours]
    wanted = len(simulated_headers(cycle))
    leads = len(cycle.leads_hours)
    assert wanted == 16 * leads
    # A cycle of seven leads has 42 of them.
    assert len(headers) - wanted == 6 * leads


def test_qpe_text_reads_back(cycle: SimulatedCycle, tmp_path: Path) -> None:
    paths = write_qpe(cycle, tmp_path)
    # 18 UTC + 25 h + 9 h is 04 local time two days later.
    assert paths[1].name == "dfs_rn1_grd.2022081104.txt"
    text = paths[1].read_text()
    assert text.splitlines()[0].count(",") == DFS_VALUES_PER_LINE
    values = np.array([float(value) for value in re.split(r"[,\s]+", text.strip().strip(","))])
    assert values.size == 253 * 149
    np.testing.assert_allclose(values.reshape(253, 149), cycle.qpe_mm[1], atol=0.00501)


def test_missing_qpe_is_minus_99(cycle: SimulatedCycle, tmp_path: Path) -> None:
    qpe_mm = cycle.qpe_mm.copy()
    qpe_mm[0, 0, 0] = np.nan
    broken = SimulatedCycle(
        cycle.reference_time, cycle.leads_hours, cycle.region, cycle.fields, cycle.accumulated_rain_mm, qpe_mm
    )
    assert write_qpe(broken, tmp_path)[0].read_text().startswith("-99.00,")
