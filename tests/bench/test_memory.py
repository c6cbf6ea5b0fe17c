"""Peak memory is that of the process that is measured, and not of the one that started it."""

from __future__ import annotations

import numpy as np

from tests.bench.memory import peak_mib
from tests.shipped_model import SHIPPED


def test_a_large_parent_does_not_count() -> None:
    ballast = np.ones(100_000_000)
    peak = peak_mib("onnx", str(SHIPPED / "model.onnx"))
    assert 20 < peak < ballast.nbytes / 2**20
