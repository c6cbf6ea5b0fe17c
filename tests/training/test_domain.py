"""The domain against figures published elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from service.channels import CHANNELS
from service.grids import grid_from_definition
from training.domain import LEADS_HOURS, QPE, RDAPS_KIM, WINDOW, specification


def test_extent_of_rdaps_kim() -> None:
    latitude, longitude = grid_from_definition(RDAPS_KIM).latitude_longitude()
    extent = [longitude.min(), longitude.max(), latitude.min(), latitude.max()]
    np.testing.assert_allclose(extent, [103.971, 148.029, 25.255, 49.697], atol=5e-4)


@pytest.mark.parametrize(
    ("row", "column", "latitude_degrees", "longitude_degrees"),
    [
        (0, 0, 31.79442, 123.76126),
        (0, -1, 31.65181, 131.64226),
        (-1, 0, 43.39349, 123.31017),
        (-1, -1, 43.21755, 132.77497),
    ],
)
def test_corners_of_the_qpe_grid(
    row: int, column: int, latitude_degrees: float, longitude_degrees: float
) -> None:
    latitude, longitude = grid_from_definition(QPE).latitude_longitude()
    assert latitude[row, column] == pytest.approx(latitude_degrees, abs=5e-6)
    assert longitude[row, column] == pytest.approx(longitude_degrees, abs=5e-6)


def test_the_window_holds_south_korea() -> None:
    grid = grid_from_definition(QPE, WINDOW)
    assert grid.shape == (224, 128)
    # Marado, Ulleungdo, Baengnyeongdo, Goseong, each with cells around it.
    for place in ((33.12, 126.27), (37.50, 130.86), (37.95, 124.67), (38.60, 128.36)):
        index = grid.fractional_index(*place)
        assert index is not None
        assert 2 <= index[0] <= 221
        assert 2 <= index[1] <= 125


def test_the_specification_is_the_papers() -> None:
    cycle = specification()
    assert cycle.leads_hours == LEADS_HOURS == tuple(range(25, 31))
    assert cycle.channels == tuple(CHANNELS)
    assert (cycle.target.ny, cycle.target.nx) == (253, 149)
