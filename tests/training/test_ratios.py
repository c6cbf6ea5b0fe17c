"""Ratios of known counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training.counting import critical_success_index
from training.ratios import RATIOS, ratios

COUNTS = hnp.arrays(np.int64, (3, 4), elements=st.integers(0, 10_000))


def test_known_counts() -> None:
    found = ratios(np.array([30, 20, 60, 90]))
    assert found["csi"] == pytest.approx(30 / 110)
    assert found["precision"] == pytest.approx(30 / 90)
    assert found["recall"] == pytest.approx(30 / 50)
    assert found["frequency_bias"] == pytest.approx(90 / 50)
    assert found["f1"] == pytest.approx(60 / 140)
    chance = 90 * 50 / 200
    assert found["ets"] == pytest.approx((30 - chance) / (110 - chance))


def test_without_a_warning_all_are_zero() -> None:
    assert {name: float(value) for name, value in ratios(np.array([0, 5, 0, 95])).items()} == dict.fromkeys(
        RATIOS, 0.0
    )


@settings(max_examples=20)
@given(COUNTS)
def test_rows_are_scored_one_by_one(counts: np.ndarray) -> None:
    together = ratios(counts)
    for place, row in enumerate(counts):
        alone = ratios(row)
        for name in RATIOS:
            np.testing.assert_allclose(together[name][place], alone[name], rtol=1e-12)
    np.testing.assert_allclose(together["csi"], critical_success_index(counts), rtol=1e-12)
    np.testing.assert_allclose(together["csi"] * (2 - together["f1"]), together["f1"], atol=1e-12)
