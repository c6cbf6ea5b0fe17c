"""Counts and scores agree with the ``scores`` package."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import scores.categorical
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contingency import SCORES, Contingency

PEERS = {
    "critical_success_index": "critical_success_index",
    "probability_of_detection": "probability_of_detection",
    "false_alarm_ratio": "false_alarm_ratio",
    "precision": "precision",
    "recall": "recall",
    "f1": "f1_score",
    "frequency_bias": "frequency_bias",
}


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.1, 10.0]))
def test_counts_and_scores_are_those_of_the_scores_package(seed: int, threshold: float) -> None:
    generator = np.random.default_rng(seed)
    choices = [0.0, 0.05, 0.1, 1.0, 10.0, 30.0]
    forecast, observed = generator.choice(choices, (2, 40)).astype(np.float32)
    ours = Contingency.of(forecast >= threshold, observed >= threshold)
    theirs = (
        scores.categorical.ThresholdEventOperator(default_op_fn=operator.ge)
        .make_contingency_manager(xr.DataArray(forecast), xr.DataArray(observed), event_threshold=threshold)
        .transform()
    )
    counts = {name: int(value) for name, value in theirs.get_counts().items()}
    assert counts == {
        "tp_count": ours.hits,
        "tn_count": ours.correct_negatives,
        "fp_count": ours.false_alarms,
        "fn_count": ours.misses,
        "total_count": ours.cells,
    }
    assert set(PEERS) == set(SCORES)
    for name, peer in PEERS.items():
        value = SCORES[name](ours)
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = float(getattr(theirs, peer)())
        if value is None:
            assert not np.isfinite(expected), name
        else:
            assert value == pytest.approx(expected), name


def test_tables_add_up() -> None:
    assert Contingency(1, 2, 3, 4) + Contingency(10, 20, 30, 40) == Contingency(11, 22, 33, 44)
    assert all(function(Contingency(correct_negatives=9)) is None for function in SCORES.values())
