"""Folds put together, by day."""

import numpy as np

from tests.training.sample_evaluations import evaluation, probability, reliability
from training.daily_sums import DailySums

FITTED = reliability(2, 9.0, {3: (10, 1, 1.5)})
CALIBRATED = reliability(2, 4.0, {3: (10, 1, 1.5), 4: (6, 1, 1.3)})
PROBABILITIES = probability(2, FITTED, CALIBRATED)
SUMS = DailySums(
    [
        evaluation({"tuned": [(5, 12), (6, 7)]}, fold=0, probabilities=PROBABILITIES),
        evaluation({"tuned": [(1, 2), (3, 4)]}, fold=1, days=["b", "a"], probabilities=PROBABILITIES),
    ]
)


def test_days_and_cells_of_all_folds() -> None:
    assert SUMS.days == ("2022-08-01", "2022-08-02", "b", "a")
    assert SUMS.cells["b"] == {25: 100, 28: 100}
    assert SUMS.leads_hours == (25, 28)


def test_counts_of_one_lead_and_of_all() -> None:
    both, one = SUMS.counts(0.1, "tuned"), SUMS.counts(0.1, "tuned", 28)
    assert both is not None
    assert one is not None
    assert one.tolist() == [[5, 15, 7, 73], [6, 14, 1, 79], [1, 19, 1, 79], [3, 17, 1, 79]]
    assert np.array_equal(both, 2 * one)
    assert SUMS.counts(0.1, "value") is None


def test_fractions_by_neighbourhood() -> None:
    fractions = SUMS.fractions(10.0, "tuned")
    assert fractions[1].tolist() == [[44.0, 64.0], [30.0, 54.0], [40.0, 44.0], [36.0, 48.0]]
    assert SUMS.fractions(10.0, "argmax") == {}


def test_squared_errors_of_forecast_and_climatology() -> None:
    after, before = (SUMS.squared_errors(0.1, calibrated=chosen) for chosen in (True, False))
    assert after is not None
    assert before is not None
    assert after.tolist() == [[4.0, 32.5, 200.0]] * 4
    assert before[:, 0].tolist() == [9.0] * 4


def test_bins_are_added() -> None:
    bins = SUMS.bins(0.1, calibrated=True)
    assert bins is not None
    assert bins[3].tolist() == [20, 2, 3.0]
    assert bins[4].tolist() == [12, 2, 2.6]
    assert bins[[0, 5]].sum() == 0


def test_amounts_have_no_probabilities() -> None:
    amounts = DailySums([evaluation({"value": [(5, 12)]})])
    assert amounts.squared_errors(0.1, calibrated=True) is None
    assert amounts.bins(0.1, calibrated=True) is None
