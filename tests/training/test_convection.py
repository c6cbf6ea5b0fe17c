"""The small scale of the simulation: what others may rely on beside `simulate_cycle`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import convection
from training.convection import TILE_CELLS

MOTION = (43.0, -21.0)


def test_power_is_the_mean_square_of_the_amplitudes() -> None:
    random = np.random.default_rng(0)
    spectra = [convection.draw_spectrum(random, 420.0, 22.0, 3.0, 5.0, 0.7) for _ in range(400)]
    mean = np.mean([np.abs(spectrum.amplitude) ** 2 for spectrum in spectra], axis=0)
    power = spectra[0].power
    ratio = mean[power > 0] / power[power > 0]
    assert ratio.mean() == pytest.approx(1.0, abs=0.003)
    assert ratio.std() == pytest.approx(1 / np.sqrt(400), rel=0.1)  # a squared modulus spreads as its mean
    field = convection.on_tile(spectra[0].amplitude)
    assert field.var() == pytest.approx(1.0, abs=0.3)


def test_noise_is_of_unit_power_and_of_a_real_field() -> None:
    noise = convection.draw_noise(np.random.default_rng(1))
    assert np.mean(np.abs(noise) ** 2) == pytest.approx(1.0, abs=0.04)
    waves = convection.WAVES
    np.testing.assert_array_equal(noise[1 : waves + 1, 0], np.conj(noise[:waves:-1, 0]))


def test_a_displaced_spectrum_is_that_of_the_displaced_field() -> None:
    spectrum = convection.draw_spectrum(np.random.default_rng(2), 420.0, 22.0, 3.0, 5.0, 0.7)
    here = spectrum.at(26.5, (0.0, 0.0))
    np.testing.assert_allclose(convection.displaced(here, (30.0, -12.0)), spectrum.at(26.5, (30.0, -12.0)))
    moved = convection.on_tile(convection.displaced(here, (30.0, -12.0)))
    np.testing.assert_allclose(moved, np.roll(convection.on_tile(here), (-4, 10), axis=(0, 1)), atol=1e-5)


def test_a_blend_correlates_with_the_truth_by_its_coherence() -> None:
    random = np.random.default_rng(3)
    truth, own = (np.array([convection.draw_noise(random) for _ in range(300)]) for _ in range(2))
    blend = convection.blend(truth, own, 120.0)
    measured = (blend * np.conj(truth)).real.mean(axis=0)
    assert np.abs(measured - convection.coherence(120.0)).mean() < 0.05
    assert np.mean(np.abs(blend) ** 2) == pytest.approx(1.0, abs=0.01)


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 2**32 - 1),
    first=st.tuples(st.integers(0, 490), st.integers(0, 490)),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    motion=st.tuples(st.floats(-90, 90), st.floats(-90, 90)),
)
def test_cells_that_reach_a_part_of_the_tile_make_all_its_rain(
    seed: int, first: tuple[int, int], size: tuple[int, int], motion: tuple[float, float]
) -> None:
    cells = convection.draw_cells(np.random.SeedSequence(seed), 26, 26)
    rows, columns = ((low, min(low + count, TILE_CELLS)) for low, count in zip(first, size, strict=True))
    near = convection.reaching_cells(cells, 27.0, motion, rows, columns)
    assert near.x.size < cells.x.size
    drawn = []
    for candidates in (cells, near):
        living = convection.living_cells(candidates, 27.0, motion)
        chance = np.full(living.x.size, 0.4, np.float32)
        drawn.append(convection.render_cells(living, chance, 27.0, motion)[slice(*rows), slice(*columns)])
    np.testing.assert_array_equal(drawn[0], drawn[1])


def test_cells_far_from_a_part_of_the_tile_are_left_out() -> None:
    cells = convection.draw_cells(np.random.SeedSequence(4), 22, 26)
    near = convection.reaching_cells(cells, 26.5, MOTION, (60, 434), (150, 364))
    share = near.x.size / cells.x.size
    assert 374 * 214 / TILE_CELLS**2 < share < 0.5
