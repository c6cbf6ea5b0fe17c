"""From the large scale of a cycle to balanced fields: winds, heights, pressure, humidity on the 3-km grid.

Heights balance the winds (geostrophic, the vortex in gradient balance), thickness balances temperature
(hydrostatic), the divergent wind solves laplacian(chi) = divergence for the convergence below the ascent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training import convection, orography
from training.orography import RDAPS_NX, RDAPS_NY, RDAPS_SPACING_KM, Region, Terrain
from training.weather import LargeScale, Weather, evaluate

Field = NDArray[np.float32]
Array = NDArray[np.float64]

TILE = Region(convection.TILE_Y_START, convection.TILE_X_START, convection.TILE_CELLS, convection.TILE_CELLS)

GRAVITY = 9.80665  # [m s-2]
GAS_CONSTANT = 287.05  # of dry air [J kg-1 K-1]
EARTH_ROTATION = 7.292e-5  # [s-1]
THICKNESS_500_850 = float(GAS_CONSTANT / GRAVITY * np.log(850.0 / 500.0))  # [m K-1]
THICKNESS_100_500 = float(GAS_CONSTANT / GRAVITY * np.log(500.0 / 100.0))  # [m K-1]
UPPER_TEMPERATURE = 231.0  # mean of the layer 500-100 hPa where 500 hPa has UPPER_REFERENCE [K]
UPPER_REFERENCE = 266.0  # [K]
UPPER_RESPONSE = 0.25  # change of that mean per change at 500 hPa
LAPSE_LOW = 6.2e-3  # surface to 850 hPa [K m-1]
LAPSE_TERRAIN = 6.5e-3  # of the 2-m temperature along slopes [K m-1]
COARSE_CELLS = 6  # spacing of the large-scale grid, in cells of 3 km
ASCENT_UNIT = 0.1  # [m s-1] of one unit of ascent
SCALE_DEPTH_M = 2500.0  # ascent over this depth is fed by convergence below
ADVECTION_ASCENT = 2.5e3  # units of ascent per warm advection [K-1 s]
ADVECTION_LIMIT = 0.6  # units of ascent
CONVERGENCE_10M, CONVERGENCE_500 = 1.2, -0.35  # divergent wind relative to 850 hPa
FRICTION_SEA, FRICTION_LAND = 0.72, 0.50  # 10-m wind over surface geostrophic wind
CROSS_ISOBAR_SEA, CROSS_ISOBAR_LAND = 0.26, 0.50  # [radian]
WIND_LIMIT = 105.0  # [m s-1], approached asymptotically
DIURNAL_RANGE_K = 4.5  # half the range of the 2-m temperature over land under a clear sky
WARMEST_HOUR = 15.0  # local solar time
COLD_POOL_K = 2.0  # cooling of the 2-m temperature under heavy rain
COLD_POOL_RAIN_MM = 8.0  # hourly rain with three quarters of that cooling
CLOUD_DAMPING = 0.007  # of the diurnal range per % of relative humidity at 500 hPa
MESOSCALE_WARMTH_850_K, MESOSCALE_COOLING_500_K = 0.25, 0.15  # per standard deviation of moisture
VORTEX_500 = 0.85  # wind of the vortex at 500 hPa relative to 850 hPa


@dataclass(frozen=True)
class HumidityWeights:
    """Weights of what makes relative humidity, before the logistic function that bounds it."""

    base: float
    moisture: float
    ascent: float
    mesoscale_moisture: float
    mesoscale_ascent: float
    rain: float  # [mm-1/2]


HUMIDITY_850 = HumidityWeights(0.75, 1.0, 0.45, 0.40, 0.30, 0.1)
HUMIDITY_500 = HumidityWeights(-0.6, 1.0, 0.8, 0.25, 0.35, 0.0)


Box = tuple[slice, ...]  # of rows and of columns


@dataclass(frozen=True)
class Stage:
    """The fixed geometry of a region: coarse grid of the whole domain, interpolation, land, tile indices.

    x, y [km], latitude [degrees], Coriolis parameter [s-1] and map scale on the coarse grid; ``rows`` and
    ``columns`` interpolate to the region; the rest are fields of it. ``angle``: cosine and sine of the
    angle from true east to the grid's x axis.
    """

    x: Array
    y: Array
    latitude: Array
    coriolis: Array
    scale: Array
    inverse_laplacian: Array
    rows: Field
    columns: Field
    used: Box
    land: Terrain
    longitude: Field
    angle: tuple[Field, Field]
    tile: tuple[NDArray[np.intp], NDArray[np.intp]]

    def upsample(self, coarse: Array) -> Field:
        """A coarse field on the region, by cubic convolution."""
        box = self.used
        return np.asarray(self.rows[:, box[0]] @ coarse[box].astype(np.float32) @ self.columns[:, box[1]].T)

    def cut(self, box: Box) -> Stage:
        """The stage on a part of the coarse grid: enough for `coarse_rain_state`, not for `coarse_state`."""
        return replace(
            self,
            x=self.x[box],
            y=self.y[box],
            latitude=self.latitude[box],
            coriolis=self.coriolis[box],
            scale=self.scale[box],
            rows=self.rows[:, box[0]],
            columns=self.columns[:, box[1]],
            used=tuple(
                slice(u.start - b.start, u.stop - b.start) for u, b in zip(self.used, box, strict=True)
            ),
        )

    def at_points(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Stage:
        """The stage of scattered grid points of the region, whose fields have one axis."""
        land = Terrain(*(field[rows, columns] for field in vars(self.land).values()))
        return replace(self, land=land, longitude=self.longitude[rows, columns])

    def sample(self, coarse: Array, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Field:
        """A coarse field at scattered grid points of the region."""
        y, x = np.argmax(self.rows[rows] > 0.5, axis=1), np.argmax(self.columns[columns] > 0.5, axis=1)
        return np.asarray(coarse[y, x], np.float32)

    def from_tile(self, tile: Field) -> Field:
        """The region's cut of a periodic tile."""
        return np.asarray(tile[np.ix_(*self.tile)])


def _cubic_weights(first: int, count: int, nodes: int) -> Field:
    """Matrix (count, nodes) of cubic convolution (Keys 1981, doi:10.1109/TASSP.1981.1163711)."""
    position = np.arange(first, first + count) / COARSE_CELLS + 1.0
    base = np.clip(np.floor(position).astype(int), 1, nodes - 3)
    out = np.zeros((count, nodes))
    for offset in (-1, 0, 1, 2):
        s = np.abs(position - base - offset)
        near = (1.5 * s - 2.5) * s * s + 1.0
        far = ((-0.5 * s + 2.5) * s - 4.0) * s + 2.0
        out[np.arange(count), base + offset] = np.where(s <= 1, near, far)
    return out.astype(np.float32)


@lru_cache(maxsize=4)
def stage(region: Region) -> Stage:
    """The geometry of a region; computed once."""
    step = COARSE_CELLS * RDAPS_SPACING_KM
    plane_x, plane_y = orography.rdaps_plane_km()
    coarse_x = plane_x[0] + step * np.arange(-1, RDAPS_NX // COARSE_CELLS + 3)
    coarse_y = plane_y[0] + step * np.arange(-1, RDAPS_NY // COARSE_CELLS + 3)
    x, y = np.meshgrid(coarse_x, coarse_y)
    latitude, _ = orography.plane_to_geographic(x, y)
    window = (
        slice(region.y_start, region.y_start + region.ny),
        slice(region.x_start, region.x_start + region.nx),
    )
    fine_x, fine_y = np.meshgrid(plane_x[window[1]], plane_y[window[0]])
    _, longitude = orography.plane_to_geographic(fine_x, fine_y)
    angle = orography.convergence_angle(longitude)
    whole = orography.terrain()
    wave_y = 2 * np.pi * np.fft.fftfreq(y.shape[0], 1000.0 * step)[:, None]
    wave_x = 2 * np.pi * np.fft.rfftfreq(x.shape[1], 1000.0 * step)[None, :]
    squared = wave_x**2 + wave_y**2
    rows = _cubic_weights(region.y_start, region.ny, coarse_y.size)
    columns = _cubic_weights(region.x_start, region.nx, coarse_x.size)
    nonzero = [np.flatnonzero(weights.any(axis=0)) for weights in (rows, columns)]
    return Stage(
        x=x,
        y=y,
        latitude=latitude,
        coriolis=2 * EARTH_ROTATION * np.sin(np.deg2rad(latitude)),
        scale=orography.map_scale(latitude),
        inverse_laplacian=np.divide(-1.0, squared, out=np.zeros_like(squared), where=squared > 0),
        rows=rows,
        columns=columns,
        used=tuple(slice(int(nodes[0]), int(nodes[-1]) + 1) for nodes in nonzero),
        land=Terrain(*(np.ascontiguousarray(field[window]) for field in vars(whole).values())),
        longitude=longitude.astype(np.float32),
        angle=(np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)),
        tile=(
            convection.region_index(region.y_start, region.ny, convection.TILE_Y_START),
            convection.region_index(region.x_start, region.nx, convection.TILE_X_START),
        ),
    )


@lru_cache(maxsize=4)
def rain_stages(region: Region) -> tuple[Box, Stage, Stage]:
    """The part of the coarse grid that holds a region and the tile, and the stages of both on it."""
    places = stage(region), stage(TILE)
    # Two nodes more than are used: one-sided differences at the edge stay outside.
    box = tuple(
        slice(max(0, min(p.used[axis].start for p in places) - 2), max(p.used[axis].stop for p in places) + 2)
        for axis in (0, 1)
    )
    return box, places[0].cut(box), places[1].cut(box)


def _gradient(place: Stage, field: Array) -> tuple[Array, Array]:
    """Gradient along x and y on the sphere [per m]."""
    along_y, along_x = np.gradient(field, 1000.0 * COARSE_CELLS * RDAPS_SPACING_KM)
    return along_x * place.scale, along_y * place.scale


def _geostrophic(place: Stage, height: Array) -> tuple[Array, Array]:
    """Geostrophic wind along x and y [m s-1] of a height [m]."""
    slope_x, slope_y = _gradient(place, height)
    factor = GRAVITY / place.coriolis
    return -factor * slope_y, factor * slope_x


def _divergent_wind(place: Stage, ascent: Array) -> tuple[Array, Array]:
    """Wind along x and y at 850 hPa [m s-1] whose convergence feeds the ascent; periodic over the domain."""
    divergence = -ascent * ASCENT_UNIT / SCALE_DEPTH_M
    chi = np.fft.irfft2(
        np.fft.rfft2(divergence - divergence.mean()) * place.inverse_laplacian, s=ascent.shape
    )
    return _gradient(place, chi)


def _balance(place: Stage, scale: LargeScale) -> dict[str, Array]:
    u_850, v_850 = _geostrophic(place, scale.height_850 - scale.vortex_height)
    warm_x, warm_y = _gradient(place, scale.temperature_850)
    advection = -ADVECTION_ASCENT * (u_850 * warm_x + v_850 * warm_y)
    return {
        "u_850": u_850 + scale.vortex_wind_x,
        "v_850": v_850 + scale.vortex_wind_y,
        "ascent": scale.ascent + ADVECTION_LIMIT * np.tanh(advection / ADVECTION_LIMIT),
        "moisture": scale.moisture,
        "upper_moisture": scale.upper_moisture,
        "lapse": scale.temperature_850 - scale.temperature_500,
    }


def coarse_rain_state(
    weather: Weather, place: Stage, shift_km: tuple[Array, Array], time_hours: float
) -> dict[str, Array]:
    """What rain depends on, on the coarse grid at a time, of the weather displaced by ``shift_km``.

    ``u_850`` and ``v_850`` along the grid axes [m s-1], ``ascent`` [0.1 m s-1], ``moisture`` and
    ``upper_moisture`` (dimensionless), ``lapse`` (temperature at 850 minus 500 hPa) [K].
    """
    scale = evaluate(weather, place.x - shift_km[0], place.y - shift_km[1], place.latitude, time_hours)
    return _balance(place, scale)


def coarse_state(
    weather: Weather, place: Stage, shift_km: tuple[Array, Array], time_hours: float
) -> dict[str, Array]:
    """`coarse_rain_state` and the large scale of the channels, with winds along the grid axes."""
    scale = evaluate(weather, place.x - shift_km[0], place.y - shift_km[1], place.latitude, time_hours)
    balanced = _balance(place, scale)
    height_850, temperature_850, temperature_500 = (
        scale.height_850,
        scale.temperature_850,
        scale.temperature_500,
    )
    height_500 = height_850 + THICKNESS_500_850 * 0.5 * (temperature_850 + temperature_500)
    upper = UPPER_TEMPERATURE + UPPER_RESPONSE * (temperature_500 - UPPER_REFERENCE)
    low = temperature_850 + 0.5 * LAPSE_LOW * height_850
    pressure = 85000.0 * np.exp(GRAVITY * height_850 / (GAS_CONSTANT * low))
    u_500, v_500 = _geostrophic(place, height_500 - scale.vortex_height)
    divergent_x, divergent_y = _divergent_wind(place, balanced["ascent"])
    pressure_x, pressure_y = _gradient(place, pressure)
    vortex_pressure = pressure * GRAVITY * scale.vortex_height / (GAS_CONSTANT * low)
    vortex_x, vortex_y = _gradient(place, vortex_pressure)
    factor = GAS_CONSTANT * low / (pressure * place.coriolis)
    return balanced | {
        "height_100": height_500 + THICKNESS_100_500 * upper,
        "height_500": height_500,
        "height_850": height_850,
        "pressure": pressure,
        "temperature_850": temperature_850,
        "temperature_500": temperature_500,
        "u_500": u_500 + VORTEX_500 * scale.vortex_wind_x,
        "v_500": v_500 + VORTEX_500 * scale.vortex_wind_y,
        "u_surface": -factor * (pressure_y - vortex_y) + scale.vortex_wind_x,
        "v_surface": factor * (pressure_x - vortex_x) + scale.vortex_wind_y,
        "u_divergent": divergent_x,
        "v_divergent": divergent_y,
    }


@dataclass(frozen=True)
class Mesoscale:
    """Mesoscale fields of a region: ascent and moisture (unit variance), wind along the axes [m s-1]."""

    ascent: Field
    moisture: Field
    wind_x: Field
    wind_y: Field


def _earth_relative(place: Stage, u: Field, v: Field) -> tuple[Field, Field]:
    """Eastward and northward wind, of a speed that stays below WIND_LIMIT."""
    cosine, sine = place.angle
    limit = (1.0 + ((u * u + v * v) / np.float32(WIND_LIMIT**2)) ** 2) ** np.float32(-0.25)
    eastward, northward = (u * cosine + v * sine) * limit, (v * cosine - u * sine) * limit
    return np.asarray(eastward, np.float32), np.asarray(northward, np.float32)


def _percent(value: NDArray[np.floating]) -> Field:
    return np.asarray(np.float32(50.0) * (np.float32(1.0) + np.tanh(np.float32(0.5) * value)), np.float32)


def local_hour(place: Stage, hour_utc: float) -> Field:
    """Local mean solar time [hours], 0..24."""
    hour = np.mod(np.float32(hour_utc) + place.longitude / np.float32(15.0), np.float32(24.0))
    return np.asarray(hour, np.float32)


def _two_metre_temperature(
    place: Stage, fine: dict[str, Field], humidity_500: Field, hour_utc: float, rain_mm: Field
) -> Field:
    land = place.land
    phase = (local_hour(place, hour_utc) - np.float32(WARMEST_HOUR)) * np.float32(2 * np.pi / 24.0)
    clear = np.float32(1.0) - np.float32(CLOUD_DAMPING) * humidity_500
    ground = fine["temperature_850"] + np.float32(LAPSE_LOW) * fine["height_850"]
    ground = ground - np.float32(LAPSE_TERRAIN) * land.height_m
    ground += np.float32(DIURNAL_RANGE_K) * land.land_fraction * np.cos(phase) * clear
    return np.asarray(ground - np.float32(COLD_POOL_K) * np.tanh(rain_mm / np.float32(COLD_POOL_RAIN_MM)))


def _humidities(fine: dict[str, Field], mesoscale: Mesoscale, rain_mm: Field) -> tuple[Field, Field]:
    """Relative humidity at 850 and at 500 hPa [%]."""
    out = []
    for weights, moisture in ((HUMIDITY_850, fine["moisture"]), (HUMIDITY_500, fine["upper_moisture"])):
        value = weights.base + weights.moisture * moisture + weights.ascent * fine["ascent"]
        value += weights.mesoscale_moisture * mesoscale.moisture + weights.mesoscale_ascent * mesoscale.ascent
        out.append(_percent(value + weights.rain * np.sqrt(rain_mm)))
    return out[0], out[1]


def _winds(place: Stage, fine: dict[str, Field], mesoscale: Mesoscale) -> dict[str, tuple[Field, Field]]:
    """Eastward and northward wind at 850 and 500 hPa and at 10 m [m s-1]."""
    divergent_x = fine["u_divergent"] + mesoscale.wind_x
    divergent_y = fine["v_divergent"] + mesoscale.wind_y
    land = place.land.land_fraction
    friction = np.float32(FRICTION_SEA) + np.float32(FRICTION_LAND - FRICTION_SEA) * land
    turn = np.float32(CROSS_ISOBAR_SEA) + np.float32(CROSS_ISOBAR_LAND - CROSS_ISOBAR_SEA) * land
    along, inward = friction * np.cos(turn), friction * np.sin(turn)
    surface_x = along * fine["u_surface"] - inward * fine["v_surface"]
    surface_y = along * fine["v_surface"] + inward * fine["u_surface"]
    levels = {
        "850": (fine["u_850"], fine["v_850"], 1.0),
        "500": (fine["u_500"], fine["v_500"], CONVERGENCE_500),
        "10m": (surface_x, surface_y, CONVERGENCE_10M),
    }
    return {
        name: _earth_relative(place, u + np.float32(part) * divergent_x, v + np.float32(part) * divergent_y)
        for name, (u, v, part) in levels.items()
    }


def channels(
    place: Stage, coarse: dict[str, Array], mesoscale: Mesoscale, hour_utc: float, rain_mm: Field
) -> dict[str, Field]:
    """The 15 instantaneous channels of a region, by name; ``rain_mm`` is the forecast's rain of the hour."""
    fine = {name: place.upsample(field) for name, field in coarse.items()}
    moist = mesoscale.moisture
    humidity_850, humidity_500 = _humidities(fine, mesoscale, rain_mm)
    winds = _winds(place, fine, mesoscale)
    return {
        "geopotential_height_100hpa": fine["height_100"],
        "geopotential_height_500hpa": fine["height_500"],
        "geopotential_height_850hpa": fine["height_850"],
        "mean_sea_level_pressure": fine["pressure"],
        "relative_humidity_500hpa": humidity_500,
        "relative_humidity_850hpa": humidity_850,
        "temperature_2m": _two_metre_temperature(place, fine, humidity_500, hour_utc, rain_mm),
        "temperature_500hpa": fine["temperature_500"] - np.float32(MESOSCALE_COOLING_500_K) * moist,
        "temperature_850hpa": fine["temperature_850"] + np.float32(MESOSCALE_WARMTH_850_K) * moist,
        "eastward_wind_10m": winds["10m"][0],
        "eastward_wind_500hpa": winds["500"][0],
        "eastward_wind_850hpa": winds["850"][0],
        "northward_wind_10m": winds["10m"][1],
        "northward_wind_500hpa": winds["500"][1],
        "northward_wind_850hpa": winds["850"][1],
    }
