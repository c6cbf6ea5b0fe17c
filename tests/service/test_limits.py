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


def test_rain_beyond_the_largest_signed_integer_is_recognised() -> None:
    rain_mm = np.linspace(0.0, 360.0, 200, dtype=np.float32)
    written = np.where(rain_mm > 327.67, rain_mm - 655.36, rain_mm).astype(np.float32)
    assert "multiples of 655.36" in diagnosis(written[written < 0], written[written >= 0])
    assert diagnosis(np.array([-300.0], np.float32), rain_mm[:50]) == ""


def test_other_values_are_not_explained_away() -> None:
    assert diagnosis(np.array([400.0, 412.5], np.float32), SOUND) == ""
    assert diagnosis(np.array([1234.5], np.float32), SOUND[:0]) == ""
    # Sound values that span the step itself tell nothing of wrapping.
    wide = np.linspace(0.0, 700.0, 50, dtype=np.float32)
    assert "655.36" not in diagnosis(np.array([-655.0], np.float32), wide)
