"""Impossible values and their usual causes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.limits import SENTINELS, diagnosis

SOUND = np.linspace(270.0, 300.0, 50, dtype=np.float32)


@pytest.mark.parametrize("sentinel", SENTINELS)
def test_a_sentinel_is_recognised_in_any_unit_it_may_have_passed_through(sentinel: float) -> None:
    for shown in (sentinel, sentinel + 273.15, sentinel * 100.0):
        assert f"{sentinel:g}, a sentinel" in diagnosis(np.array([shown, 400.0], np.float32), SOUND)


@given(st.integers(-3, 3).filter(bool), st.sampled_from([655.36, 65.536, 6553.6, 65536.0]))
def test_multiples_of_a_wrapped_range_are_recognised(turns: int, step: float) -> None:
    sound = np.linspace(280.0, 290.0, 50, dtype=np.float32)
    wrong = (sound[5:9] + np.float32(turns * step)).astype(np.float32)
    assert f"multiples of {step:g}: 16-bit" in diagnosis(wrong, sound)


def test_other_values_are_not_explained_away() -> None:
    assert diagnosis(np.array([400.0, 412.5], np.float32), SOUND) == ""
    assert diagnosis(np.array([1234.5], np.float32), SOUND[:0]) == ""
    # Sound values that span the step itself tell nothing of wrapping.
    wide = np.linspace(0.0, 700.0, 50, dtype=np.float32)
    assert "655.36" not in diagnosis(np.array([-655.0], np.float32), wide)
