"""Which accumulations make the rain of a period."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.channels import LevelType
from service.errors import PhysicalLimit
from service.fields import FieldHeader
from service.grids import LatitudeLongitudeGrid
from service.precipitation import Term, rain_amount_mm, rain_fields, rain_ranges, rain_terms
from tests.service.sample_grib import REFERENCE_TIME

GRID = LatitudeLongitudeGrid(3, 2, 35.0, 126.0, 0.1, 0.1)
EVERYWHERE = np.ones((2, 3), bool)
TOTAL, LARGE, CONVECTIVE = "precipitation", "large_scale_precipitation", "convective_precipitation"


def amount(quantity: str, start: float, end: float, number: int = 1, step_mm: float = 0.0) -> FieldHeader:
    """The header of rain between two leads."""
    return FieldHeader(
        quantity=quantity,
        level_type=LevelType.SURFACE,
        level=0.0,
        unit="mm",
        reference_time=REFERENCE_TIME,
        lead_start_hours=start,
        lead_hours=end,
        grid=GRID,
        grid_relative_winds=None,
        centre=None,
        path=Path("rain"),
        locator=("message", number),
        packing_step=step_mm,
    )


def chosen(
    headers: list[FieldHeader], lead: int = 25, period: int = 1
) -> list[tuple[int, str, float, float]]:
    """Sign, quantity and range of the terms."""
    return [
        (term.sign, term.header.quantity, term.header.lead_start_hours, term.header.lead_hours)
        for term in rain_terms(rain_fields(headers), lead, period)
    ]


def test_the_period_itself_comes_first_then_the_shortest_difference() -> None:
    hour, since_start = amount(TOTAL, 24, 25), [amount(TOTAL, 0, 24), amount(TOTAL, 0, 25)]
    since_18 = [amount(TOTAL, 18, 25), amount(TOTAL, 18, 24)]
    assert chosen([*since_start, *since_18, hour]) == [(1, TOTAL, 24, 25)]
    assert chosen([*since_start, *since_18]) == [(1, TOTAL, 18, 25), (-1, TOTAL, 18, 24)]
    assert chosen(since_start) == [(1, TOTAL, 0, 25), (-1, TOTAL, 0, 24)]
    assert chosen(since_start[1:]) == []
    assert chosen(since_start, period=2) == []


def test_the_first_hours_of_a_run_need_no_difference() -> None:
    assert chosen([amount(TOTAL, 0, 1)], lead=1) == [(1, TOTAL, 0, 1)]
    assert chosen([amount(TOTAL, 0, 24)], lead=24, period=24) == [(1, TOTAL, 0, 24)]


def test_parts_need_each_other() -> None:
    large = [amount(LARGE, 0, 24), amount(LARGE, 0, 25)]
    convective = [amount(CONVECTIVE, 0, 24), amount(CONVECTIVE, 0, 25)]
    assert chosen(large) == []
    assert chosen(large + convective) == [
        (1, LARGE, 0, 25), (-1, LARGE, 0, 24), (1, CONVECTIVE, 0, 25), (-1, CONVECTIVE, 0, 24),
    ]  # fmt: skip
    total = [amount(TOTAL, 0, 24), amount(TOTAL, 0, 25)]
    assert chosen(large + convective + total) == [(1, TOTAL, 0, 25), (-1, TOTAL, 0, 24)]
    hours = [amount(LARGE, 24, 25), amount(CONVECTIVE, 24, 25)]
    assert chosen(total + hours) == [(1, LARGE, 24, 25), (1, CONVECTIVE, 24, 25)]


def test_of_equal_ranges_the_first_counts() -> None:
    fields = rain_fields([amount(TOTAL, 24, 25, 1), amount(TOTAL, 24, 25, 2)])
    assert rain_terms(fields, 25, 1)[0].header.locator == ("message", 1)


def test_ranges_are_listed_for_people() -> None:
    fields = rain_fields([amount(TOTAL, 0, 25), amount(TOTAL, 24, 25), amount(LARGE, 0, 26)])
    assert rain_ranges(fields, 25) == "precipitation 0-25 h, precipitation 24-25 h"
    assert rain_ranges(fields, 27) == "no precipitation that ends at 27 h"


@given(st.floats(0.0, 500.0, width=32), st.floats(-0.03125, 300.0, width=32), st.floats(0.0, 1.0, width=32))
def test_the_amount_is_the_difference_and_never_negative(before: float, more: float, step_mm: float) -> None:
    later, earlier = amount(TOTAL, 0, 25, 1, step_mm), amount(TOTAL, 0, 24, 2, step_mm)
    fields = {
        later: np.full((2, 3), before + more, np.float32),
        earlier: np.full((2, 3), before, np.float32),
    }
    terms = (Term(later, 1), Term(earlier, -1))
    rain_mm = rain_amount_mm(terms, fields, EVERYWHERE, "lead 25 h")
    assert rain_mm.dtype == np.float32
    np.testing.assert_allclose(rain_mm, max(more, 0.0), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize(
    ("step_mm", "fall_mm", "tolerated"),
    [(0.0, 0.04, True), (0.0, 0.06, False), (0.0625, 0.12, True), (0.0625, 0.2, False)],
)
def test_how_far_an_accumulation_may_fall(step_mm: float, fall_mm: float, *, tolerated: bool) -> None:
    later, earlier = amount(TOTAL, 0, 25, 1, step_mm), amount(TOTAL, 0, 24, 2, step_mm)
    fields = {later: np.full((2, 3), 5.0, np.float32), earlier: np.full((2, 3), 5.0, np.float32)}
    fields[later][1, 2] -= fall_mm
    terms = (Term(later, 1), Term(earlier, -1))
    if tolerated:
        assert (rain_amount_mm(terms, fields, EVERYWHERE, "lead 25 h") == 0.0).all()
        return
    with pytest.raises(PhysicalLimit, match="1 cells"):
        rain_amount_mm(terms, fields, EVERYWHERE, "lead 25 h")
    unused = EVERYWHERE.copy()
    unused[1, 2] = False
    assert (rain_amount_mm(terms, fields, unused, "lead 25 h") == 0.0).all()
