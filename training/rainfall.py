"""Hourly rain of a state: a rain potential from ascent, moisture, mountains, the hour and cells, then a map.

Nature and the forecast share the form and differ in the weights: that difference is a part of the error.
The monotone maps from potential to millimetres impose each one's climatology.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.atmosphere import Stage, local_hour

Field = NDArray[np.float32]

UPLIFT_LIMIT = 0.15  # [m s-1], ascent over slopes approached asymptotically
SEA_MAXIMUM_HOUR, SEA_DIURNAL = 4.0, 0.25  # nocturnal maximum over the sea
CELL_DEMAND = 3.5  # environment at which half of the candidate cells rain
HEAVIEST_MM = 150.0
CHANCE_STEEPNESS = 2.5  # of the logistic function of the environment
CHANCE_MOISTURE, CHANCE_ASCENT, CHANCE_UPLIFT = 1.0, 0.7, 0.5  # weights in the environment
CHANCE_MESOSCALE_ASCENT, CHANCE_MESOSCALE_MOISTURE = 1.0, 0.8
CELL_GATE = 0.03  # chance at which half of a cell's rain is left, away from its own environment
NIGHT_FLOOR = -0.6  # lowest value of the diurnal course over land
HEATING_BY_HEIGHT = 4e-4  # how much mountains add to the heating [m-1]
LEAST_LIFT = 0.35  # [0.1 m s-1] of ascent below which there is no steady rain
TEXTURE = 0.45  # logarithm of steady rain per standard deviation of mesoscale moisture
LAPSE_REFERENCE = 21.5  # [K] between 850 and 500 hPa


@dataclass(frozen=True)
class RainPhysics:
    """Weights with which a state makes rain."""

    mesoscale: float
    uplift: float
    diurnal_hour: float  # local solar time of the convective maximum over land
    diurnal: float
    upper_dryness: float  # how much dry air at 500 hPa suppresses rain
    instability: float  # [K-1]
    cell_rain: float
    fine_orography: bool
    knots: tuple[float, ...]  # rain potential at each of RAIN_KNOTS_MM


RAIN_KNOTS_MM = (0.0, 0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 80.0)
NATURE = RainPhysics(
    mesoscale=0.40,
    uplift=0.8,
    diurnal_hour=16.5,
    diurnal=0.9,
    upper_dryness=0.7,
    instability=0.20,
    cell_rain=1.6,
    fine_orography=True,
    knots=(0.0388, 0.0949, 0.1784, 0.4054, 0.6696, 1.3181, 2.1981, 3.608, 4.733, 6.5326, 8.7605),
)
MODEL = RainPhysics(
    mesoscale=0.40,
    uplift=0.6,
    diurnal_hour=12.5,
    diurnal=1.1,
    upper_dryness=0.1,
    instability=0.35,
    cell_rain=1.6,
    fine_orography=False,
    knots=(0.0082, 0.0415, 0.0837, 0.2012, 0.3426, 0.6998, 1.1988, 2.028, 2.7403, 3.982, 5.6397),
)


@dataclass(frozen=True)
class RainState:
    """What the rain of a region depends on, one shape (see `training.atmosphere.coarse_rain_state`)."""

    ascent: Field
    moisture: Field
    upper_moisture: Field
    lapse: Field
    u_850: Field
    v_850: Field
    mesoscale_ascent: Field
    mesoscale_moisture: Field


def _sigmoid(value: NDArray[np.floating]) -> Field:
    half = np.float32(0.5)
    return np.asarray(half + half * np.tanh(half * value), np.float32)


def _uplift(place: Stage, state: RainState, physics: RainPhysics) -> Field:
    """Ascent forced by slopes, -1..1, of which UPLIFT_LIMIT is the unit."""
    land = place.land
    slope_x = land.slope_x if physics.fine_orography else land.model_slope_x
    slope_y = land.slope_y if physics.fine_orography else land.model_slope_y
    return np.asarray(np.tanh((state.u_850 * slope_x + state.v_850 * slope_y) / np.float32(UPLIFT_LIMIT)))


def cell_chance(
    place: Stage, state: RainState, physics: RainPhysics, convection: float, hour_utc: float
) -> Field:
    """Share (0..1) of the candidate cells that the environment lets rain."""
    hour = local_hour(place, hour_utc)
    cycle = np.float32(2 * np.pi / 24.0)
    land = np.maximum(np.cos((hour - np.float32(physics.diurnal_hour)) * cycle), np.float32(NIGHT_FLOOR))
    sea = np.float32(SEA_DIURNAL) * np.cos((hour - np.float32(SEA_MAXIMUM_HOUR)) * cycle)
    fraction = place.land.land_fraction
    heating = (
        np.float32(physics.diurnal)
        * land
        * (np.float32(1.0) + np.float32(HEATING_BY_HEIGHT) * place.land.height_m)
    )
    demand = (
        CHANCE_MOISTURE * state.moisture
        + CHANCE_ASCENT * state.ascent
        + CHANCE_MESOSCALE_ASCENT * state.mesoscale_ascent
        + CHANCE_MESOSCALE_MOISTURE * state.mesoscale_moisture
        + physics.instability * (state.lapse - LAPSE_REFERENCE)
        + physics.upper_dryness * np.minimum(state.upper_moisture + 0.5 * state.ascent, 0.3)
        + CHANCE_UPLIFT * _uplift(place, state, physics)
    )
    demand += fraction * heating + (np.float32(1.0) - fraction) * sea + np.float32(convection - CELL_DEMAND)
    return _sigmoid(np.float32(CHANCE_STEEPNESS) * demand)


def rain_potential(
    place: Stage, state: RainState, physics: RainPhysics, cells: Field, chance: Field
) -> Field:
    """Dimensionless rain potential; ``cells`` as drawn on the tile, ``chance`` from `cell_chance`."""
    uplift = np.float32(physics.uplift) * _uplift(place, state, physics)
    humid = _sigmoid(2.0 * state.moisture + 0.4 * state.mesoscale_moisture - 0.2)
    lift = state.ascent + physics.mesoscale * state.mesoscale_ascent * (
        0.7 + 0.5 * np.maximum(state.ascent, 0.0)
    )
    aloft = _sigmoid(3.0 * (state.upper_moisture + 0.6 * state.ascent + 0.3))
    wet = (np.float32(1.0) - np.float32(physics.upper_dryness)) + np.float32(physics.upper_dryness) * aloft
    steady = humid * wet * np.maximum(lift + uplift - np.float32(LEAST_LIFT), np.float32(0.0))
    steady *= np.exp(np.float32(TEXTURE) * state.mesoscale_moisture)
    gate = chance / (chance + np.float32(CELL_GATE))
    return np.asarray(steady + np.float32(physics.cell_rain) * cells * gate * (np.float32(0.4) + humid))


def rain_mm(potential: Field, physics: RainPhysics) -> Field:
    """Rain of the hour [mm]: monotone in the potential, interpolated in the square root of the rain."""
    root = np.sqrt(np.asarray(RAIN_KNOTS_MM))
    knots = np.asarray(physics.knots)
    inside = np.interp(potential, knots, root)
    slope = (root[-1] - root[-2]) / (knots[-1] - knots[-2])
    beyond = np.maximum(potential - knots[-1], 0.0) * slope
    return np.asarray(np.minimum((inside + beyond) ** 2, HEAVIEST_MM), np.float32)
