"""The oracles: they know the truth where a forecast fixes it, and are calibrated where it does not."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from training import convection, simulate
from training.convection import TileSpectrum
from training.domain import WINDOW
from training.oracle import ORACLES, Hour, posterior
from training.simulate import draw_cycle, simulate_cycle

TIME = np.datetime64("2022-08-07T06", "s")
LEAD = 27
CYCLES, MEMBERS = 10, 5
Field = NDArray[np.float32]


def hour(seed: int) -> Hour:
    return Hour(draw_cycle(seed, TIME, (LEAD,)), TIME, LEAD, seed)


def certain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forecast whose state knows all waves, and a nature without cells."""
    monkeypatch.setattr(simulate, "STATE_COHERENT_ABOVE_KM", 0.0)
    monkeypatch.setattr(convection, "CELL_BIRTHS_PER_HOUR", 0)


def spectra(seed: int) -> list[TileSpectrum]:
    """Of nature, of the state and of the rain, of one power."""
    random = np.random.default_rng(seed)
    return [convection.draw_spectrum(random, 420.0, 22.0, 3.0, 5.0, 0.7) for _ in range(3)]


@lru_cache(maxsize=1)
def drawn() -> tuple[Field, Field]:
    """Truth (cycle, y, x) and members (cycle, member, oracle, y, x) [mm]."""
    hours = [hour(seed) for seed in range(CYCLES)]
    members = np.stack([[each.member(number) for number in range(MEMBERS)] for each in hours])
    return np.stack([each.truth() for each in hours]), members


def test_truth_is_the_rain_of_the_simulation() -> None:
    cycle = simulate_cycle(3, TIME, (26, 27))
    draw = draw_cycle(3, TIME, (26, 27))
    for lead, whole in zip(cycle.leads_hours, cycle.qpe_mm, strict=True):
        expected = whole[WINDOW.slices]
        assert (expected > 1.0).any()
        np.testing.assert_allclose(Hour(draw, TIME, lead, 3).truth(), expected, atol=1e-4)


def test_posterior_is_that_of_linear_regression_on_both_observations() -> None:
    """Against the general formula, coefficient by coefficient, with the observations made here."""
    nature, state, rain = spectra(0)
    found = posterior(nature, state, rain, LEAD)
    turn = np.exp(1j * nature.frequency * 0.5)
    truth = nature.at(LEAD - 0.5, (0.0, 0.0))
    c = convection.coherence(simulate.STATE_COHERENT_ABOVE_KM * LEAD / simulate.ERROR_LEAD_HOURS)
    d = convection.coherence(simulate.RAIN_COHERENT_ABOVE_KM * (LEAD - 0.5) / simulate.ERROR_LEAD_HOURS)
    seen_state = c * truth * turn + np.sqrt(1 - c**2) * state.at(LEAD, (0.0, 0.0))
    seen_rain = d * truth + np.sqrt(1 - d**2) * rain.at(LEAD - 0.5, (0.0, 0.0))
    for place in [(1, 2), (0, 9), (10, 10), (140, 4), (30, 40), (0, 60)]:
        power = nature.power[place]
        covariance = power * np.array([[1.0, c[place] * d[place]], [c[place] * d[place], 1.0]])
        shared = power * np.array([c[place], d[place]])
        weights = np.linalg.solve(covariance, shared)
        # The state half an hour earlier, had its waves turned as nature's.
        seen = np.array([seen_state[place] / turn[place], seen_rain[place]])
        assert found.mean[place] == pytest.approx(weights @ seen, rel=1e-6)
        assert found.deviation[place] ** 2 == pytest.approx(power - shared @ weights, rel=1e-4, abs=1e-12)


def test_truth_lies_around_the_posterior_mean_as_far_as_its_deviation_says() -> None:
    departures: list[NDArray[np.float64]] = []
    sampled: list[NDArray[np.float64]] = []
    random = np.random.default_rng(1)
    for seed in range(40):
        nature, state, rain = spectra(seed)
        found = posterior(nature, state, rain, LEAD)
        chosen = found.deviation > 1e-9
        truth = nature.at(LEAD - 0.5, (0.0, 0.0))
        for values, spectrum in (
            (departures, truth),
            (sampled, found.sample(convection.draw_noise(random))),
        ):
            values.append(np.abs((spectrum - found.mean)[chosen] / found.deviation[chosen]) ** 2)
    for values in (departures, sampled):
        assert np.concatenate(values).mean() == pytest.approx(1.0, abs=0.01)


def test_a_forecast_that_knows_the_waves_leaves_no_doubt_without_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certain(monkeypatch)
    there = hour(5)
    truth = there.truth()
    assert (truth >= 0.1).mean() > 0.02
    bound, estimate = there.member(0)
    np.testing.assert_allclose(bound, truth, atol=1e-3)
    assert np.abs(estimate - truth).max() > 0.5  # it does not know where the state is displaced


def test_estimate_is_the_bound_where_the_state_has_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE_SHIFT_KM", "STATE_WARP_KM", "STATE_MOISTURE_ERROR"):
        monkeypatch.setattr(simulate, name, 0.0)
    bound, estimate = hour(0).member(0)
    np.testing.assert_allclose(estimate, bound, atol=1e-4)
    assert np.abs(bound - hour(0).truth()).max() > 0.5


def test_members_differ_and_are_the_same_when_drawn_again() -> None:
    there = hour(0)
    first = there.member(1)
    assert first.shape == (len(ORACLES), 224, 128)
    assert not np.array_equal(first, there.member(2))
    np.testing.assert_array_equal(first, hour(0).member(1))


def test_members_have_other_cells_than_nature(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the waves known, what is left of the difference is the cells."""
    monkeypatch.setattr(simulate, "STATE_COHERENT_ABOVE_KM", 0.0)
    there = hour(0)
    truth, bound = there.truth(), there.member(0)[0]
    heavy = (truth >= 10.0) | (bound >= 10.0)
    assert heavy.sum() > 50
    assert ((truth >= 10.0) & (bound >= 10.0)).sum() < 0.5 * heavy.sum()


@pytest.mark.parametrize("place", range(len(ORACLES)), ids=ORACLES)
def test_the_truth_could_be_a_member(place: int) -> None:
    """Calibration: it rains as often as the members say, and where they do."""
    truth, members = drawn()
    event, said = truth >= 0.1, members[:, :, place] >= 0.1
    surplus = (event - said.mean(axis=1)).mean(axis=(1, 2))
    assert abs(surplus.mean()) < 3 * surplus.std() / np.sqrt(CYCLES)
    # What the other members say where one of them rains is what calibrated members say of the truth.
    others = said.sum(axis=1, keepdims=True) - said
    for low, high in ((1, 2), (3, MEMBERS - 1)):
        expected = said[(others >= low) & (others <= high)].mean()
        chosen = (others[:, 0] >= low) & (others[:, 0] <= high)
        assert event[chosen].mean() == pytest.approx(expected, abs=0.04)
