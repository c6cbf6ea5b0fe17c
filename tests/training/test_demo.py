"""What the demo prints; ``make demo`` itself runs in ``.ci/run``."""

from __future__ import annotations

import numpy as np

from service.layers import called_class
from service.product import RAW_PRECIPITATION
from tests.service.sample_product import sample_product
from training.demo import _table


def test_the_table_has_what_the_model_calls_beside_the_raw_forecast() -> None:
    dataset = sample_product()
    called, raw_mm = called_class(dataset), dataset[RAW_PRECIPITATION].values
    assert (called == 2).sum() != (dataset["most_likely_class"].values == 2).sum()
    table = _table(dataset)
    assert list(table.columns[0].cells) == ["25", "26", "27"]
    assert list(table.columns[3].cells) == [
        f"{100 * np.mean(called[index] == 2):.1f} | {100 * np.mean(raw_mm[index] >= 10):.1f}"
        for index in range(3)
    ]
