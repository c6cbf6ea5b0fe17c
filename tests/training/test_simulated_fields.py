"""A simulated cycle through the serving path equals the same cycle read from files."""

from pathlib import Path

import numpy as np
import pytest

from service.channels import CHANNELS, PRECIPITATION_CHANNEL
from service.cycle import CycleInput, assemble, read_cycle
from training.cycle_files import write_grib2
from training.domain import specification
from training.simulate import KOREA, SimulatedCycle
from training.simulated_fields import read_simulated, simulated_headers

NEEDED = (24, 25, 27, 28)
LEADS = (25, 28)
REFERENCE_TIME = np.datetime64("2022-08-09T18", "s")


@pytest.fixture(scope="module")
def cycle() -> SimulatedCycle:
    """Smooth fields inside the physical limits; rain that grows by 1, 2, 3 mm from lead to lead."""
    rows, columns = np.mgrid[: KOREA.ny, : KOREA.nx] / 40.0
    wave = (np.sin(rows) * np.cos(columns)).astype(np.float32)
    fields = {}
    for number, (name, channel) in enumerate(CHANNELS.items()):
        if name != PRECIPITATION_CHANNEL:
            middle, reach = (channel.minimum + channel.maximum) / 2, (channel.maximum - channel.minimum) / 8
            steps = [middle + reach * (wave + 0.1 * number + 0.1 * lead) for lead in range(len(NEEDED))]
            fields[name] = np.stack(steps).astype(np.float32)
    growth = np.cumsum([5.0, 1.0, 2.0, 3.0], dtype=np.float32)[:, None, None]
    return SimulatedCycle(
        reference_time=REFERENCE_TIME,
        leads_hours=NEEDED,
        region=KOREA,
        fields=fields,
        accumulated_rain_mm=growth * (1.5 + wave),
        qpe_mm=np.zeros((len(NEEDED), 253, 149), np.float32),
    )


def _assembled(cycle: SimulatedCycle) -> CycleInput:
    return assemble(simulated_headers(cycle), read_simulated(cycle), specification(LEADS))


def test_the_rain_of_each_lead_is_the_difference_of_the_accumulations(cycle: SimulatedCycle) -> None:
    values = _assembled(cycle).values
    assert values.shape == (2, 16, 224, 128)
    np.testing.assert_allclose(values[1, -1], 3 * values[0, -1], rtol=1e-4)
    assert values[0, -1].min() > 0.4


def test_channels_come_in_the_order_of_the_specification(cycle: SimulatedCycle) -> None:
    values = _assembled(cycle).values
    for index, (name, channel) in enumerate(CHANNELS.items()):
        if name != PRECIPITATION_CHANNEL:
            own = cycle.fields[name][1]
            assert own.min() - 1e-3 * channel.maximum <= values[0, index].min()
            assert values[0, index].max() <= own.max() + 1e-3 * channel.maximum
            assert values[0, index].std() == pytest.approx(own.std(), rel=0.2)


def test_a_sample_equals_the_cycle_read_from_files(cycle: SimulatedCycle, tmp_path: Path) -> None:
    """Within the packing of the files, which is all that lies between the two."""
    paths = write_grib2(cycle, tmp_path, packing="grid_simple")
    from_files = read_cycle(paths, specification(LEADS))
    direct = _assembled(cycle)
    assert (from_files.reference_time, from_files.channels) == (direct.reference_time, direct.channels)
    for index, name in enumerate(direct.channels):
        # 16 bits over the range of a field; hourly rain is the difference of two.
        reach = cycle.accumulated_rain_mm if name == PRECIPITATION_CHANNEL else cycle.fields[name]
        step = 2.0 * float(np.ptp(reach)) / 2**16
        np.testing.assert_allclose(
            from_files.values[:, index], direct.values[:, index], atol=2 * step, rtol=1e-6
        )
