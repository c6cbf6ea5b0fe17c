"""The gate: what is measured, what passes, what does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from service.artefact import Normalisation
from service.cycle import CycleInput
from service.errors import GateRefused
from service.gate import GateLimits, Health, judge, measure
from tests.service.sample_product import WINDOW, sample_cycle, sample_manifest, sample_probabilities

LIMITS = GateLimits(z_mean=10.0, heaviest_share=0.5)
MANIFEST = sample_manifest().model_copy(
    update={
        "normalisation": {
            "temperature_2m": Normalisation(mean=290.0, standard_deviation=5.0),
            "precipitation_1h": Normalisation(mean=2.0, standard_deviation=4.0),
        },
        "decision_thresholds": {"0.1": 0.375, "10.0": 0.3},
    }
)


def health(
    values: NDArray[np.float32] | None = None, probabilities: NDArray[np.float32] | None = None
) -> Health:
    """Of the sample, or of what stands in its place."""
    cycle: CycleInput = sample_cycle() if values is None else replace(sample_cycle(), values=values)
    return measure(cycle, sample_probabilities() if probabilities is None else probabilities, MANIFEST)


def test_scores_are_those_of_the_manifest() -> None:
    values = sample_cycle().values
    scores = (values[1, 0].astype(np.float64) - 290.0) / 5.0
    lead = health().leads[1]
    assert lead.lead_hours == 26
    assert lead.z_mean["temperature_2m"] == pytest.approx(scores.mean(), abs=1e-5)
    assert lead.z_deviation["temperature_2m"] == pytest.approx(scores.std(), rel=1e-5)
    assert lead.z_extreme["temperature_2m"] == pytest.approx(np.abs(scores).max(), rel=1e-5)
    assert lead.nan_ratio == {"temperature_2m": 0.0, "precipitation_1h": 0.0}


def test_shares_are_those_of_the_classes_that_are_called() -> None:
    probabilities = sample_probabilities()[2]
    heavy = probabilities[2] >= 0.3
    rain = ~heavy & (probabilities[1] + probabilities[2] >= 0.375)
    shares = health().leads[2].class_shares
    assert list(shares) == list(MANIFEST.classes)
    expected = [1 - heavy.mean() - rain.mean(), rain.mean(), heavy.mean()]
    assert list(shares.values()) == pytest.approx(expected)


def test_a_sound_cycle_passes() -> None:
    judge(health(), LIMITS)


def test_input_unlike_any_that_the_network_saw_is_refused() -> None:
    values = sample_cycle().values.copy()
    values[1, 0] += 60.0
    with pytest.raises(GateRefused) as caught:
        judge(health(values), LIMITS)
    assert caught.value.where == "lead 26 h, temperature_2m"
    assert caught.value.expected == "z-scores with a mean from -10 to 10"
    assert "a mean of 12" in caught.value.got
    judge(health(values), replace(LIMITS, z_mean=13.0))


def test_a_hole_in_the_input_is_refused() -> None:
    values = sample_cycle().values.copy()
    values[0, 1, 3, 4] = np.nan
    measured = health(values)
    assert measured.leads[0].nan_ratio["precipitation_1h"] == 1 / (WINDOW.ny * WINDOW.nx)
    assert np.isfinite(measured.leads[0].z_mean["precipitation_1h"] or np.nan)
    with pytest.raises(GateRefused, match=r"none in 0\.17% of the cells"):
        judge(measured, LIMITS)
    values[0, 1] = np.nan
    assert health(values).leads[0].z_mean["precipitation_1h"] is None
    assert Health.model_validate_json(health(values).model_dump_json()) == health(values)


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.2, 0.0])
def test_what_is_no_probability_is_refused(value: float) -> None:
    probabilities = sample_probabilities()
    probabilities[2, 1, 5, 6] = value
    measured = health(probabilities=probabilities)
    assert [lead.invalid_cells for lead in measured.leads] == [0, 0, 1]
    with pytest.raises(GateRefused, match=r"lead 27 h.*other values in 1 cells"):
        judge(measured, LIMITS)


def test_heavy_rain_nearly_everywhere_is_refused() -> None:
    """Also where it is nowhere the most likely class: a calibrated model hardly ever has it there."""
    probabilities = sample_probabilities()
    probabilities[0] = np.array([0.4, 0.3, 0.3], np.float32)[:, None, None]
    with pytest.raises(GateRefused, match="heavy_rain called in at most 50% of the cells; got: in 100%"):
        judge(health(probabilities=probabilities), LIMITS)
    judge(health(probabilities=probabilities), replace(LIMITS, heaviest_share=1.0))


def test_of_many_findings_some_are_named_and_the_rest_counted() -> None:
    values = sample_cycle().values + np.float32(500.0)
    with pytest.raises(GateRefused) as caught:
        judge(health(values), LIMITS)
    assert caught.value.where.endswith("and 2 more")
