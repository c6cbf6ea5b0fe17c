"""Simulated cycles: an atmosphere, the rain that fell, and an NWP forecast of both in the shape of RDAPS-KIM.

What is simulated: a regime (dry high, cyclone with fronts, stagnant front, convective day, typhoon-like
vortex) with a season; heights in balance with winds and temperatures; divergent wind that feeds the ascent;
humidity tied to ascent; the land and mountains of Korea; the course of the day; bands and cells of rain
with a life. The forecast's state is slightly displaced and knows the smallest scales badly. Its rain is
displaced more (along the wind and at random), peaks at noon instead of the late afternoon, ignores dry air
aloft, feels a smoothed orography, grows cells of its own and is too frequent and too heavy. So winds,
humidity, stability and the hour tell where the forecast's rain is wrong; the place of a single cell stays
unpredictable.

What is not simulated: equations of motion, errors of the observation, snow, any real case. The climatology
of rain is imposed and the errors are tuned to the raw scores of the paper's Table 1. Scores reached here
say nothing about real forecasts, and models trained on these cycles must say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from training import convection
from training.atmosphere import (
    Mesoscale,
    Stage,
    channels,
    coarse_rain_state,
    coarse_state,
    rain_stages,
    stage,
)
from training.convection import Cells, Spectrum, TileSpectrum
from training.orography import FULL, KOREA, Region, qpe_in_rdaps_index
from training.rainfall import MODEL, NATURE, RainPhysics, RainState, cell_chance, rain_mm, rain_potential
from training.weather import Weather, draw_weather

__all__ = [
    "FULL",
    "KOREA",
    "Draw",
    "Region",
    "SimulatedCycle",
    "draw_cycle",
    "draw_warp",
    "forecast_errors",
    "on_qpe_grid",
    "rain_of_hour",
    "simulate_cycle",
]

Field = NDArray[np.float32]
Array = NDArray[np.float64]

# Forecast errors: standard deviations of a component at a lead of ERROR_LEAD_HOURS; they grow with lead.
ERROR_LEAD_HOURS = 27.0
STATE_SHIFT_KM, STATE_WARP_KM = 22.0, 15.0
RAIN_SHIFT_KM, RAIN_WARP_KM = 72.0, 47.0  # beyond those of the state
RAIN_DRIFT_HOURS = 0.7  # the rain is this far down the steering wind
STATE_COHERENT_ABOVE_KM, RAIN_COHERENT_ABOVE_KM = 60.0, 260.0
STATE_MOISTURE_ERROR, RAIN_MOISTURE_ERROR = 0.18, 0.40
WARP_SHORTEST_KM, WARP_LONGEST_KM, WARP_WAVES = 500.0, 1500.0, 6
STEERING = 0.8  # of the mean wind of 850 and 500 hPa
MESOSCALE_CONVERGENCE = 4.5e-5  # standard deviation at 850 hPa [s-1]
MESOSCALE_VORTICITY = 2.5e-5  # standard deviation at 850 hPa [s-1]
SPIN_UP_SHARE = 0.12  # of the lead, for the accumulation before the first lead
WHOLE = (slice(None), slice(None))  # rows and columns of the QPE grid
RAIN_STATE = ("ascent", "moisture", "upper_moisture", "lapse", "u_850", "v_850")


@dataclass(frozen=True)
class SimulatedCycle:
    """One forecast cycle and the rain that fell.

    ``fields``: the 15 instantaneous channels by name, (lead, ny, nx), SI units and %, winds relative to
    the earth. ``accumulated_rain_mm``: forecast, since the start of the run, (lead, ny, nx), never
    decreasing; its value at the first lead is a plausible total, not a sum of simulated hours.
    ``qpe_mm``: true rain of the hour that ends at each lead, (lead, 253, 149), rows from south to north.
    No NaN anywhere.
    """

    reference_time: np.datetime64
    leads_hours: tuple[int, ...]
    region: Region
    fields: dict[str, Field]
    accumulated_rain_mm: Field
    qpe_mm: Field


@dataclass(frozen=True)
class Spectra:
    """Mesoscale spectra of nature, of the forecast's state and of its rain (own parts only)."""

    ascent: tuple[TileSpectrum, TileSpectrum, TileSpectrum]
    moisture: tuple[TileSpectrum, TileSpectrum, TileSpectrum]
    vorticity: TileSpectrum


@dataclass(frozen=True)
class Draw:
    """Everything random in a cycle."""

    weather: Weather
    steering: tuple[float, float]  # [km h-1]
    spectra: Spectra
    shifts: Array  # (2, 2): state, rain; x, y; unit variance
    warps: tuple[Array, ...]  # on the coarse grid: state x and y, rain x and y, moisture of state and of rain
    nature_cells: Cells
    model_cells: Cells


def draw_warp(random: np.random.Generator, place: Stage) -> Array:
    """A smooth random field of unit variance on the coarse grid: a sum of waves."""
    length = np.exp(random.uniform(np.log(WARP_SHORTEST_KM), np.log(WARP_LONGEST_KM), WARP_WAVES))
    angle = random.uniform(0.0, 2 * np.pi, WARP_WAVES)
    phase = random.uniform(0.0, 2 * np.pi, WARP_WAVES)
    out = np.zeros(place.x.shape)
    for index in range(WARP_WAVES):
        along = np.cos(angle[index]) * place.x + np.sin(angle[index]) * place.y
        out += np.cos(2 * np.pi / length[index] * along + phase[index])
    return np.asarray(out * np.sqrt(2.0 / WARP_WAVES))


def _steering(weather: Weather, place: Stage) -> tuple[float, float]:
    """Mean wind over Korea [km h-1]: it moves cells and mesoscale waves."""
    nowhere = np.zeros(place.x.shape)
    state = coarse_state(weather, place, (nowhere, nowhere), ERROR_LEAD_HOURS)
    near = (np.abs(place.x - 155.0) < 350.0) & (np.abs(place.y + 75.0) < 500.0)
    u, v = (0.5 * (state[f"{axis}_850"][near].mean() + state[f"{axis}_500"][near].mean()) for axis in "uv")
    return float(STEERING * 3.6 * u), float(STEERING * 3.6 * v)


def draw_cycle(seed: int, reference_time: np.datetime64, hours: tuple[int, ...]) -> Draw:
    """Everything random in the cycle that `simulate_cycle` simulates for these leads."""
    roots = np.random.SeedSequence(seed).spawn(5)
    weather = draw_weather(np.random.default_rng(roots[0]), reference_time)
    random = np.random.default_rng(roots[1])
    grain = random.uniform(0.0, np.pi)
    ascent = [convection.draw_spectrum(random, 420.0, 22.0, 3.0, 5.0, grain) for _ in range(3)]
    moisture = [convection.draw_spectrum(random, 600.0, 22.0, 3.3, 7.0, grain) for _ in range(3)]
    vorticity = convection.draw_spectrum(random, 300.0, 25.0, 3.0, 5.0, grain)
    random = np.random.default_rng(roots[2])
    place = stage(KOREA)
    first, last = hours[0] - convection.CELL_SPAN_HOURS, hours[-1]
    return Draw(
        weather=weather,
        steering=_steering(weather, place),
        spectra=Spectra(
            (ascent[0], ascent[1], ascent[2]), (moisture[0], moisture[1], moisture[2]), vorticity
        ),
        shifts=random.normal(size=(2, 2)),
        warps=tuple(draw_warp(random, place) for _ in range(6)),
        nature_cells=convection.draw_cells(roots[3], first, last),
        model_cells=convection.draw_cells(roots[4], first, last),
    )


@dataclass(frozen=True)
class Errors:
    """Displacements on the coarse grid [km] and moisture errors of the forecast's state and of its rain."""

    state_shift: tuple[Array, Array]
    rain_shift: tuple[Array, Array]
    state_tile_shift: tuple[float, float]
    rain_tile_shift: tuple[float, float]
    state_moisture: Array
    rain_moisture: Array


def forecast_errors(draw: Draw, lead_hours: float) -> Errors:
    """The errors of the forecast at a lead."""
    growth = lead_hours / ERROR_LEAD_HOURS
    warps = draw.warps
    state = [STATE_SHIFT_KM * growth * draw.shifts[0, axis] for axis in (0, 1)]
    rain = [
        state[axis] + growth * (RAIN_SHIFT_KM * draw.shifts[1, axis] + RAIN_DRIFT_HOURS * draw.steering[axis])
        for axis in (0, 1)
    ]
    state_warp = [STATE_WARP_KM * growth * warps[axis] for axis in (0, 1)]
    rain_warp = [state_warp[axis] + RAIN_WARP_KM * growth * warps[2 + axis] for axis in (0, 1)]
    moisture = STATE_MOISTURE_ERROR * growth * warps[4]
    return Errors(
        state_shift=(state[0] + state_warp[0], state[1] + state_warp[1]),
        rain_shift=(rain[0] + rain_warp[0], rain[1] + rain_warp[1]),
        state_tile_shift=(state[0], state[1]),
        rain_tile_shift=(rain[0], rain[1]),
        state_moisture=moisture,
        rain_moisture=moisture + RAIN_MOISTURE_ERROR * growth * warps[5],
    )


def _cells_on_tile(
    draw: Draw,
    tile: Stage,
    coarse: dict[str, Array],
    mesoscale: tuple[Field, Field],
    cells: Cells,
    physics: RainPhysics,
    time_hours: float,
    hour_utc: float,
) -> Field:
    """Rain of the candidates that their environment lets rain, on the tile."""
    living = convection.living_cells(cells, time_hours, draw.steering)
    rows, columns = (place.astype(np.intp) % convection.TILE_CELLS for place in (living.y, living.x))
    state = RainState(
        **{name: tile.sample(coarse[name], rows, columns) for name in RAIN_STATE},
        mesoscale_ascent=mesoscale[0][rows, columns],
        mesoscale_moisture=mesoscale[1][rows, columns],
    )
    chance = cell_chance(tile.at_points(rows, columns), state, physics, draw.weather.convection, hour_utc)
    return convection.render_cells(living, chance, time_hours, draw.steering)


def rain_of_hour(
    draw: Draw,
    places: tuple[Stage, Stage],
    coarse: dict[str, Array],
    mesoscale: tuple[Spectrum, Spectrum],
    cells: Cells,
    physics: RainPhysics,
    time_hours: float,
    hour_utc: float,
) -> Field:
    """Rain of the hour around ``time_hours`` [mm]; ``places`` are of the region and of the tile."""
    place, tile = places
    ascent, moisture = (convection.on_tile(spectrum) for spectrum in mesoscale)
    drawn = _cells_on_tile(draw, tile, coarse, (ascent, moisture), cells, physics, time_hours, hour_utc)
    state = RainState(
        **{name: place.upsample(coarse[name]) for name in RAIN_STATE},
        mesoscale_ascent=place.from_tile(ascent),
        mesoscale_moisture=place.from_tile(moisture),
    )
    chance = cell_chance(place, state, physics, draw.weather.convection, hour_utc)
    return rain_mm(rain_potential(place, state, physics, place.from_tile(drawn), chance), physics)


def _spectra_at(
    draw: Draw, kind: int, time_hours: float, shift_km: tuple[float, float], coherent_above_km: float
) -> tuple[Spectrum, Spectrum]:
    """Ascent and moisture spectra of nature (0), of the forecast's state (1) or of its rain (2)."""
    x = draw.steering[0] * time_hours + shift_km[0]
    y = draw.steering[1] * time_hours + shift_km[1]
    out = []
    for spectra in (draw.spectra.ascent, draw.spectra.moisture):
        truth = spectra[0].at(time_hours, (x, y))
        out.append(
            truth
            if kind == 0
            else convection.blend(truth, spectra[kind].at(time_hours, (x, y)), coherent_above_km)
        )
    return out[0], out[1]


def _true_rain(draw: Draw, region: Region, lead_hours: int, hour_utc: float) -> Field:
    _, place, tile = rain_stages(region)
    nowhere = np.zeros(place.x.shape)
    middle = lead_hours - 0.5
    coarse = coarse_rain_state(draw.weather, place, (nowhere, nowhere), middle)
    mesoscale = _spectra_at(draw, 0, middle, (0.0, 0.0), 0.0)
    return rain_of_hour(
        draw, (place, tile), coarse, mesoscale, draw.nature_cells, NATURE, middle, hour_utc - 0.5
    )


def _forecast_rain(draw: Draw, region: Region, lead_hours: int, hour_utc: float) -> Field:
    box, place, tile = rain_stages(region)
    middle = lead_hours - 0.5
    errors = forecast_errors(draw, middle)
    shift_km = errors.rain_shift[0][box], errors.rain_shift[1][box]
    coarse = coarse_rain_state(draw.weather, place, shift_km, middle)
    coarse["moisture"] = coarse["moisture"] + errors.rain_moisture[box]
    coherent_above_km = RAIN_COHERENT_ABOVE_KM * middle / ERROR_LEAD_HOURS
    mesoscale = _spectra_at(draw, 2, middle, errors.rain_tile_shift, coherent_above_km)
    return rain_of_hour(
        draw, (place, tile), coarse, mesoscale, draw.model_cells, MODEL, middle, hour_utc - 0.5
    )


def _forecast_fields(
    draw: Draw, place: Stage, lead_hours: int, hour_utc: float, rain: Field
) -> dict[str, Field]:
    errors = forecast_errors(draw, lead_hours)
    coarse = coarse_state(draw.weather, place, errors.state_shift, lead_hours)
    coarse["moisture"] = coarse["moisture"] + errors.state_moisture
    coherent_above_km = STATE_COHERENT_ABOVE_KM * lead_hours / ERROR_LEAD_HOURS
    ascent, moisture = _spectra_at(draw, 1, lead_hours, errors.state_tile_shift, coherent_above_km)
    travelled = (draw.steering[0] * lead_hours, draw.steering[1] * lead_hours)
    vorticity = draw.spectra.vorticity.at(lead_hours, travelled)
    per_km = 1000.0
    wind_x, wind_y = convection.wind_of(
        -MESOSCALE_CONVERGENCE * per_km * ascent, MESOSCALE_VORTICITY * per_km * vorticity
    )
    mesoscale = Mesoscale(
        *(place.from_tile(convection.on_tile(part)) for part in (ascent, moisture, wind_x, wind_y))
    )
    return channels(place, coarse, mesoscale, hour_utc, rain)


def on_qpe_grid(field: Field, region: Region, window: tuple[slice, slice] = WHOLE) -> Field:
    """Bilinear interpolation of a region's field to a window of the QPE grid, the whole is (253, 149)."""
    x, y = qpe_in_rdaps_index()
    x, y = x[window[1]] - region.x_start, y[window[0]] - region.y_start
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    right, upper = (x - column).astype(np.float32)[None, :], (y - row).astype(np.float32)[:, None]
    low = field[np.ix_(row, column)] * (1 - right) + field[np.ix_(row, column + 1)] * right
    high = field[np.ix_(row + 1, column)] * (1 - right) + field[np.ix_(row + 1, column + 1)] * right
    return np.asarray(low * (1 - upper) + high * upper, np.float32)


def _checked(leads_hours: tuple[int, ...], region: Region) -> tuple[int, ...]:
    leads = tuple(int(lead) for lead in leads_hours)
    if not leads or leads[0] < 1 or any(b <= a for a, b in pairwise(leads)):
        raise ValueError(f"leads_hours must be positive and increase, got {leads_hours!r}")
    covered = region.y_start <= KOREA.y_start and region.x_start <= KOREA.x_start
    ends = (
        region.y_start + region.ny >= KOREA.y_start + KOREA.ny,
        region.x_start + region.nx >= KOREA.x_start + KOREA.nx,
    )
    if not (covered and all(ends)):
        raise ValueError(f"{region} must contain {KOREA}, on which the QPE grid lies")
    return leads


def simulate_cycle(
    seed: int,
    reference_time: np.datetime64,
    leads_hours: tuple[int, ...] = (24, 25, 26, 27, 28, 29, 30),
    region: Region = KOREA,
) -> SimulatedCycle:
    """Simulate one cycle; the same arguments give the same cycle, and any region a cut of the same weather.

    ``reference_time`` is UTC. ``leads_hours`` increase; hours between them are simulated too.
    Raises ValueError when they do not, or when the region does not cover the QPE grid.
    """
    leads = _checked(leads_hours, region)
    start = reference_time.astype("datetime64[s]")
    draw = draw_cycle(seed, start, leads)
    place = stage(region)
    start_hour = float((start - start.astype("datetime64[D]")) / np.timedelta64(1, "h"))
    fields: list[dict[str, Field]] = []
    accumulated: list[Field] = []
    qpe: list[Field] = []
    total = np.zeros((region.ny, region.nx), np.float32)
    for hour in range(leads[0], leads[-1] + 1):
        rain = _forecast_rain(draw, region, hour, start_hour + hour)
        # Rain before the first lead is not simulated: a few hours like the first one stand for it.
        total = total + (rain * np.float32(SPIN_UP_SHARE * hour) if hour == leads[0] else rain)
        if hour in leads:
            fields.append(_forecast_fields(draw, place, hour, start_hour + hour, rain))
            accumulated.append(total)
            qpe.append(on_qpe_grid(_true_rain(draw, region, hour, start_hour + hour), region))
    return SimulatedCycle(
        reference_time=start,
        leads_hours=leads,
        region=region,
        fields={name: np.stack([field[name] for field in fields]) for name in fields[0]},
        accumulated_rain_mm=np.stack(accumulated),
        qpe_mm=np.stack(qpe),
    )
