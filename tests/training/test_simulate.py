"""The simulation: its physics hangs together, its rain and its errors are those it promises."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from training import atmosphere, orography, rainfall
from training.simulate import FULL, KOREA, Region, SimulatedCycle, simulate_cycle

INSTANTANEOUS = (
    "geopotential_height_100hpa",
    "geopotential_height_500hpa",
    "geopotential_height_850hpa",
    "mean_sea_level_pressure",
    "relative_humidity_500hpa",
    "relative_humidity_850hpa",
    "temperature_2m",
    "temperature_500hpa",
    "temperature_850hpa",
    "eastward_wind_10m",
    "eastward_wind_500hpa",
    "eastward_wind_850hpa",
    "northward_wind_10m",
    "northward_wind_500hpa",
    "northward_wind_850hpa",
)
LIMITS = {
    "geopotential_height_100hpa": (15000.0, 17200.0),
    "geopotential_height_500hpa": (4700.0, 6100.0),
    "geopotential_height_850hpa": (900.0, 1800.0),
    "mean_sea_level_pressure": (87000.0, 108500.0),
    "relative_humidity": (0.0, 100.0),
    "temperature": (180.0, 335.0),
    "eastward_wind": (-120.0, 120.0),
    "northward_wind": (-120.0, 120.0),
}
WINDOW = (slice(8, 232), slice(10, 138))
CLIMATE_CYCLES = 40
CLIMATE_FIRST_SEED = 910_000  # far from the seeds of the tuning

Field = NDArray[np.float32]
Draws = list[tuple[SimulatedCycle, Field, Field]]


def date_of(seed: int) -> np.datetime64:
    """A reference time from June to September, in one of five from April, May or October."""
    random = np.random.default_rng([seed, 77])
    starts, days = [("2021-06-01", 122)] * 8 + [("2021-04-01", 61), ("2021-10-01", 31)], random.uniform()
    start, length = starts[int(random.integers(0, len(starts)))]
    hours = 24 * int(days * length) + 6 * int(random.integers(0, 4))
    return np.datetime64(start, "s") + np.timedelta64(hours, "h")


def on_qpe_grid(field: Field, region: Region = KOREA) -> Field:
    """Bilinear interpolation written point by point, independent of the simulation's own."""
    x, y = orography.qpe_in_rdaps_index()
    out = np.empty((y.size, x.size), np.float32)
    for row, position_y in enumerate(y - region.y_start):
        j, b = int(position_y), position_y % 1
        line = (1 - b) * field[j] + b * field[j + 1]
        out[row] = np.interp(x - region.x_start, np.arange(region.nx), line)
    return out


@lru_cache(maxsize=1)
def climate() -> Draws:
    """Cycles of two leads; the true and the forecast rain of the second over the window over Korea [mm]."""
    draws: Draws = []
    for seed in range(CLIMATE_FIRST_SEED, CLIMATE_FIRST_SEED + CLIMATE_CYCLES):
        lead = 25 + seed % 6
        cycle = simulate_cycle(seed, date_of(seed), (lead - 1, lead))
        hourly = np.diff(cycle.accumulated_rain_mm, axis=0)[0]
        draws.append((cycle, cycle.qpe_mm[1][WINDOW], on_qpe_grid(hourly)[WINDOW]))
    return draws


@lru_cache(maxsize=1)
def full_cycle() -> SimulatedCycle:
    return simulate_cycle(11, np.datetime64("2022-07-05T06", "s"), (27,), FULL)


def rain_of_climate() -> tuple[Field, Field]:
    return np.stack([truth for _, truth, _ in climate()]), np.stack([raw for _, _, raw in climate()])


def scores(truth: Field, forecast: Field, threshold_mm: float) -> tuple[float, float, float]:
    """CSI, precision and recall over all points."""
    observed, said = truth >= threshold_mm, forecast >= threshold_mm
    hits = float((observed & said).sum())
    return hits / float((observed | said).sum()), hits / float(said.sum()), hits / float(observed.sum())


def correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    return float(np.corrcoef(np.ravel(first), np.ravel(second))[0, 1])


def geostrophic(height: Field, region: Region = KOREA) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Earth-relative geostrophic wind over a region from a height, by central differences."""
    x, y = orography.rdaps_plane_km()
    columns = slice(region.x_start, region.x_start + region.nx)
    plane_x, plane_y = np.meshgrid(x[columns], y[region.y_start : region.y_start + region.ny])
    latitude, longitude = orography.plane_to_geographic(plane_x, plane_y)
    slope_y, slope_x = np.gradient(height.astype(float), 3000.0)
    factor = 9.80665 / (2 * 7.292e-5 * np.sin(np.deg2rad(latitude))) * orography.map_scale(latitude)
    u, v = -factor * slope_y, factor * slope_x
    angle = orography.convergence_angle(longitude)
    return u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)


def test_cycle_has_the_promised_form() -> None:
    cycle = simulate_cycle(1, np.datetime64("2022-07-10T06"), (25, 26, 28))
    assert tuple(cycle.fields) == INSTANTANEOUS
    assert all(f.shape == (3, KOREA.ny, KOREA.nx) and f.dtype == np.float32 for f in cycle.fields.values())
    assert cycle.accumulated_rain_mm.shape == (3, KOREA.ny, KOREA.nx)
    assert cycle.accumulated_rain_mm.dtype == np.float32
    assert cycle.qpe_mm.shape == (3, 253, 149)
    assert cycle.qpe_mm.dtype == np.float32
    assert cycle.reference_time == np.datetime64("2022-07-10T06:00:00")
    assert cycle.leads_hours == (25, 26, 28)


def test_same_seed_same_cycle_and_another_seed_another() -> None:
    time = np.datetime64("2022-08-01T00", "s")
    first, again, other = (simulate_cycle(seed, time, (26,)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.qpe_mm, again.qpe_mm)
    np.testing.assert_array_equal(first.accumulated_rain_mm, again.accumulated_rain_mm)
    for name in INSTANTANEOUS:
        np.testing.assert_array_equal(first.fields[name], again.fields[name])
        assert np.abs(first.fields[name] - other.fields[name]).max() > 0


def test_a_lead_is_the_same_whichever_leads_are_asked_for() -> None:
    time = np.datetime64("2022-07-01T12", "s")
    few, many = simulate_cycle(8, time, (26, 27)), simulate_cycle(8, time, (24, 26, 27, 28))
    np.testing.assert_array_equal(few.qpe_mm, many.qpe_mm[1:3])
    np.testing.assert_array_equal(few.fields["temperature_2m"], many.fields["temperature_2m"][1:3])
    hourly = [np.diff(c.accumulated_rain_mm, axis=0)[i] for c, i in ((few, 0), (many, 1))]
    np.testing.assert_allclose(hourly[0], hourly[1], atol=2e-4)


def test_full_grid_cut_at_korea_is_the_same_weather() -> None:
    time = np.datetime64("2022-07-05T06", "s")
    whole, korea = full_cycle(), simulate_cycle(11, time, (27,))
    cut = (
        slice(None),
        slice(KOREA.y_start, KOREA.y_start + KOREA.ny),
        slice(KOREA.x_start, KOREA.x_start + KOREA.nx),
    )
    assert whole.qpe_mm.max() > 1.0
    np.testing.assert_allclose(whole.qpe_mm, korea.qpe_mm, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        whole.accumulated_rain_mm[cut], korea.accumulated_rain_mm, rtol=1e-3, atol=5e-3
    )
    for name in INSTANTANEOUS:
        np.testing.assert_allclose(
            whole.fields[name][cut], korea.fields[name], rtol=1e-5, atol=5e-3, err_msg=name
        )
    check_limits(whole)


def test_region_must_hold_the_qpe_grid_and_leads_must_increase() -> None:
    time = np.datetime64("2022-07-05T06", "s")
    with pytest.raises(ValueError, match="does not lie within"):
        Region(0, 0, 841, 1050)
    with pytest.raises(ValueError, match="must contain"):
        simulate_cycle(1, time, (24,), Region(200, 444, 400, 268))
    with pytest.raises(ValueError, match="increase"):
        simulate_cycle(1, time, (25, 24))


def check_limits(cycle: SimulatedCycle) -> None:
    for name, field in cycle.fields.items():
        low, high = next(bounds for start, bounds in LIMITS.items() if name.startswith(start))
        assert np.isfinite(field).all(), name
        assert low <= field.min() <= field.max() <= high, f"{name}: {field.min()} .. {field.max()}"
    assert np.diff(cycle.accumulated_rain_mm, axis=0, prepend=0).min() >= 0
    for rain in (cycle.qpe_mm, np.diff(cycle.accumulated_rain_mm, axis=0)):
        assert np.isfinite(rain).all()
        assert rain.min(initial=0) >= 0
        assert rain.max(initial=0) <= 200


def test_physical_limits_hold_in_every_cycle() -> None:
    for cycle, _, _ in climate():
        check_limits(cycle)


def test_class_shares_are_those_of_the_paper() -> None:
    truth, _ = rain_of_climate()
    assert (truth < 0.1).mean() == pytest.approx(0.869, abs=0.045)
    assert ((truth >= 0.1) & (truth < 10)).mean() == pytest.approx(0.124, abs=0.045)
    assert (truth >= 10).mean() == pytest.approx(0.0075, abs=0.004)


def test_raw_scores_are_near_those_of_rdaps() -> None:
    truth, raw = rain_of_climate()
    csi, precision, recall = scores(truth, raw, 0.1)
    assert csi == pytest.approx(0.296, abs=0.05)
    assert precision == pytest.approx(0.405, abs=0.08)
    assert recall == pytest.approx(0.522, abs=0.08)
    csi, precision, recall = scores(truth, raw, 10.0)
    assert csi == pytest.approx(0.062, abs=0.03)
    assert precision == pytest.approx(0.077, abs=0.035)
    assert recall == pytest.approx(0.238, abs=0.1)


def test_wind_at_500_hpa_is_nearly_geostrophic() -> None:
    balanced, actual = [], []
    for cycle, _, _ in climate():
        balanced.append(np.stack(geostrophic(cycle.fields["geopotential_height_500hpa"][0])))
        actual.append(
            np.stack([cycle.fields[f"{axis}_wind_500hpa"][0] for axis in ("eastward", "northward")])
        )
    expected, wind = np.stack(balanced), np.stack(actual)
    # Near the core of a vortex the balance is that of the gradient wind, well below the geostrophic one.
    straight = np.broadcast_to(np.hypot(expected[:, :1], expected[:, 1:]) < 40, expected.shape)
    assert straight.mean() > 0.8
    assert correlation(expected[straight], wind[straight]) > 0.93


@pytest.mark.parametrize("columns", [slice(2, 150), slice(900, 1048)])
def test_winds_are_relative_to_the_earth_far_from_the_central_meridian(columns: slice) -> None:
    """At the western and eastern edges the grid's axes are turned by 9 to 16 degrees."""
    fields = full_cycle().fields
    expected = geostrophic(fields["geopotential_height_500hpa"][0], FULL)
    east, north = (fields[f"{axis}_wind_500hpa"][0] for axis in ("eastward", "northward"))
    turn = (east + 1j * north) * (expected[0] - 1j * expected[1])
    assert abs(np.angle(turn[2:-2, columns].sum(), deg=True)) < 3


def test_shear_follows_the_temperature_gradient() -> None:
    shear, thermal = [], []
    for cycle, _, _ in climate():
        mean = 0.5 * (cycle.fields["temperature_850hpa"][0] + cycle.fields["temperature_500hpa"][0])
        for axis, wind in zip(
            geostrophic(mean * atmosphere.THICKNESS_500_850), ("eastward", "northward"), strict=True
        ):
            thermal.append(axis)
            shear.append(cycle.fields[f"{wind}_wind_500hpa"][0] - cycle.fields[f"{wind}_wind_850hpa"][0])
    # The gradient sees the small scale of temperature, the wind does not: compare at 30 km.
    coarse = [
        [np.mean(f[:440, :260].reshape(44, 10, 26, 10), axis=(1, 3)) for f in fs] for fs in (shear, thermal)
    ]
    assert correlation(np.stack(coarse[0]), np.stack(coarse[1])) > 0.75


def test_thickness_follows_temperature() -> None:
    for cycle, _, _ in climate():
        fields = {name: field[0].astype(float) for name, field in cycle.fields.items()}
        thickness = fields["geopotential_height_500hpa"] - fields["geopotential_height_850hpa"]
        mean = 0.5 * (fields["temperature_850hpa"] + fields["temperature_500hpa"])
        hydrostatic = 287.05 / 9.80665 * np.log(850 / 500) * mean
        assert np.abs(thickness - hydrostatic).mean() < 5.0


def test_low_level_wind_converges_and_air_is_moist_under_rain() -> None:
    wet: dict[str, list[float]] = {
        "divergence_850": [],
        "divergence_10": [],
        "humid_850": [],
        "humid_500": [],
    }
    dry: dict[str, list[float]] = {name: [] for name in wet}
    for cycle, truth, _ in climate():
        rain = np.zeros((253, 149), bool)
        rain[WINDOW] = truth >= 5
        none = np.zeros((253, 149), bool)
        none[WINDOW] = truth <= 0
        for name, level in (("divergence_850", "850hpa"), ("divergence_10", "10m")):
            u, v = (
                on_qpe_grid(cycle.fields[f"{axis}_wind_{level}"][1]) for axis in ("eastward", "northward")
            )
            divergence = np.gradient(u, 5000.0, axis=1) + np.gradient(v, 5000.0, axis=0)
            wet[name].extend(divergence[rain])
            dry[name].extend(divergence[none])
        for name, level in (("humid_850", "850hpa"), ("humid_500", "500hpa")):
            humidity = on_qpe_grid(cycle.fields[f"relative_humidity_{level}"][1])
            wet[name].extend(humidity[rain])
            dry[name].extend(humidity[none])
    assert np.mean(wet["divergence_850"]) < np.mean(dry["divergence_850"]) - 1e-5
    assert np.mean(wet["divergence_10"]) < np.mean(dry["divergence_10"]) - 1e-5
    assert np.mean(wet["humid_850"]) > np.mean(dry["humid_850"]) + 15
    assert np.mean(wet["humid_500"]) > np.mean(dry["humid_500"]) + 15


def test_rain_is_areas_not_speckle() -> None:
    truth, _ = rain_of_climate()
    wet = truth >= 0.1
    neighbours = np.stack([np.roll(wet, step, axis) for axis in (1, 2) for step in (-1, 1)]).mean(axis=0)
    # A random scatter of the same share would have 13 % of wet neighbours.
    assert neighbours[wet].mean() > 0.8
    shares = wet.mean(axis=(1, 2))
    assert (shares < 0.02).mean() > 0.15  # dry days
    assert shares.max() > 0.3  # wet ones


def test_convection_peaks_in_the_afternoon_and_the_forecast_peaks_at_noon() -> None:
    place = atmosphere.stage(KOREA)
    shape = (KOREA.ny, KOREA.nx)
    zeros = np.zeros(shape, np.float32)
    state = rainfall.RainState(zeros, zeros, zeros, zeros + 22, zeros, zeros, zeros, zeros)
    inland = place.land.land_fraction > 0.99
    peaks = []
    for physics in (rainfall.NATURE, rainfall.MODEL):
        course = [
            rainfall.cell_chance(place, state, physics, 1.0, hour)[inland].mean() for hour in np.arange(24.0)
        ]
        peaks.append((np.argmax(course) + 127.5 / 15) % 24)
    assert 15 < peaks[0] < 18
    assert 11 < peaks[1] < 14


def in_blocks(field: NDArray[np.floating] | NDArray[np.bool_]) -> NDArray[np.float64]:
    """Means over 40 km of a field on the window."""
    return np.asarray(field.reshape(28, 8, 16, 8).mean(axis=(1, 3)), np.float64)


def test_state_of_the_forecast_knows_more_of_the_rain_than_its_rain() -> None:
    """What a post-processor can learn: humidity and convergence are less displaced than the rain."""
    wet, said, humid, converging = [], [], [], []
    for cycle, truth, raw in climate():
        wet.append(in_blocks(truth >= 0.1))
        said.append(in_blocks(raw >= 0.1))
        moist = [on_qpe_grid(cycle.fields[f"relative_humidity_{p}hpa"][1])[WINDOW] / 100 for p in (850, 500)]
        humid.append((in_blocks(moist[0]) * in_blocks(moist[1])) ** 2)
        u, v = (on_qpe_grid(cycle.fields[f"{axis}_wind_850hpa"][1]) for axis in ("eastward", "northward"))
        converging.append(in_blocks(-(np.gradient(u, axis=1) + np.gradient(v, axis=0))[WINDOW]))
    by_rain = correlation(np.stack(said), np.stack(wet))
    assert correlation(np.stack(humid), np.stack(wet)) > by_rain + 0.05
    assert correlation(np.stack(converging), np.stack(wet)) > 0.3
    assert 0.4 < by_rain < 0.7


def test_ascent_has_the_windward_side_of_taebaek() -> None:
    place = atmosphere.stage(KOREA)
    latitude, longitude = np.array([37.7, 37.7]), np.array([127.6, 129.05])
    x, y = orography.geographic_to_plane(latitude, longitude)
    column = np.rint(x / 3 + orography.RDAPS_ORIGIN_INDEX_X).astype(int) - KOREA.x_start
    row = np.rint(y / 3 + orography.RDAPS_ORIGIN_INDEX_Y).astype(int) - KOREA.y_start
    # Land rises from the west, falls to the east coast; the forecast's mountains are smoother.
    assert place.land.slope_x[row[0] : row[0] + 1, column[0] : column[1] - 12].mean() > 0
    assert place.land.slope_x[row[1], column[1] - 6 : column[1]].min() < -0.01
    assert np.abs(place.land.slope_x).max() > 2 * np.abs(place.land.model_slope_x).max()


def test_plane_and_sphere_are_inverse_and_agree_with_the_published_corners() -> None:
    x, y = orography.rdaps_plane_km()
    latitude, longitude = orography.plane_to_geographic(*np.meshgrid(x, y))
    assert (longitude.min(), longitude.max()) == (
        pytest.approx(103.971, abs=1e-3),
        pytest.approx(148.029, abs=1e-3),
    )
    assert (latitude.min(), latitude.max()) == (
        pytest.approx(25.255, abs=1e-3),
        pytest.approx(49.697, abs=1e-3),
    )
    back_x, back_y = orography.geographic_to_plane(latitude, longitude)
    np.testing.assert_allclose(back_x, np.broadcast_to(x, back_x.shape), atol=1e-6)
    np.testing.assert_allclose(back_y, np.broadcast_to(y[:, None], back_y.shape), atol=1e-6)


def test_qpe_corners_are_where_the_digital_forecast_has_them() -> None:
    index_x, index_y = orography.qpe_in_rdaps_index()
    plane_x = (index_x - orography.RDAPS_ORIGIN_INDEX_X) * 3
    plane_y = (index_y - orography.RDAPS_ORIGIN_INDEX_Y) * 3
    latitude, longitude = orography.plane_to_geographic(plane_x[[0, -1, 0, -1]], plane_y[[0, 0, -1, -1]])
    np.testing.assert_allclose(latitude, [31.79442, 31.65181, 43.39349, 43.21755], atol=1e-5)
    np.testing.assert_allclose(longitude, [123.76126, 131.64226, 123.31017, 132.77497], atol=1e-5)
