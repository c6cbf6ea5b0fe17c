"""The true rain of a simulated hour, drawn again and again given all that a forecast of it tells, and more.

What a post-processor is given of a cycle at one lead is a function of: the weather and the steering wind; the
displacements and the errors of moisture; the mesoscale spectra of the forecast's state (at the lead) and of
its rain (in the middle of the hour before); the forecast's own cells and vorticity. An oracle that knows all
of these knows at least as much. Two things decide about the true rain and are not among them: the spectra of
nature and its cells.

Spectra. Each coefficient of a forecast is c T + sqrt(1 - c^2) X, where T is nature's and T and X are
independent, complex Gaussian and of the same known power P. Of T there are two such observations, by the
state and by the rain, with correlations c and d. So T is Gaussian given both, with

    mean      (c (1 - d^2) state + d (1 - c^2) rain) / (1 - c^2 d^2)
    variance  P (1 - c^2) (1 - d^2) / (1 - c^2 d^2)

The two are half an hour apart. The oracle is told by how much each of nature's waves turns in that time,
which no forecast tells: that is to its advantage.

Cells. Those of nature are independent of all else: new ones are drawn.

Two oracles:

- ``bound`` knows all of the above exactly. Its probabilities are the conditional ones of more knowledge than
  a post-processor has at one lead, so no post-processor of single leads can have a better expected score by a
  proper score or a higher CSI over many cycles. It is a bound, not within reach: it knows where the state is
  displaced.
- ``estimate`` is not told the displacement and the moisture error of the state, and draws them from their
  distribution; displacements of the rain relative to the state it knows still. It is what is left if the
  forecast says nothing of the errors of its own state. That holds but for what the climate's slope in
  latitude, the spread of the weather and the shapes of its fronts and waves betray, so it is close to what
  can be known, and no strict bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training import convection, simulate
from training.atmosphere import coarse_rain_state, rain_stages
from training.convection import Cells, Spectrum, TileSpectrum
from training.domain import WINDOW
from training.orography import Region, qpe_in_rdaps_index
from training.rainfall import NATURE
from training.simulate import Draw, draw_warp, forecast_errors, on_qpe_grid, rain_of_hour

Field = NDArray[np.float32]
Array = NDArray[np.float64]

ORACLES: Final = ("bound", "estimate")
STREAM: Final = 5
"""Of the random numbers of a cycle's seed; the simulation has 0 to 4."""


def _region_of_window() -> Region:
    """The grid points of RDAPS-KIM from which the window of the QPE grid is interpolated."""
    x, y = (
        np.floor(index[part]).astype(int)
        for index, part in zip(qpe_in_rdaps_index(), WINDOW.slices[::-1], strict=True)
    )
    return Region(int(y[0]), int(x[0]), int(y[-1] - y[0]) + 2, int(x[-1] - x[0]) + 2)


REGION: Final = _region_of_window()


@dataclass(frozen=True)
class Posterior:
    """Nature's spectrum given those of the forecast: mean and standard deviation of each coefficient."""

    mean: Spectrum
    deviation: Array

    def sample(self, noise: Spectrum) -> Spectrum:
        """A spectrum of this distribution from noise of unit power (`convection.draw_noise`)."""
        return np.asarray(self.mean + self.deviation * noise)


def posterior(nature: TileSpectrum, state: TileSpectrum, rain: TileSpectrum, lead_hours: float) -> Posterior:
    """Nature's spectrum in the middle of the hour before a lead, in the frame that moves with the waves.

    Given the state's spectrum at the lead and the rain's in the middle of the hour, without displacements.
    """
    middle = lead_hours - 0.5
    here = (0.0, 0.0)
    km = tuple(
        above * hours / simulate.ERROR_LEAD_HOURS
        for above, hours in (
            (simulate.STATE_COHERENT_ABOVE_KM, lead_hours),
            (simulate.RAIN_COHERENT_ABOVE_KM, middle),
        )
    )
    # What was observed half an hour later, turned back by the turn of nature's waves.
    back = np.exp(1j * nature.frequency * (middle - lead_hours))
    seen_state = convection.blend(nature.at(lead_hours, here), state.at(lead_hours, here), km[0]) * back
    seen_rain = convection.blend(nature.at(middle, here), rain.at(middle, here), km[1])
    c, d = (convection.coherence(above) for above in km)
    doubt = 1.0 - (c * d) ** 2
    # Without doubt the truth is what both say.
    inverse = np.divide(1.0, doubt, out=np.zeros_like(doubt), where=doubt > 0)
    mean = (c * (1.0 - d**2) * seen_state + d * (1.0 - c**2) * seen_rain) * inverse
    variance = nature.power * (1.0 - c**2) * (1.0 - d**2) * inverse
    return Posterior(np.where(doubt > 0, mean, seen_rain), np.sqrt(variance))


class Hour:
    """The hour before a lead of a simulated cycle, on the window of the QPE grid.

    Args:
        draw: everything random of the cycle.
        reference_time: its start, UTC.
        lead_hours: the end of the hour.
        seed: of the cycle; members have streams of their own.
    """

    def __init__(self, draw: Draw, reference_time: np.datetime64, lead_hours: int, seed: int) -> None:
        self._lead, self._middle, self._seed = lead_hours, lead_hours - 0.5, seed
        start = reference_time.astype("datetime64[s]")
        start_hour = float((start - start.astype("datetime64[D]")) / np.timedelta64(1, "h"))
        self._hour_utc = start_hour + self._middle
        box, self._place, self._tile = rain_stages(REGION)
        # On the part of the coarse grid that the rain of the window needs.
        self._draw = replace(draw, warps=tuple(warp[box] for warp in draw.warps))
        self._errors = forecast_errors(self._draw, self._middle)
        self._nowhere = np.zeros(self._place.x.shape)
        self._coarse = coarse_rain_state(
            draw.weather, self._place, (self._nowhere, self._nowhere), self._middle
        )
        self._posteriors = tuple(
            posterior(*spectra, lead_hours) for spectra in (draw.spectra.ascent, draw.spectra.moisture)
        )

    def truth(self) -> Field:
        """The rain that fell [mm], (y, x): what the simulation itself says."""
        spectra = [
            spectra[0].at(self._middle, (0.0, 0.0))
            for spectra in (self._draw.spectra.ascent, self._draw.spectra.moisture)
        ]
        return self._rain(self._coarse, spectra, (0.0, 0.0), self._draw.nature_cells)

    def member(self, number: int) -> Field:
        """Rain that could have fallen [mm], (oracle, y, x): the same waves and cells for both oracles."""
        streams = np.random.SeedSequence(self._seed, spawn_key=(STREAM, self._lead, number)).spawn(2)
        random = np.random.default_rng(streams[0])
        spectra = [each.sample(convection.draw_noise(random)) for each in self._posteriors]
        cells = convection.draw_cells(streams[1], self._lead - convection.CELL_SPAN_HOURS, self._lead - 1)
        coarse, shift_km = self._displaced(random)
        return np.stack(
            [
                self._rain(self._coarse, spectra, (0.0, 0.0), cells),
                self._rain(coarse, spectra, shift_km, cells),
            ]
        )

    def _displaced(self, random: np.random.Generator) -> tuple[dict[str, Array], tuple[float, float]]:
        """The weather that the state shows, with its errors taken off as drawn and not as they are."""
        x, y, moisture = (draw_warp(random, self._place) for _ in range(3))
        nothing = self._nowhere
        drawn = replace(
            self._draw,
            shifts=random.normal(size=self._draw.shifts.shape),
            warps=(x, y, nothing, nothing, moisture, nothing),
        )
        actual, other = self._errors, forecast_errors(drawn, self._middle)
        shift = [a - o for a, o in zip(actual.state_shift, other.state_shift, strict=True)]
        tile = [a - o for a, o in zip(actual.state_tile_shift, other.state_tile_shift, strict=True)]
        coarse = coarse_rain_state(self._draw.weather, self._place, (shift[0], shift[1]), self._middle)
        coarse["moisture"] = coarse["moisture"] + actual.state_moisture - other.state_moisture
        return coarse, (tile[0], tile[1])

    def _rain(
        self,
        coarse: dict[str, Array],
        spectra: list[Spectrum],
        shift_km: tuple[float, float],
        cells: Cells,
    ) -> Field:
        steering = self._draw.steering
        travelled = (steering[0] * self._middle + shift_km[0], steering[1] * self._middle + shift_km[1])
        ascent, moisture = (convection.displaced(spectrum, travelled) for spectrum in spectra)
        rows, columns = (
            (start - tile_start, start - tile_start + count)
            for start, count, tile_start in (
                (REGION.y_start, REGION.ny, convection.TILE_Y_START),
                (REGION.x_start, REGION.nx, convection.TILE_X_START),
            )
        )
        rain = rain_of_hour(
            self._draw,
            (self._place, self._tile),
            coarse,
            (ascent, moisture),
            convection.reaching_cells(cells, self._middle, steering, rows, columns),
            NATURE,
            self._middle,
            self._hour_utc,
        )
        return on_qpe_grid(rain, REGION, WINDOW.slices)
