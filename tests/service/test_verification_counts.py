"""A lead of a product against an observation: events, decisions, Brier sums, bins."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import scores.categorical
import scores.probability
import xarray as xr
from numpy.typing import NDArray

from service.contingency import Contingency
from service.product import EXCEEDANCE, RAW_PRECIPITATION
from service.verification_counts import ReliabilityBin, Sum, ThresholdCounts, count_lead, pooled
from tests.service.sample_product import WINDOW, sample_product

THRESHOLDS = (0.1, 10.0)
DECISIONS = (0.375, 0.125)


def observed() -> NDArray[np.float32]:
    """Rain that the raw forecast of lead 26 knows something of, with both thresholds and holes in it."""
    generator = np.random.default_rng(5)
    raw = sample_product()[RAW_PRECIPITATION].sel(lead=26).values
    rain = np.where(generator.random(raw.shape) < 0.5, raw, generator.choice([0.0, 0.1, 10.0], raw.shape))
    rain[generator.random(raw.shape) < 0.1] = np.nan
    rain[3, :2] = 0.0
    return rain.astype(np.float32)


def forecast_product() -> xr.Dataset:
    """The sample product, with raw rain that just reaches the thresholds where it was observed not to."""
    product = sample_product()
    product[RAW_PRECIPITATION].values[1, 3, :2] = THRESHOLDS
    return product


def by_the_scores_package(forecast: xr.DataArray, threshold: float, level: float) -> Contingency:
    rain = xr.DataArray(observed(), dims=("y", "x"))
    event = (rain >= threshold).where(rain.notnull()).astype(np.float32)
    table = (
        scores.categorical.ThresholdEventOperator(default_op_fn=operator.ge)
        .make_contingency_manager(forecast, rain, event_threshold=threshold)
        .transform()
        if level == threshold
        else scores.categorical.BinaryContingencyManager(
            (forecast >= level).where(rain.notnull()).astype(np.float32), event
        ).transform()
    )
    counts = table.get_counts()
    return Contingency(*(int(counts[name]) for name in ("tp_count", "fn_count", "fp_count", "tn_count")))


@pytest.mark.parametrize("index", [0, 1])
def test_totals_agree_with_the_scores_package(index: int) -> None:
    product, rain = forecast_product(), observed()
    counts = count_lead(product, 26, rain)
    threshold = THRESHOLDS[index]
    here = product.sel(lead=26).drop_vars(["y", "x"])
    raw = by_the_scores_package(here[RAW_PRECIPITATION], threshold, threshold)
    assert counts["raw"][index].contingency == raw
    assert counts["raw"][index].reliability == ()
    chance = here[EXCEEDANCE][index]
    model = by_the_scores_package(chance, threshold, DECISIONS[index])
    assert counts["model"][index].contingency == model
    assert min(model.hits, model.misses, model.false_alarms, model.correct_negatives) > 0
    truth = xr.DataArray(rain, dims=("y", "x"))
    event = (truth >= threshold).where(truth.notnull()).astype(np.float64)
    for source, forecast in (
        ("model", chance.astype(np.float64)),
        ("raw", 1.0 * (here[RAW_PRECIPITATION] >= threshold)),
    ):
        brier = float(scores.probability.brier_score(forecast, event))
        one = counts["model" if source == "model" else "raw"][index]
        assert one.brier_sum / one.contingency.cells == pytest.approx(brier)


def test_without_tuned_decisions_the_most_likely_class_decides() -> None:
    product, rain = sample_product(), observed()
    del product[EXCEEDANCE].attrs["decision_probability"]
    counts = count_lead(product, 26, rain)["model"]
    likely = product["most_likely_class"].sel(lead=26).values
    seen = ~np.isnan(rain)
    for index, threshold in enumerate(THRESHOLDS):
        expected = Contingency.of((likely > index)[seen], (rain >= np.float32(threshold))[seen])
        assert counts[index].contingency == expected


def test_a_decision_for_one_threshold_alone() -> None:
    product, rain = sample_product(), observed()
    both = count_lead(product, 26, rain)["model"]
    product[EXCEEDANCE].attrs["decision_probability"] = np.array([np.nan, DECISIONS[1]])
    found = count_lead(product, 26, rain)["model"]
    assert found[1] == both[1]
    assert found[0].contingency != both[0].contingency


def test_reliability_bins() -> None:
    product = sample_product()
    chance = np.zeros((WINDOW.ny, WINDOW.nx), np.float32)
    chance[0, :3], chance[1, :2], chance[2, 0] = 0.1, 0.95, 1.0
    product[EXCEEDANCE].values[0, 1] = chance
    rain = np.full(chance.shape, np.nan, np.float32)
    rain[:3] = 0.0
    rain[0, 0] = rain[1, 0] = rain[2, 0] = 5.0
    bins = count_lead(product, 26, rain)["model"][0].reliability
    dry = 3 * WINDOW.nx - 6
    assert [(one.number, one.forecasts, one.events) for one in bins] == [(0, dry, 0), (1, 3, 1), (9, 3, 2)]
    assert [one.probability_sum for one in bins] == pytest.approx([0.0, 0.3, 2.9])


def test_pooling_adds_leads_and_keeps_the_rest_apart() -> None:
    table, bins = Contingency(1, 2, 3, 4), (ReliabilityBin(2, 10, 2.5, 3),)
    rows = [
        Sum("model", "nano-0.1.0", 0.1, 25, table, 1.5, 4, bins),
        Sum("model", "nano-0.1.0", 0.1, 26, table, 0.5, 5, (*bins, ReliabilityBin(0, 1, 0.0, 0))),
        Sum("model", "nano-0.1.0", 10.0, 25, table, 1.0, 4),
        Sum("raw", "RDAPS-KIM", 0.1, 25, table, 1.0, 4),
    ]
    first, *others = pooled(rows)
    assert first == Sum(
        *("model", "nano-0.1.0", 0.1, None, table + table, 2.0, 9),
        (ReliabilityBin(0, 1, 0.0, 0), ReliabilityBin(2, 20, 5.0, 6)),
    )
    assert first.brier_score == 0.1
    assert [(one.source, one.threshold_mm, one.matches) for one in others] == [
        ("model", 10.0, 4),
        ("raw", 0.1, 4),
    ]
    assert Sum("raw", "RDAPS-KIM", 0.1, None, Contingency()).brier_score is None
    assert ThresholdCounts(0.1, table, 0.0).reliability == ()
