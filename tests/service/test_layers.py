"""Layers for the map: what is packed, and that it says what the product says."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.errors import NotFound
from service.layers import (
    PACKINGS,
    called_class,
    decision_probabilities,
    find_layer,
    layers_of,
    pack_layer,
    pack_observations,
)
from service.product import EXCEEDANCE, MISSING, RAW_PRECIPITATION, build_product
from service.verification_counts import count_lead
from tests.service.sample_product import (
    PROVENANCE,
    WINDOW,
    sample_cycle,
    sample_manifest,
    sample_probabilities,
    sample_product,
)

SHAPE = (3, WINDOW.ny, WINDOW.nx)


def partial_product() -> xr.Dataset:
    """Lead 26 of three is missing."""
    cycle = sample_cycle((25, 27))
    return build_product(cycle, sample_probabilities(2), sample_manifest(), PROVENANCE)


def unpacked(content: bytes, kind: str) -> NDArray[np.float64]:
    packing = PACKINGS[kind]  # type: ignore[index]
    integers = np.frombuffer(content, np.dtype(packing.storage).newbyteorder("<")).reshape(SHAPE)
    return np.where(integers == packing.missing, np.nan, integers * packing.step)


@pytest.mark.parametrize("name", ["probability-0.1", "probability-10", "raw"])
def test_a_layer_holds_the_products_values_within_a_step(name: str) -> None:
    dataset = partial_product()
    layer = find_layer(dataset, name)
    expected = {
        "probability-0.1": dataset[EXCEEDANCE].values[0],
        "probability-10": dataset[EXCEEDANCE].values[1],
        "raw": dataset[RAW_PRECIPITATION].values,
    }[name]
    values = unpacked(pack_layer(dataset, layer), layer.kind)
    assert np.isnan(values[1]).all()
    np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
    difference = (expected - values)[[0, 2]]
    assert difference.max() < PACKINGS[layer.kind].step
    assert difference.min() > -1e-6


@given(st.floats(0.0, 600.0, width=32), st.integers(1, 50_000))
def test_packing_keeps_amounts_on_their_side_of_a_threshold(amount: float, steps: int) -> None:
    """For thresholds of whole steps, unless the amount is within the rounding of a step from it."""
    packing = PACKINGS["rain"]
    threshold = steps * packing.step
    (stored,) = np.frombuffer(packing.pack(np.array([amount], np.float32)), "<u2")
    if abs(amount - threshold) > 2e-6 * threshold + 2e-8:
        assert (int(stored) >= steps) == (amount >= threshold)


@pytest.mark.parametrize("amount", [0.1, 0.7, 10.0, 30.0])
def test_an_amount_of_a_threshold_is_not_below_it(amount: float) -> None:
    packing = PACKINGS["rain"]
    (stored,) = np.frombuffer(packing.pack(np.array([amount], np.float32)), "<u2")
    assert stored == round(amount / packing.step)


def test_what_is_too_large_stays_a_value() -> None:
    packing = PACKINGS["rain"]
    stored = np.frombuffer(packing.pack(np.array([1e6, np.nan])), "<u2")
    assert stored.tolist() == [packing.missing - 1, packing.missing]


def test_the_class_is_called_as_verification_counts_it() -> None:
    """Heavy rain exactly so, rain in those cells too where only heavy rain is called."""
    dataset = sample_product()
    called = called_class(dataset)
    nothing_mm = np.zeros(SHAPE[1:], np.float32)
    for index, lead in enumerate(dataset["lead"].values.tolist()):
        rain, heavy = count_lead(dataset, lead, nothing_mm)["model"]
        above = dataset[EXCEEDANCE].values[:, index]
        heavy_alone = (above[1] >= 0.125) & (above[0] < 0.375)
        assert int((called[index] == 2).sum()) == heavy.contingency.false_alarms
        assert int((called[index] >= 1).sum()) == rain.contingency.false_alarms + heavy_alone.sum()


def test_the_class_is_called_by_decision_probabilities() -> None:
    dataset = sample_product()
    assert decision_probabilities(dataset) == (0.375, 0.125)
    called = called_class(dataset)
    assert ((called == 2) == (dataset[EXCEEDANCE].values[1] >= 0.125)).all()
    assert (called == 2).sum() > (dataset["most_likely_class"].values == 2).sum()


def test_without_decision_probabilities_the_most_likely_class_is_called() -> None:
    manifest = sample_manifest().model_copy(update={"decision_thresholds": {}})
    dataset = build_product(sample_cycle(), sample_probabilities(), manifest, PROVENANCE)
    assert decision_probabilities(dataset) == (None, None)
    np.testing.assert_array_equal(called_class(dataset), dataset["most_likely_class"].values)


def test_no_class_is_called_for_a_missing_lead() -> None:
    dataset = partial_product()
    assert dataset["lead_status"].values[1] == MISSING
    assert np.isnan(called_class(dataset)[1]).all()
    assert np.isnan(unpacked(pack_layer(dataset, find_layer(dataset, "class")), "class")[1]).all()


def test_observations_stand_at_their_leads() -> None:
    rain_mm = np.full(SHAPE[1:], 2.5, np.float32)
    rain_mm[0, 0] = np.nan
    values = unpacked(pack_observations([None, rain_mm, None], SHAPE[1:]), "rain")
    assert np.isnan(values[[0, 2]]).all()
    np.testing.assert_allclose(values[1], rain_mm)


def test_layers_have_names_of_their_own_and_others_are_refused() -> None:
    dataset = sample_product()
    names = [layer.name for layer in layers_of(dataset)]
    assert names == ["probability-0.1", "probability-10", "class", "raw", "observed"]
    with pytest.raises(NotFound, match="one of probability-"):
        find_layer(dataset, "snow")
