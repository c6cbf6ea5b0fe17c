"""Counting and tuning against counts made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training.counting import (
    AMOUNTS_MM,
    PROBABILITIES,
    Observed,
    counts_by_level,
    critical_success_index,
    tuned_level,
)
from training.samples import DataSettings, Split

FIELD = hnp.arrays(np.float32, (3, 4), elements=st.floats(0, 20, width=32))


@given(FIELD, FIELD)
def test_counts_equal_direct_comparison(strength: np.ndarray, observed: np.ndarray) -> None:
    observed[0, 0] = np.nan
    levels = np.array([0.5, 1.0, 7.0])
    counts = counts_by_level(strength, observed, 10.0, levels)
    seen = ~np.isnan(observed)
    for level, row in zip(levels, counts, strict=True):
        warning, event = strength >= level, observed >= 10
        direct = [event & warning, event & ~warning, ~event & warning & seen, ~event & ~warning & seen]
        assert row.tolist() == [int(field.sum()) for field in direct]
        assert row.sum() == 11


@pytest.mark.parametrize("levels", [AMOUNTS_MM, PROBABILITIES])
def test_a_strength_at_a_level_reaches_it(levels: np.ndarray) -> None:
    strength = levels.astype(np.float32)
    counts = counts_by_level(strength, np.full(len(levels), 20, np.float32), 10, levels)
    assert counts[:, 0].tolist() == list(range(len(levels), 0, -1))


def test_csi_without_events_or_warnings_is_zero() -> None:
    assert critical_success_index(np.array([0, 0, 0, 9])) == 0


def test_tuning_finds_the_level_that_separates() -> None:
    observed = np.array([0, 0, 12, 15], np.float32)
    strength = np.array([0.1, 0.2, 0.55, 0.9], np.float32)
    assert tuned_level(strength, observed, 10, np.array([0.1, 0.4, 0.8])) == (0.4, 1.0)


def test_cells_are_counted_by_day_and_lead(dataset: DataSettings) -> None:
    split = Split(dataset, "test")
    observed = Observed.of(split)
    assert observed.days == tuple(f"2022-08-0{day}" for day in range(1, 6))
    assert observed.leads_hours == (25, 28)
    assert observed.table(observed.seen) == ((32 * 32 - 3,) * 2,) * 5
    cells = np.zeros(observed.rain_mm.shape, bool)
    cells[5, 3, :7] = True  # the second lead of the third cycle
    assert observed.table(cells) == ((0, 0), (0, 0), (0, 7), (0, 0), (0, 0))
    assert observed.by_day(np.arange(10.0)).tolist() == [1, 5, 9, 13, 17]


def test_no_event_where_nothing_was_observed(dataset: DataSettings) -> None:
    observed = Observed.of(Split(dataset, "test"))
    assert not observed.seen[:, 0, :3].any()
    assert not observed.event(0.0)[:, 0, :3].any()
    assert observed.event(0.0)[observed.seen].all()


def test_several_cycles_of_a_day_are_one_day() -> None:
    rain = np.zeros((4, 2, 2), np.float32)
    observed = Observed(rain, ("a", "b"), np.array([0, 0, 1, 1]), (25,), np.zeros(4, np.intp))
    assert observed.table(np.ones(rain.shape, bool)) == ((8,), (8,))
