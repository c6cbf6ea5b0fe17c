"""A simulated cycle in the shape that the readers of files give: headers, and a way to read their values.

Lets samples take the serving path (``service.cycle.assemble``) without files in between. The rain is offered
as it is in files: accumulated since the start of the run.
"""

from pathlib import Path

from service.channels import CHANNELS, PRECIPITATION_CHANNEL, QUANTITIES, LevelType
from service.fields import FieldHeader, ReadRegion, Region, Values
from service.grids import Grid, grid_from_definition
from training.domain import RDAPS_KIM
from training.simulate import SimulatedCycle


def source_grid(cycle: SimulatedCycle) -> Grid:
    """The part of the grid of RDAPS-KIM that the cycle covers."""
    region = cycle.region
    return grid_from_definition(RDAPS_KIM).window(region.y_start, region.x_start, region.ny, region.nx)


def simulated_headers(cycle: SimulatedCycle) -> list[FieldHeader]:
    """One header per channel and lead; ``read_simulated`` reads their values."""
    grid = source_grid(cycle)
    headers = []
    for index, lead_hours in enumerate(cycle.leads_hours):
        for name in (*cycle.fields, PRECIPITATION_CHANNEL):
            channel = CHANNELS[name]
            rain = name == PRECIPITATION_CHANNEL
            headers.append(
                FieldHeader(
                    quantity=channel.quantity,
                    level_type=LevelType.SURFACE if rain else channel.level_type,
                    level=channel.level,
                    unit=QUANTITIES[channel.quantity].unit,
                    reference_time=cycle.reference_time,
                    lead_start_hours=0.0 if rain else float(lead_hours),
                    lead_hours=float(lead_hours),
                    grid=grid,
                    grid_relative_winds=False,
                    centre=None,
                    path=Path("simulated"),
                    locator=(name, index),
                )
            )
    return headers


def read_simulated(cycle: SimulatedCycle) -> ReadRegion:
    """Reads the values behind the headers of ``simulated_headers``."""

    def _read(header: FieldHeader, region: Region) -> Values:
        name, index = str(header.locator[0]), int(header.locator[1])
        rain = name == PRECIPITATION_CHANNEL
        fields = cycle.accumulated_rain_mm if rain else cycle.fields[name]
        values: Values = fields[index, region.rows, region.columns]
        return values

    return _read
