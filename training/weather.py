"""The large scale of a simulated cycle: a regime, its fronts, lows and vortex, and a background of waves.

All of it is analytic in space and time, so that a displaced forecast of the same weather is the same call at
displaced points. Distances are km on the plane of `training.orography`, times hours since the reference time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

REGIMES = ("dry_high", "cyclone", "stagnant_front", "convective", "typhoon")
FOCUS_X_KM, FOCUS_Y_KM = 155.0, -75.0  # middle of the window over Korea
FOCUS_LEAD_HOURS = 27.0  # when features are near the focus
WAVE_COUNT = 8
TROUGH_WIDTH_KM = 230.0  # of the pressure trough along a front
END_SOFTNESS_KM = 110.0  # over which a front fades at its ends
UPPER_CONTRAST = 0.4  # contrast of a front at 500 hPa relative to 850 hPa
UPPER_WIDTH = 2.5  # its width at 500 hPa relative to 850 hPa
MOIST_TONGUE_KM = 170.0
DRY_SLOT_OFFSET_KM, DRY_SLOT_SOFTNESS_KM = 110.0, 50.0
COMMA_WIDTH_KM = 130.0
SPIRAL_PITCH_KM = 230.0  # radial distance between spiral bands of a vortex
GRAVITY = 9.80665  # [m s-2]
CORIOLIS_VORTEX = 8.0e-5  # [s-1], at 33 N, for the balance of the vortex
SOLSTICE_LAG_DAY = 205  # day of the year with the warmest lower troposphere


@dataclass(frozen=True)
class Track:
    """A straight path: position [km] at FOCUS_LEAD_HOURS and velocity [km h-1]."""

    x: float
    y: float
    velocity_x: float
    velocity_y: float

    def at(self, time_hours: float) -> tuple[float, float]:
        """Position [km] at a time [hours since the reference time]."""
        elapsed = time_hours - FOCUS_LEAD_HOURS
        return self.x + self.velocity_x * elapsed, self.y + self.velocity_y * elapsed


@dataclass(frozen=True)
class Front:
    """A wavy line with cold air on its left, a trough along it and a band of ascent over the cold air."""

    track: Track
    angle: float  # [radian] of the line from the x axis
    start_km: float
    end_km: float
    curvature: float  # [km-1]
    wave_km: float
    wave_length_km: float
    wave_phase: float
    wave_speed: float  # [km h-1]
    contrast: float  # half the temperature step at 850 hPa [K]
    width_km: float
    trough_m: float
    ascent: float  # of the band [0.1 m s-1]
    band_km: float
    band_offset_km: float
    pulse_length_km: float
    pulse_phase: float
    moisture: float


@dataclass(frozen=True)
class Centre:
    """A low (depth > 0) or a high (depth < 0) of Gaussian shape in the height of 850 hPa."""

    track: Track
    depth_m: float
    radius_km: float
    ascent: float


@dataclass(frozen=True)
class Vortex:
    """A typhoon-like vortex in gradient-wind balance with spiral bands."""

    track: Track
    speed: float  # largest tangential wind [m s-1]
    radius_km: float  # of the largest wind
    spiral_phase: float
    ascent: float


@dataclass(frozen=True)
class Waves:
    """Plane waves that move east: wave numbers [km-1], frequency [h-1], amplitudes, phases; (wave,)."""

    wave_x: Array
    wave_y: Array
    frequency: Array
    height_m: Array
    temperature: Array
    moisture: Array
    upper_moisture: Array
    phases: Array  # (4, wave)


@dataclass(frozen=True)
class Weather:
    """Everything that fixes the large scale of one cycle."""

    regime: str
    season: float  # 1 in late July, -1 in late January
    fronts: tuple[Front, ...]
    centres: tuple[Centre, ...]
    vortex: Vortex | None
    waves: Waves
    moisture: float  # departure of the whole region, in units of about 12 % relative humidity
    instability: float  # departure of the lapse 850-500 hPa [K]
    convection: float  # readiness for convective cells


@dataclass(frozen=True)
class LargeScale:
    """Large-scale fields at given points, all of one shape.

    Heights [m], temperatures [K], moisture (dimensionless, 0 is average), ascent [0.1 m s-1], tangential
    wind of the vortex along x and y at 850 hPa [m s-1] and the part of the height that balances it [m].
    """

    height_850: Array
    temperature_850: Array
    temperature_500: Array
    moisture: Array
    upper_moisture: Array
    ascent: Array
    vortex_height: Array
    vortex_wind_x: Array
    vortex_wind_y: Array


def season_of(reference_time: np.datetime64) -> float:
    """Cosine of the season: 1 on day 205 of the year (late July), -1 half a year later."""
    year = reference_time.astype("datetime64[Y]")
    day = (reference_time.astype("datetime64[s]") - year.astype("datetime64[s]")) / np.timedelta64(1, "D")
    return float(np.cos(2 * np.pi * (float(day) - SOLSTICE_LAG_DAY) / 365.25))


def _track(
    random: np.random.Generator, spread: tuple[float, float], velocity: tuple[float, float], jitter: float
) -> Track:
    return Track(
        FOCUS_X_KM + random.normal(0.0, spread[0]),
        FOCUS_Y_KM + random.normal(0.0, spread[1]),
        velocity[0] + random.normal(0.0, jitter),
        velocity[1] + random.normal(0.0, jitter),
    )


def _front(
    random: np.random.Generator, track: Track, angle: float, ends: tuple[float, float], strength: float
) -> Front:
    return Front(
        track=track,
        angle=angle,
        start_km=ends[0],
        end_km=ends[1],
        curvature=random.normal(0.0, 1.5e-4),
        wave_km=random.uniform(15.0, 70.0),
        wave_length_km=random.uniform(450.0, 1000.0),
        wave_phase=random.uniform(0.0, 2 * np.pi),
        wave_speed=random.uniform(15.0, 40.0),
        contrast=random.uniform(1.2, 2.6),
        width_km=random.uniform(70.0, 120.0),
        trough_m=random.uniform(12.0, 35.0),
        ascent=strength * random.lognormal(0.0, 0.3),
        band_km=random.uniform(30.0, 75.0),
        band_offset_km=random.uniform(0.0, 50.0),
        pulse_length_km=random.uniform(250.0, 700.0),
        pulse_phase=random.uniform(0.0, 2 * np.pi),
        moisture=random.uniform(0.7, 1.5),
    )


def _stagnant(random: np.random.Generator) -> tuple[tuple[Front, ...], tuple[Centre, ...]]:
    track = _track(random, (200.0, 230.0), (5.0, 0.0), 5.0)
    front = _front(random, track, random.normal(0.2, 0.2), (-2500.0, 2500.0), 1.5)
    ridge = Track(track.x + 700.0, track.y - 900.0, 0.0, 0.0)
    return (front,), (Centre(ridge, -random.uniform(30.0, 60.0), 800.0, -0.3),)


def _cyclone(random: np.random.Generator) -> tuple[tuple[Front, ...], tuple[Centre, ...]]:
    track = _track(random, (380.0, 300.0), (38.0, 10.0), 8.0)
    cold = _front(random, track, random.normal(0.95, 0.17), (-1500.0, 0.0), 1.5)
    warm = _front(random, track, random.normal(-0.3, 0.17), (0.0, 800.0), 1.1)
    low = Centre(track, random.uniform(45.0, 120.0), random.uniform(260.0, 420.0), random.uniform(0.5, 1.3))
    behind = Track(track.x - 1300.0, track.y - 200.0, track.velocity_x, track.velocity_y)
    return (cold, warm), (low, Centre(behind, -random.uniform(20.0, 60.0), 600.0, -0.5))


def _vortex(random: np.random.Generator) -> Vortex:
    track = _track(random, (260.0, 300.0), (14.0, 24.0), 7.0)
    return Vortex(
        track,
        random.uniform(20.0, 38.0),
        random.uniform(60.0, 120.0),
        random.uniform(0.0, 6.28),
        random.uniform(1.2, 2.2),
    )


def _waves(random: np.random.Generator, season: float) -> Waves:
    length = np.exp(random.uniform(np.log(500.0), np.log(2800.0), WAVE_COUNT))
    angle = random.uniform(-1.2, 1.2, WAVE_COUNT)
    wave_x, wave_y = 2 * np.pi * np.cos(angle) / length, 2 * np.pi * np.sin(angle) / length
    share = np.sqrt(2.0 / WAVE_COUNT) * np.sqrt(random.exponential(1.0, (4, WAVE_COUNT)))
    scale = length / 1500.0
    return Waves(
        wave_x=wave_x,
        wave_y=wave_y,
        frequency=wave_x * random.uniform(15.0, 45.0, WAVE_COUNT),
        height_m=(16.0 - 4.0 * season) * np.minimum(scale, 1.2) ** 1.5 * share[0],
        temperature=(1.5 - 0.5 * season) * np.minimum(scale, 1.2) * share[1],
        moisture=0.65 * share[2],
        upper_moisture=0.6 * share[3],
        phases=random.uniform(0.0, 2 * np.pi, (4, WAVE_COUNT)),
    )


def draw_weather(random: np.random.Generator, reference_time: np.datetime64) -> Weather:
    """Draw a regime for the season of ``reference_time`` and all that belongs to it."""
    season = season_of(reference_time)
    summer = float(np.clip(season, 0.0, 1.0))
    odds = np.array([0.30, 0.36 - 0.20 * summer, 0.08 + 0.18 * summer, 0.10 + 0.16 * summer, 0.06 * summer])
    regime = str(random.choice(REGIMES, p=odds / odds.sum()))
    waves = _waves(random, season)
    fronts: tuple[Front, ...] = ()
    centres: tuple[Centre, ...] = ()
    vortex = None
    if regime == "stagnant_front":
        fronts, centres = _stagnant(random)
    elif regime == "cyclone":
        fronts, centres = _cyclone(random)
    elif regime == "typhoon":
        vortex = _vortex(random)
    elif regime == "dry_high":
        track = _track(random, (300.0, 300.0), (15.0, 0.0), 8.0)
        centres = (Centre(track, -random.uniform(25.0, 80.0), random.uniform(500.0, 900.0), -0.6),)
    moisture = {"dry_high": -1.1, "cyclone": -0.1, "stagnant_front": 0.2, "convective": 0.4, "typhoon": 0.4}[
        regime
    ]
    convection = {
        "dry_high": -0.5,
        "cyclone": -0.2,
        "stagnant_front": 0.2,
        "convective": 1.2,
        "typhoon": 0.2,
    }[regime]
    return Weather(
        regime=regime,
        season=season,
        fronts=fronts,
        centres=centres,
        vortex=vortex,
        waves=waves,
        moisture=moisture + random.normal(0.0, 0.35),
        instability=random.normal(0.5 if regime == "convective" else 0.0, 0.8),
        convection=convection + random.normal(0.0, 0.3),
    )


def _sigmoid(value: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * value)))


def _add_front(total: dict[str, Array], front: Front, x: Array, y: Array, time_hours: float) -> None:
    centre_x, centre_y = front.track.at(time_hours)
    cosine, sine = np.cos(front.angle), np.sin(front.angle)
    along = cosine * (x - centre_x) + sine * (y - centre_y)
    across = cosine * (y - centre_y) - sine * (x - centre_x)
    elapsed_km = front.wave_speed * (time_hours - FOCUS_LEAD_HOURS)
    wave = np.sin(2 * np.pi * (along - elapsed_km) / front.wave_length_km + front.wave_phase)
    across = across - front.wave_km * wave - front.curvature * np.clip(along, -900.0, 900.0) ** 2
    ends = _sigmoid((along - front.start_km) / END_SOFTNESS_KM) * _sigmoid(
        (front.end_km - along) / END_SOFTNESS_KM
    )
    total["temperature_850"] -= front.contrast * np.tanh(across / front.width_km) * ends
    upper = (across - 80.0) / (UPPER_WIDTH * front.width_km)
    total["temperature_500"] -= UPPER_CONTRAST * front.contrast * np.tanh(upper) * ends
    total["height_850"] -= front.trough_m * np.exp(-0.5 * (across / TROUGH_WIDTH_KM) ** 2) * ends
    pulse = 0.65 + 0.35 * np.sin(
        2 * np.pi * (along - 1.3 * elapsed_km) / front.pulse_length_km + front.pulse_phase
    )
    band = np.exp(-0.5 * ((across - front.band_offset_km) / front.band_km) ** 2) * ends
    total["ascent"] += front.ascent * band * pulse
    tongue = np.exp(-0.5 * ((across + 40.0) / MOIST_TONGUE_KM) ** 2) * ends
    dry = _sigmoid((across - DRY_SLOT_OFFSET_KM) / DRY_SLOT_SOFTNESS_KM) * ends
    total["moisture"] += front.moisture * (tongue - 0.8 * dry)
    total["upper_moisture"] += front.moisture * (band * 0.8 - 0.5 * dry)


def _add_centre(total: dict[str, Array], centre: Centre, x: Array, y: Array, time_hours: float) -> None:
    centre_x, centre_y = centre.track.at(time_hours)
    east, north = x - centre_x, y - centre_y
    bell = np.exp(-0.5 * (east**2 + north**2) / centre.radius_km**2)
    total["height_850"] -= centre.depth_m * bell
    if centre.ascent < 0:  # a high: sinking, dry
        total["ascent"] += centre.ascent * bell
        total["upper_moisture"] += centre.ascent * bell
        return
    # The comma head lies north and north-west of the low.
    radius = np.hypot(east, north)
    angle = np.arctan2(north, east)
    head = np.exp(-0.5 * ((radius - 0.45 * centre.radius_km) / COMMA_WIDTH_KM) ** 2) * (
        0.5 + 0.5 * np.cos(angle - 1.9)
    )
    total["ascent"] += centre.ascent * head
    total["moisture"] += 0.8 * head
    total["upper_moisture"] += 1.0 * head


def _add_vortex(total: dict[str, Array], vortex: Vortex, x: Array, y: Array, time_hours: float) -> None:
    centre_x, centre_y = vortex.track.at(time_hours)
    east, north = x - centre_x, y - centre_y
    radius = np.hypot(east, north) + 1.0
    # Tangential wind V = Vmax 2 s / (1 + s^2); gradient balance g dZ/dr = V^2 / r + f V integrates exactly.
    ratio = radius / vortex.radius_km
    fade = 1.0 / (1.0 + ratio**2)
    speed = vortex.speed * 2.0 * ratio * fade
    radius_m = 1000.0 * vortex.radius_km
    depth = 2.0 * vortex.speed**2 * fade / GRAVITY
    outer = np.log((1.0 + (1500.0 / vortex.radius_km) ** 2) * fade).clip(0.0)
    depth += CORIOLIS_VORTEX * vortex.speed * radius_m * outer / GRAVITY
    total["height_850"] -= depth
    total["vortex_height"] -= depth
    total["vortex_wind_x"] -= speed * north / radius
    total["vortex_wind_y"] += speed * east / radius
    warm = 3.0 * fade**2
    total["temperature_850"] += 0.4 * warm
    total["temperature_500"] += warm
    angle = np.arctan2(north, east)
    spiral = 0.5 + 0.5 * np.cos(angle - 2 * np.pi * radius / SPIRAL_PITCH_KM + vortex.spiral_phase)
    reach = np.exp(-((radius / (3.2 * vortex.radius_km)) ** 2))
    wall = np.exp(-0.5 * ((radius - vortex.radius_km) / 30.0) ** 2)
    total["ascent"] += vortex.ascent * (1.1 * spiral**2 * reach * np.minimum(ratio, 1.0) + 0.6 * wall)
    total["moisture"] += 1.3 * reach
    total["upper_moisture"] += 1.2 * reach


def evaluate(weather: Weather, x: Array, y: Array, latitude: Array, time_hours: float) -> LargeScale:
    """The large scale at plane points (x, y) [km]; ``latitude`` [degrees] carries the climate alone."""
    waves, season = weather.waves, weather.season
    north = latitude - 36.0
    total = {
        "height_850": 1495.0 - 15.0 * season - 1.5 * north,
        "temperature_850": 280.5 + 9.5 * season - (0.80 - 0.35 * season) * north,
        "temperature_500": 259.0 + 8.5 * season - (0.85 - 0.40 * season) * north - weather.instability,
        "moisture": np.full(x.shape, weather.moisture + 0.15 * season) - 0.03 * north,
        "upper_moisture": np.full(x.shape, 0.6 * weather.moisture),
        **{name: np.zeros(x.shape) for name in ("ascent", "vortex_height", "vortex_wind_x", "vortex_wind_y")},
    }
    amplitudes = (waves.height_m, waves.temperature, waves.moisture, waves.upper_moisture)
    names = ("height_850", "temperature_850", "moisture", "upper_moisture")
    for index in range(WAVE_COUNT):
        phase = waves.wave_x[index] * x + waves.wave_y[index] * y - waves.frequency[index] * time_hours
        cosine, sine = np.cos(phase), np.sin(phase)
        for name, amplitude, offset in zip(names, amplitudes, waves.phases, strict=True):
            part = amplitude[index] * (np.cos(offset[index]) * cosine - np.sin(offset[index]) * sine)
            total[name] += part
            if name == "temperature_850":
                total["temperature_500"] += 0.6 * part
    for front in weather.fronts:
        _add_front(total, front, x, y, time_hours)
    for centre in weather.centres:
        _add_centre(total, centre, x, y, time_hours)
    if weather.vortex is not None:
        _add_vortex(total, weather.vortex, x, y, time_hours)
    total["ascent"] += 0.12 * (total["moisture"] - weather.moisture)
    return LargeScale(**total)
