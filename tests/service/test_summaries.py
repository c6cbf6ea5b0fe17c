"""The few numbers of a cycle, against the same made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from service.artefact import Normalisation
from service.summaries import ClassRatio, CycleSummary, summarise
from tests.service.sample_product import CHANNELS, sample_cycle, sample_manifest, sample_probabilities


def ratios(summary: CycleSummary, source: str, lead_hours: int) -> dict[str, float]:
    found = [one for one in summary.classes if (one.source, one.lead_hours) == (source, lead_hours)]
    return {one.name: one.ratio for one in found}


def test_channels_are_summarised_as_z_scores() -> None:
    cycle = sample_cycle()
    normalisation = {
        "temperature_2m": Normalisation(mean=290.0, standard_deviation=5.0),
        "precipitation_1h": Normalisation(mean=1.0, standard_deviation=2.0),
    }
    manifest = sample_manifest().model_copy(update={"normalisation": normalisation})
    summary = summarise(cycle, sample_probabilities(), manifest)
    assert tuple(summary.channels) == CHANNELS
    for index, (name, constants) in enumerate(normalisation.items()):
        values = cycle.values[:, index].astype(np.float64)
        found = summary.channels[name]
        assert found.mean == pytest.approx(
            (values.mean() - constants.mean) / constants.standard_deviation, abs=1e-5
        )
        assert found.standard_deviation == pytest.approx(
            values.std() / constants.standard_deviation, rel=1e-5
        )
        furthest = np.abs(values - constants.mean).max()
        assert found.largest == pytest.approx(furthest / constants.standard_deviation, rel=1e-5)
        assert found.missing_ratio == 0.0


def test_holes_and_missing_leads_are_missing() -> None:
    cycle = sample_cycle((25, 27))
    values = cycle.values.copy()
    values[0, 0] = np.nan
    summary = summarise(replace(cycle, values=values), sample_probabilities(2), sample_manifest())
    assert summary.channels["temperature_2m"].missing_ratio == pytest.approx(2 / 3)
    assert summary.channels["precipitation_1h"].missing_ratio == pytest.approx(1 / 3)
    assert summary.channels["temperature_2m"].mean == pytest.approx(values[1, 0].mean(), rel=1e-6)


def test_a_channel_without_any_value_is_all_missing() -> None:
    cycle = sample_cycle()
    values = cycle.values.copy()
    values[:, 0] = np.nan
    summary = summarise(replace(cycle, values=values), sample_probabilities(), sample_manifest())
    assert summary.channels["temperature_2m"].missing_ratio == 1.0
    assert summary.channels["temperature_2m"].largest == 0.0


def test_classes_of_model_and_raw_forecast_are_counted_by_lead() -> None:
    cycle, probabilities = sample_cycle((25, 26, 27)), sample_probabilities()
    summary = summarise(cycle, probabilities, sample_manifest())
    for index, lead in enumerate((25, 26, 27)):
        heavy = probabilities[index, 2] >= 0.125
        rain = ~heavy & (probabilities[index, 1:].sum(axis=0) >= 0.375)
        rain_mm = cycle.values[index, 1]
        assert ratios(summary, "model", lead) == {
            "no_rain": pytest.approx(1 - heavy.mean() - rain.mean()),
            "rain": pytest.approx(rain.mean()),
            "heavy_rain": pytest.approx(heavy.mean()),
        }
        assert ratios(summary, "raw", lead) == {
            "no_rain": pytest.approx((rain_mm < np.float32(0.1)).mean()),
            "rain": pytest.approx(((rain_mm >= np.float32(0.1)) & (rain_mm < 10)).mean()),
            "heavy_rain": pytest.approx((rain_mm >= 10).mean()),
        }


def test_an_amount_equal_to_a_threshold_lies_above_it() -> None:
    cycle = sample_cycle()
    values = cycle.values.copy()
    values[0, 1], values[1, 1], values[2, 1] = 0.1, 10.0, np.nextafter(np.float32(0.1), np.float32(0.0))
    summary = summarise(replace(cycle, values=values), sample_probabilities(), sample_manifest())
    assert ratios(summary, "raw", 25)["rain"] == 1.0
    assert ratios(summary, "raw", 26)["heavy_rain"] == 1.0
    assert ratios(summary, "raw", 27)["no_rain"] == 1.0


def test_a_summary_survives_json() -> None:
    summary = summarise(sample_cycle(), sample_probabilities(), sample_manifest())
    assert CycleSummary.model_validate_json(summary.model_dump_json()) == summary
    assert all(isinstance(one, ClassRatio) for one in summary.classes)
