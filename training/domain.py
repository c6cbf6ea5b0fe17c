"""RDAPS-KIM, the QPE grid and the window over Korea: what the models of this package ask of a cycle.

Sources: paper sections 3 and A.1-A.2 and appendix C (16 variables, leads 25-30 h, QPE of 149 x 253 points at
5 km, inputs of 224 x 128). The projection of RDAPS-KIM reproduces its published extents; a file's own header
wins over it. The QPE grid is that of the digital forecast (DFS) of the Korea Meteorological Administration.
"""

from __future__ import annotations

from typing import Final

from service.channels import CHANNELS
from service.specification import CycleSpecification, LambertDefinition, Source, Window

RDAPS_KIM: Final = LambertDefinition(
    nx=1050,
    ny=840,
    spacing_m=3000.0,
    standard_parallels_degrees=(30.0, 60.0),
    origin_latitude_degrees=38.0,
    origin_longitude_degrees=126.0,
    origin_x=524.5,
    origin_y=419.5,
    earth_radius_m=6_370_000.0,
)

QPE: Final = LambertDefinition(
    nx=149,
    ny=253,
    spacing_m=5000.0,
    standard_parallels_degrees=(30.0, 60.0),
    origin_latitude_degrees=38.0,
    origin_longitude_degrees=126.0,
    origin_x=42.0,
    origin_y=135.0,
    earth_radius_m=6_371_008.77,
)

WINDOW: Final = Window(y_start=8, x_start=10, ny=224, nx=128)
"""South Korea, Jeju and the seas around it, and North Korea up to 42 N."""

WHOLE_GRID: Final = Window(y_start=0, x_start=0, ny=QPE.ny, nx=QPE.nx)

LEADS_HOURS: Final = (25, 26, 27, 28, 29, 30)


def specification(leads_hours: tuple[int, ...] = LEADS_HOURS, window: Window = WINDOW) -> CycleSpecification:
    """The cycle that the models of this package expect."""
    return CycleSpecification(
        source=Source(name="RDAPS-KIM", centres=(40,), spacing_m=(2900.0, 3100.0), winds_relative_to="earth"),
        channels=tuple(CHANNELS),
        leads_hours=leads_hours,
        target=QPE,
        window=window,
    )
