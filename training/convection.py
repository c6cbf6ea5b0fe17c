"""The small scale of a simulated cycle: mesoscale spectra and convective cells on a periodic tile.

The tile has 512 x 512 cells of 3 km; it covers Korea and its seas and repeats elsewhere. Spectra are known at
any time in closed form: every wave moves with the steering wind and turns with a frequency of its own, which
decorrelates the field. Cells are born all over the tile; those in a favourable environment are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.orography import RDAPS_SPACING_KM

Field = NDArray[np.float32]
Array = NDArray[np.float64]
Spectrum = NDArray[np.complex128]

TILE_CELLS = 512
TILE_Y_START, TILE_X_START = 148, 320  # RDAPS-KIM indices of the tile's first cell
TILE_KM = TILE_CELLS * RDAPS_SPACING_KM
WAVES = 72  # largest wave number of the spectra: a wavelength of 21 km
GRAIN_FLOOR = 0.25  # power of waves along the grain relative to those across it
CELL_BIRTHS_PER_HOUR = 2200  # candidates over the tile
CELL_LIFE_HOURS = 1.7  # mean
CELL_SPAN_HOURS = 5  # births this many hours back can still rain
CELL_EXTENT = 3.6  # standard deviations at which the drawing of a cell ends

_WAVE_Y = 2 * np.pi * np.concatenate([np.arange(WAVES + 1), np.arange(-WAVES, 0)])[:, None] / TILE_KM
_WAVE_X = 2 * np.pi * np.arange(WAVES + 1)[None, :] / TILE_KM
_WAVE = np.hypot(_WAVE_Y, _WAVE_X)  # [km-1]


@dataclass(frozen=True)
class TileSpectrum:
    """A random field of unit variance: amplitudes, frequencies [h-1] and power, (2 WAVES + 1, WAVES + 1).

    The power is what the squared modulus of an amplitude has on average.
    """

    amplitude: Spectrum
    frequency: Array
    power: Array

    def at(self, time_hours: float, shift_km: tuple[float, float]) -> Spectrum:
        """Coefficients at a time, displaced by (x, y) [km]."""
        phase = self.frequency * time_hours - _WAVE_X * shift_km[0] - _WAVE_Y * shift_km[1]
        return np.asarray(self.amplitude * np.exp(1j * phase))


def draw_spectrum(
    random: np.random.Generator,
    longest_km: float,
    shortest_km: float,
    slope: float,
    memory_hours: float,
    grain: float,
) -> TileSpectrum:
    """Draw a field whose power falls as wave number to the power ``-slope`` between two wavelengths.

    ``memory_hours`` is the time over which waves of 150 km lose coherence in the moving frame;
    shorter waves forget faster, as in turbulence (wave number to the power -2/3). Structures are stretched
    along the angle ``grain`` [radian] from the x axis.
    """
    shape = _WAVE.shape
    wave = np.where(_WAVE > 0, _WAVE, 1.0)
    low, high = 2 * np.pi / longest_km, 2 * np.pi / shortest_km
    power = wave**-slope * np.exp(-((low / wave) ** 2) - (wave / high) ** 2) * (_WAVE > 0)
    across = np.sin(np.arctan2(_WAVE_Y, _WAVE_X) - grain) ** 2
    power *= GRAIN_FLOOR + (1.0 - GRAIN_FLOOR) * across
    weight = np.where(_WAVE_X > 0, 2.0, 1.0)
    power /= (power * weight).sum()
    noise = draw_noise(random)
    frequency = random.normal(size=shape) / memory_hours * (wave * 150.0 / (2 * np.pi)) ** (2 / 3)
    frequency[WAVES + 1 :, 0] = -frequency[WAVES:0:-1, 0]
    return TileSpectrum(np.sqrt(power) * noise, frequency, power)


def draw_noise(random: np.random.Generator) -> Spectrum:
    """Draw independent coefficients of unit power of a real field."""
    shape = _WAVE.shape
    noise = (random.normal(size=shape) + 1j * random.normal(size=shape)) / np.sqrt(2.0)
    # The wave along y of wave number -k is the conjugate of k: the field is real.
    noise[WAVES + 1 :, 0] = np.conj(noise[WAVES:0:-1, 0])
    return np.asarray(noise)


def displaced(spectrum: Spectrum, shift_km: tuple[float, float]) -> Spectrum:
    """The coefficients of the field displaced by (x, y) [km]."""
    return np.asarray(spectrum * np.exp(-1j * (_WAVE_X * shift_km[0] + _WAVE_Y * shift_km[1])))


def coherence(coherent_above_km: float) -> Array:
    """Correlation with the truth of each coefficient: near 1 well above this wavelength, near 0 below."""
    return np.asarray(np.exp(-0.5 * (_WAVE * coherent_above_km / (2 * np.pi)) ** 2))


def blend(truth: Spectrum, own: Spectrum, coherent_above_km: float) -> Spectrum:
    """Coefficients that are the truth's at wavelengths well above ``coherent_above_km`` and its own below."""
    shared = coherence(coherent_above_km)
    return np.asarray(shared * truth + np.sqrt(1.0 - shared**2) * own)


def on_tile(spectrum: Spectrum) -> Field:
    """The field on the tile, (512, 512)."""
    columns = np.zeros((TILE_CELLS, WAVES + 1), np.complex64)
    columns[: WAVES + 1] = spectrum[: WAVES + 1]
    columns[-WAVES:] = spectrum[WAVES + 1 :]
    rows = np.fft.ifft(columns, axis=0, norm="forward")
    return np.fft.irfft(rows, n=TILE_CELLS, axis=1, norm="forward").astype(np.float32)


def wind_of(divergence: Spectrum, vorticity: Spectrum) -> tuple[Spectrum, Spectrum]:
    """Wind along x and y of a given divergence and vorticity [units of wind per km]."""
    inverse = np.divide(-1.0, _WAVE**2, out=np.zeros_like(_WAVE), where=_WAVE > 0)
    chi, psi = divergence * inverse, vorticity * inverse
    return 1j * (_WAVE_X * chi - _WAVE_Y * psi), 1j * (_WAVE_Y * chi + _WAVE_X * psi)


def region_index(start: int, count: int, tile_start: int) -> NDArray[np.intp]:
    """Tile indices of ``count`` grid indices from ``start``."""
    return np.mod(np.arange(start, start + count) - tile_start, TILE_CELLS).astype(np.intp)


@dataclass(frozen=True)
class Cells:
    """Candidate cells: birth and life [hours], birth place on the tile [grid cells], size, strength."""

    birth: Array
    life: Array
    x: Array
    y: Array
    radius: Array  # across the motion [grid cells]
    strength: Array
    demand: Array  # environment a cell needs: cells of low demand come first


def draw_cells(seed: np.random.SeedSequence, first_hour: int, last_hour: int) -> Cells:
    """Candidates born in the hours ``first_hour`` to ``last_hour``; each hour has its own stream."""
    parts = []
    for hour in range(first_hour, last_hour + 1):
        # So the candidates of an hour do not depend on which other hours are asked for.
        random = np.random.default_rng(
            [*np.atleast_1d(np.asarray(seed.generate_state(2))).tolist(), hour + 1000]
        )
        count = CELL_BIRTHS_PER_HOUR
        parts.append(
            np.stack(
                [
                    hour + random.uniform(size=count),
                    0.6 + random.gamma(2.2, (CELL_LIFE_HOURS - 0.6) / 2.2, count).clip(0.0, 3.4),
                    random.uniform(0, TILE_CELLS, count),
                    random.uniform(0, TILE_CELLS, count),
                    np.exp(random.normal(np.log(1.8), 0.4, count)).clip(1.0, 5.0),
                    random.lognormal(0.0, 0.55, count),
                    random.uniform(size=count),
                ]
            )
        )
    return Cells(*np.concatenate(parts, axis=1))


def living_cells(cells: Cells, time_hours: float, motion_km_per_hour: tuple[float, float]) -> Cells:
    """The candidates alive at a time, moved to where they are then (on the tile, 0..512)."""
    age = (time_hours - cells.birth) / cells.life
    alive = np.flatnonzero((age > 0) & (age < 1))
    now = Cells(**{name: values[alive] for name, values in vars(cells).items()})
    steps = (time_hours - now.birth) / RDAPS_SPACING_KM
    x = np.mod(now.x + motion_km_per_hour[0] * steps, TILE_CELLS)
    y = np.mod(now.y + motion_km_per_hour[1] * steps, TILE_CELLS)
    return replace(now, x=x, y=y)


def reaching_cells(
    cells: Cells,
    time_hours: float,
    motion_km_per_hour: tuple[float, float],
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> Cells:
    """The candidates whose drawing at a time can touch a part of the tile, given by first and end indices."""
    steps = (time_hours - cells.birth) / RDAPS_SPACING_KM
    reaches = _reaches(cells, motion_km_per_hour)
    near = np.ones(len(reaches), bool)
    for place, motion, (first, end) in zip(
        (cells.y, cells.x), motion_km_per_hour[::-1], (rows, columns), strict=True
    ):
        index = np.floor(np.mod(place + motion * steps, TILE_CELLS))
        near &= np.mod(index + reaches - first, TILE_CELLS) < end - first + 2 * reaches
    return Cells(**{name: values[near] for name, values in vars(cells).items()})


def _stretch(motion_km_per_hour: tuple[float, float]) -> float:
    """Variance along the motion that an hour of it adds to a cell [squared grid cells]."""
    speed = np.hypot(*motion_km_per_hour) + 1e-6
    return float((0.6 * speed / RDAPS_SPACING_KM) ** 2 / 12.0)


def _reaches(cells: Cells, motion_km_per_hour: tuple[float, float]) -> NDArray[np.intp]:
    """Grid cells from the middle of each cell to where its drawing ends."""
    extent = CELL_EXTENT * np.sqrt(cells.radius**2 + _stretch(motion_km_per_hour))
    return np.ceil(extent).astype(np.intp) + 1


def render_cells(
    cells: Cells, chance: Field, time_hours: float, motion_km_per_hour: tuple[float, float]
) -> Field:
    """Rain of living cells on the tile over the hour around ``time_hours``.

    ``chance`` (cell,), 0..1: share of the candidates that the environment of each lets rain. A cell grows and
    decays over its life (sine squared) and is drawn as an ellipse stretched by its motion within the hour.
    """
    age = (time_hours - cells.birth) / cells.life
    column = np.floor(cells.x).astype(np.intp)
    row = np.floor(cells.y).astype(np.intp)
    surplus = chance - cells.demand
    alive = np.flatnonzero(surplus > 0)
    out = np.zeros((TILE_CELLS, TILE_CELLS), np.float32)
    peak = cells.strength * np.sin(np.pi * age) ** 2 * np.minimum(1.0, surplus / 0.08)
    speed = np.hypot(*motion_km_per_hour) + 1e-6
    cosine, sine = motion_km_per_hour[0] / speed, motion_km_per_hour[1] / speed
    stretch = _stretch(motion_km_per_hour)
    reaches = _reaches(cells, motion_km_per_hour)
    for cell in alive:
        offset = np.arange(-reaches[cell], reaches[cell] + 1)
        x = offset.astype(np.float32)[None, :] - np.float32(cells.x[cell] - column[cell])
        y = offset.astype(np.float32)[:, None] - np.float32(cells.y[cell] - row[cell])
        across_variance = cells.radius[cell] ** 2
        along_variance = across_variance + stretch
        along = np.float32(cosine) * x + np.float32(sine) * y
        squared = x * x + y * y
        along *= along
        exponent = squared * np.float32(-0.5 / across_variance)
        exponent += along * np.float32(0.5 / across_variance - 0.5 / along_variance)
        patch = np.float32(peak[cell]) * np.exp(exponent)
        rows, columns = np.mod(row[cell] + offset, TILE_CELLS), np.mod(column[cell] + offset, TILE_CELLS)
        out[rows[:, None], columns[None, :]] += patch
    return out
