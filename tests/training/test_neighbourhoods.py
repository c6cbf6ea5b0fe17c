"""Fractions skill score: equal to that of the ``scores`` package, and its known values."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scores.spatial import fss_2d

from training.neighbourhoods import NEIGHBOURHOODS_CELLS, fitting, fraction_sums

SHAPE = (3, 24, 32)
EVENTS = hnp.arrays(bool, SHAPE, elements=st.booleans(), fill=st.just(False))


def _fss(sums: np.ndarray) -> float:
    errors, references = sums.sum(axis=0)
    return float(1 - errors / references)


@pytest.mark.parametrize("cells", NEIGHBOURHOODS_CELLS)
def test_it_is_the_score_of_the_package(cells: int) -> None:
    generator = np.random.default_rng(cells)
    warning = generator.random(SHAPE) < 0.1
    event = np.roll(warning, 2, axis=2) ^ (generator.random(SHAPE) < 0.02)
    fields = (xr.DataArray(field.astype(float), dims=("sample", "y", "x")) for field in (warning, event))
    expected = fss_2d(
        *fields,
        event_threshold=0.5,
        window_size=(cells, cells),
        spatial_dims=("y", "x"),
        reduce_dims="all",
    )
    assert _fss(fraction_sums(warning, event)[cells]) == pytest.approx(float(expected), abs=1e-12)


@given(EVENTS, EVENTS)
def test_of_one_cell_it_is_f1(warning: np.ndarray, event: np.ndarray) -> None:
    sums = fraction_sums(warning, event)[1].sum(axis=0)
    assert sums.tolist() == [float((warning ^ event).sum()), float(warning.sum() + event.sum())]


@given(EVENTS)
def test_a_perfect_forecast_has_no_error(event: np.ndarray) -> None:
    for sums in fraction_sums(event, event).values():
        assert (sums[:, 0] == 0).all()


def test_a_small_displacement_costs_less_in_wide_neighbourhoods() -> None:
    event = np.zeros((1, 40, 40), bool)
    event[0, 18:22, 18:22] = True
    scores = [_fss(sums) for sums in fraction_sums(np.roll(event, 4, axis=1), event).values()]
    assert scores[0] == 0
    assert scores == sorted(scores)
    assert scores[-1] > 0.8


def test_fields_that_are_too_small_for_a_neighbourhood_are_not_scored_with_it() -> None:
    assert fitting((11, 40)) == (1, 5, 11)
    field = np.ones((2, 7, 40), bool)
    assert set(fraction_sums(field, field)) == {1, 5}


def test_sums_are_of_fractions_of_the_window() -> None:
    warning, event = np.zeros((2, 1, 9, 10), bool)
    warning[0, 4, :] = True
    sums = fraction_sums(warning, event)[5]
    # Each of the 5 x 6 windows holds one row of warnings, a fifth of its cells.
    assert sums == pytest.approx(np.full((1, 2), 30 / 25))
