"""Parameters of a product beside its variables."""

from __future__ import annotations

import numpy as np
import pytest

from service.product import EXCEEDANCE, NO_CLASS, RAW_PRECIPITATION
from service.product_parameters import parameter_values, parameters_of
from tests.service.sample_product import sample_product


def test_names_units_and_values() -> None:
    product = sample_product()
    found = {one.name: one for one in parameters_of(product)}
    expected = {
        "class_probability_no_rain": product["class_probability"][:, 0],
        "class_probability_rain": product["class_probability"][:, 1],
        "class_probability_heavy_rain": product["class_probability"][:, 2],
        f"{EXCEEDANCE}_0.1_mm": product[EXCEEDANCE][0],
        f"{EXCEEDANCE}_10_mm": product[EXCEEDANCE][1],
        "most_likely_class": product["most_likely_class"],
        RAW_PRECIPITATION: product[RAW_PRECIPITATION],
    }
    assert list(found) == list(expected)
    for name, values in expected.items():
        half = 0.5 * 10.0 ** -found[name].decimals * 1.01
        np.testing.assert_allclose(parameter_values(product, found[name]), values, rtol=0, atol=half)
    assert {found[name].unit for name in expected} == {"1", "mm", None}
    assert found["most_likely_class"].categories == ("no_rain", "rain", "heavy_rain")
    assert len({one.property_id for one in found.values()}) == len(found)


@pytest.mark.parametrize("fill", [NO_CLASS, np.nan], ids=["as made", "as read"])
def test_a_missing_class_is_nan(fill: float) -> None:
    product = sample_product()
    product["most_likely_class"] = product["most_likely_class"].astype(np.float32)
    product["most_likely_class"][1] = fill
    (parameter,) = (one for one in parameters_of(product) if one.categories)
    values = parameter_values(product, parameter)
    assert np.isnan(values[1]).all()
    assert not np.isnan(values[[0, 2]]).any()
