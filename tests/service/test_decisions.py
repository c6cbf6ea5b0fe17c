"""What is called: by the decision probabilities of the manifest, without them by the most likely class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.decisions import called, called_classes, decision_probabilities, exceedance
from tests.service.sample_product import sample_manifest, sample_probabilities

MANIFEST = sample_manifest()
UNTUNED = MANIFEST.model_copy(update={"decision_thresholds": {}})
HALF_TUNED = MANIFEST.model_copy(update={"decision_thresholds": {"10.0": 0.125}})


def test_exceedance_is_that_of_all_classes_above() -> None:
    probabilities = sample_probabilities()
    above = exceedance(probabilities)
    np.testing.assert_allclose(above[:, 0], probabilities[:, 1] + probabilities[:, 2], rtol=1e-6)
    np.testing.assert_array_equal(above[:, 1], probabilities[:, 2])
    assert above.max() <= 1.0


def test_decisions_stand_in_the_order_of_the_thresholds() -> None:
    assert decision_probabilities(MANIFEST) == (0.375, 0.125)
    assert decision_probabilities(UNTUNED) == (None, None)
    assert decision_probabilities(HALF_TUNED) == (None, 0.125)


@pytest.mark.parametrize(
    ("probabilities", "tuned", "half_tuned", "untuned"),
    [
        ([0.9, 0.1, 0.0], 0, 0, 0),
        ([0.625, 0.375, 0.0], 1, 0, 0),
        ([0.626, 0.374, 0.0], 0, 0, 0),
        ([0.3, 0.6, 0.1], 1, 1, 1),
        ([0.5, 0.375, 0.125], 2, 2, 0),
        ([0.8, 0.05, 0.15], 2, 2, 0),
        ([0.1, 0.2, 0.7], 2, 2, 2),
        ([np.nan, np.nan, np.nan], 0, 0, 0),
    ],
)
def test_called_by_hand(probabilities: list[float], tuned: int, half_tuned: int, untuned: int) -> None:
    field = np.array(probabilities, np.float32)[None, :, None, None]
    manifests = (MANIFEST, HALF_TUNED, UNTUNED)
    assert [int(called_classes(field, one)[0, 0, 0]) for one in manifests] == [tuned, half_tuned, untuned]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.floats(0, 1), st.floats(0, 1))
def test_a_lower_decision_never_calls_less(decisions: list[float], one: float, other: float) -> None:
    reached = [np.array([max(one, other)], np.float32), np.array([min(one, other)], np.float32)]
    likely = np.zeros(1, np.int8)
    before = called(reached, likely, decisions)
    for number in range(2):
        lower = [*decisions]
        lower[number] /= 2
        assert (called(reached, likely, lower) >= before).all()
