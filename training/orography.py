"""The map plane of RDAPS-KIM and an analytic sketch of the land under it.

Lambert conformal plane: cone of 30 N and 60 N, origin 38 N 126 E, sphere of 6370 km (Snyder 1987, USGS
Professional Paper 1395, section 15). Coasts are polygons of a few dozen corners and mountains are Gaussian
ridges: good enough for land heating, lee and windward sides, not for hydrology.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RDAPS_NY, RDAPS_NX = 840, 1050
RDAPS_SPACING_KM = 3.0
RDAPS_RADIUS_KM = 6370.0
RDAPS_ORIGIN_INDEX_Y, RDAPS_ORIGIN_INDEX_X = 419.5, 524.5
QPE_NY, QPE_NX = 253, 149
QPE_SPACING_KM = 5.0
QPE_RADIUS_KM = 6371.00877
QPE_ORIGIN_INDEX_Y, QPE_ORIGIN_INDEX_X = 135.0, 42.0
STANDARD_PARALLELS_DEGREES = (30.0, 60.0)
ORIGIN_LATITUDE_DEGREES, ORIGIN_LONGITUDE_DEGREES = 38.0, 126.0

COAST_SMOOTHING_KM = 6.0
HEIGHT_SMOOTHING_FINE_KM = 7.0  # what true rain feels
HEIGHT_SMOOTHING_MODEL_KM = 30.0  # what the forecast's rain feels

Field = NDArray[np.float32]
Coordinates = NDArray[np.float64]

_PHI_1, _PHI_2 = np.deg2rad(STANDARD_PARALLELS_DEGREES)
CONE = float(
    np.log(np.cos(_PHI_1) / np.cos(_PHI_2))
    / np.log(np.tan(np.pi / 4 + _PHI_2 / 2) / np.tan(np.pi / 4 + _PHI_1 / 2))
)
_SCALE_KM = float(RDAPS_RADIUS_KM * np.cos(_PHI_1) * np.tan(np.pi / 4 + _PHI_1 / 2) ** CONE / CONE)
_ORIGIN_RHO_KM = float(_SCALE_KM / np.tan(np.pi / 4 + np.deg2rad(ORIGIN_LATITUDE_DEGREES) / 2) ** CONE)

# Corners as (longitude, latitude) in degrees.
COASTS: tuple[tuple[tuple[float, float], ...], ...] = (
    (  # the Korean peninsula, closed in Manchuria
        (124.4, 40.0),
        (125.1, 39.6),
        (125.3, 38.7),
        (124.9, 38.1),
        (125.7, 37.7),
        (126.7, 37.7),
        (126.7, 37.0),
        (126.2, 36.7),
        (126.6, 36.1),
        (126.5, 35.5),
        (126.3, 34.8),
        (126.6, 34.3),
        (127.4, 34.6),
        (128.1, 34.8),
        (129.0, 35.1),
        (129.4, 35.5),
        (129.5, 36.1),
        (129.4, 37.0),
        (128.6, 38.2),
        (127.5, 39.2),
        (127.6, 39.8),
        (129.7, 41.0),
        (130.6, 42.3),
        (133.0, 43.0),
        (135.5, 44.4),
        (140.0, 48.0),
        (140.0, 52.0),
        (95.0, 52.0),
        (95.0, 20.0),
        (108.0, 20.0),
        (112.0, 21.8),
        (117.0, 23.5),
        (119.7, 25.8),
        (121.8, 28.5),
        (121.9, 31.0),
        (120.3, 33.5),
        (119.3, 35.0),
        (121.0, 36.6),
        (122.6, 37.3),
        (120.8, 37.8),
        (118.9, 37.4),
        (117.7, 38.7),
        (119.2, 39.4),
        (121.8, 40.8),
        (121.3, 39.0),
        (122.5, 39.5),
    ),
    ((129.7, 33.2), (130.3, 31.2), (131.2, 31.4), (132.0, 33.0), (131.0, 33.9)),  # Kyushu
    ((132.4, 33.3), (133.2, 32.8), (134.3, 33.6), (134.0, 34.3), (132.9, 34.1)),  # Shikoku
    (  # Honshu
        (130.9, 34.1),
        (132.5, 34.3),
        (135.0, 34.6),
        (135.8, 33.5),
        (137.0, 34.6),
        (139.0, 34.8),
        (140.8, 35.7),
        (142.0, 39.5),
        (141.3, 41.3),
        (140.0, 40.5),
        (139.5, 38.5),
        (137.0, 37.2),
        (136.0, 35.7),
        (133.0, 35.5),
        (131.3, 34.7),
    ),
    ((140.2, 41.6), (143.2, 42.0), (145.5, 43.3), (141.8, 45.4), (140.5, 43.2)),  # Hokkaido
    ((126.16, 33.3), (126.5, 33.23), (126.93, 33.45), (126.6, 33.56), (126.3, 33.48)),  # Jeju
)

# Ridges: (longitude, latitude) of both ends, height [m], half-width [km] left and right of start -> end.
RIDGES: tuple[tuple[float, float, float, float, float, float, float], ...] = (
    (129.0, 36.9, 128.2, 38.4, 950.0, 40.0, 17.0),  # Taebaek, central: steep on the east
    (128.2, 38.4, 127.2, 39.4, 850.0, 40.0, 20.0),  # Taebaek, northern
    (129.1, 35.7, 129.0, 36.9, 550.0, 22.0, 14.0),  # Taebaek, southern
    (128.6, 37.0, 127.8, 36.2, 750.0, 20.0, 20.0),  # Sobaek, north
    (127.8, 36.2, 127.6, 35.4, 900.0, 18.0, 20.0),  # Sobaek, south, with Jiri
    (126.53, 33.36, 126.54, 33.36, 1650.0, 9.0, 9.0),  # Halla
    (127.2, 40.6, 128.8, 41.4, 1300.0, 75.0, 55.0),  # Gaema
    (126.3, 40.3, 127.2, 39.2, 900.0, 35.0, 35.0),  # Nangnim
    (128.1, 42.0, 128.2, 42.0, 1100.0, 40.0, 40.0),  # Baekdu
    (134.0, 43.8, 138.0, 48.0, 800.0, 80.0, 80.0),  # Sikhote-Alin
    (131.1, 32.2, 131.1, 33.1, 800.0, 22.0, 22.0),  # Kyushu
    (133.2, 33.7, 134.1, 33.9, 1000.0, 20.0, 20.0),  # Shikoku
    (137.7, 35.4, 138.2, 36.8, 1900.0, 40.0, 40.0),  # Japanese Alps
    (140.8, 37.5, 140.9, 40.0, 900.0, 30.0, 30.0),  # Ou
    (113.5, 36.0, 115.5, 40.5, 1200.0, 110.0, 60.0),  # Taihang
    (110.0, 25.5, 118.5, 27.5, 800.0, 120.0, 120.0),  # Nanling, Wuyi
)  # fmt: skip


@dataclass(frozen=True)
class Terrain:
    """The land under the whole RDAPS-KIM grid, every field of shape (840, 1050).

    ``height_m``; ``land_fraction`` 0..1; ``slope_*`` and ``model_slope_*`` are d(height)/dx and d(height)/dy
    along the grid axes [1] of the fine and the model-smoothed orography.
    """

    height_m: Field
    land_fraction: Field
    slope_x: Field
    slope_y: Field
    model_slope_x: Field
    model_slope_y: Field


@dataclass(frozen=True)
class Region:
    """A rectangle of the RDAPS-KIM grid of 840 rows and 1050 columns of 3 km; rows go from south to north."""

    y_start: int
    x_start: int
    ny: int
    nx: int

    def __post_init__(self) -> None:
        inside = self.y_start >= 0 and self.x_start >= 0 and self.ny > 0 and self.nx > 0
        if not inside or self.y_start + self.ny > RDAPS_NY or self.x_start + self.nx > RDAPS_NX:
            raise ValueError(f"{self} does not lie within the {RDAPS_NY} x {RDAPS_NX} grid of RDAPS-KIM")


FULL = Region(0, 0, RDAPS_NY, RDAPS_NX)
KOREA = Region(184, 444, 440, 268)
"""The whole QPE grid of 149 x 253 points and a margin of 10 cells of 3 km."""


def rdaps_plane_km() -> tuple[Coordinates, Coordinates]:
    """Plane coordinates of the grid columns (nx) and rows (ny) [km], origin at 38 N 126 E."""
    x = (np.arange(RDAPS_NX, dtype=np.float64) - RDAPS_ORIGIN_INDEX_X) * RDAPS_SPACING_KM
    y = (np.arange(RDAPS_NY, dtype=np.float64) - RDAPS_ORIGIN_INDEX_Y) * RDAPS_SPACING_KM
    return x, y


def qpe_in_rdaps_index() -> tuple[Coordinates, Coordinates]:
    """Fractional RDAPS-KIM indices of the QPE grid's columns (149) and rows (253)."""
    ratio = QPE_SPACING_KM * RDAPS_RADIUS_KM / QPE_RADIUS_KM / RDAPS_SPACING_KM
    x = RDAPS_ORIGIN_INDEX_X + (np.arange(QPE_NX, dtype=np.float64) - QPE_ORIGIN_INDEX_X) * ratio
    y = RDAPS_ORIGIN_INDEX_Y + (np.arange(QPE_NY, dtype=np.float64) - QPE_ORIGIN_INDEX_Y) * ratio
    return x, y


def plane_to_geographic(x_km: Coordinates, y_km: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Latitude and longitude [degrees] of points of the plane (Snyder 1987, equations 15-8 to 15-11)."""
    rho = np.hypot(x_km, _ORIGIN_RHO_KM - y_km)
    theta = np.arctan2(x_km, _ORIGIN_RHO_KM - y_km)
    latitude: Coordinates = np.rad2deg(2 * np.arctan((_SCALE_KM / rho) ** (1 / CONE))) - 90.0
    longitude: Coordinates = ORIGIN_LONGITUDE_DEGREES + np.rad2deg(theta) / CONE
    return np.asarray(latitude, np.float64), np.asarray(longitude, np.float64)


def geographic_to_plane(latitude: Coordinates, longitude: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Plane coordinates [km] of geographic points [degrees] (Snyder 1987, equations 15-1 to 15-5)."""
    rho = _SCALE_KM / np.tan(np.pi / 4 + np.deg2rad(latitude) / 2) ** CONE
    theta = CONE * np.deg2rad(longitude - ORIGIN_LONGITUDE_DEGREES)
    x_km, y_km = rho * np.sin(theta), _ORIGIN_RHO_KM - rho * np.cos(theta)
    return np.asarray(x_km, np.float64), np.asarray(y_km, np.float64)


def map_scale(latitude: Coordinates) -> Coordinates:
    """Length on the plane over length on the sphere, at latitudes in degrees."""
    rho = _SCALE_KM / np.tan(np.pi / 4 + np.deg2rad(latitude) / 2) ** CONE
    return np.asarray(CONE * rho / (RDAPS_RADIUS_KM * np.cos(np.deg2rad(latitude))))


def convergence_angle(longitude: Coordinates) -> Coordinates:
    """Angle [radian] from true east to the grid's x axis, clockwise positive, at longitudes in degrees."""
    return np.asarray(CONE * np.deg2rad(longitude - ORIGIN_LONGITUDE_DEGREES))


def _inside(polygon: tuple[tuple[float, float], ...], x: Coordinates, y: Coordinates) -> NDArray[np.bool_]:
    corner_x, corner_y = geographic_to_plane(
        np.array([point[1] for point in polygon]), np.array([point[0] for point in polygon])
    )
    inside = np.zeros((y.size, x.size), bool)
    for x0, y0, x1, y1 in zip(corner_x, corner_y, np.roll(corner_x, 1), np.roll(corner_y, 1), strict=True):
        rows = np.flatnonzero((y0 > y) != (y1 > y))
        crossing = (x1 - x0) * (y[rows] - y0) / (y1 - y0) + x0
        inside[rows] ^= x[None, :] < crossing[:, None]
    return inside


def _ridge(
    ridge: tuple[float, float, float, float, float, float, float], x: Coordinates, y: Coordinates
) -> Coordinates:
    longitude_0, latitude_0, longitude_1, latitude_1, height, left, right = ridge
    ends_x, ends_y = geographic_to_plane(
        np.array([latitude_0, latitude_1]), np.array([longitude_0, longitude_1])
    )
    length = np.hypot(ends_x[1] - ends_x[0], ends_y[1] - ends_y[0])
    cosine, sine = (ends_x[1] - ends_x[0]) / length, (ends_y[1] - ends_y[0]) / length
    east, north = x[None, :] - ends_x[0], y[:, None] - ends_y[0]
    along = cosine * east + sine * north
    across = cosine * north - sine * east
    beyond = along - np.clip(along, 0.0, length)
    width = np.where(across > 0, left, right)
    return np.asarray(height * np.exp(-0.5 * (across / width) ** 2 - 0.5 * (beyond / min(left, right)) ** 2))


def smooth(field: NDArray[np.floating], sigma_km: float) -> Coordinates:
    """Gaussian smoothing of a field on the 3-km grid, mirrored at the edges."""
    margin = int(np.ceil(4 * sigma_km / RDAPS_SPACING_KM))
    padded = np.pad(field, margin, mode="symmetric")
    wave_y = np.fft.fftfreq(padded.shape[0], RDAPS_SPACING_KM)[:, None]
    wave_x = np.fft.rfftfreq(padded.shape[1], RDAPS_SPACING_KM)[None, :]
    response = np.exp(-2 * (np.pi * sigma_km) ** 2 * (wave_x**2 + wave_y**2))
    out = np.fft.irfft2(np.fft.rfft2(padded) * response, s=padded.shape)
    return np.asarray(out[margin:-margin, margin:-margin])


@lru_cache(maxsize=1)
def terrain() -> Terrain:
    """Land and mountains of the whole grid; computed once a process (about a second)."""
    x, y = rdaps_plane_km()
    land = np.zeros((y.size, x.size), bool)
    for coast in COASTS:
        land |= _inside(coast, x, y)
    # Ridges overlap where ranges meet: the larger wins, so that a junction is no higher than its ranges.
    height = np.full(land.shape, 60.0)
    for ridge in RIDGES:
        np.maximum(height, _ridge(ridge, x, y), out=height)
    land_fraction = np.clip(smooth(land.astype(float), COAST_SMOOTHING_KM), 0.0, 1.0)
    height *= land_fraction
    step_m = 1000.0 * RDAPS_SPACING_KM
    slope_y, slope_x = np.gradient(smooth(height, HEIGHT_SMOOTHING_FINE_KM), step_m)
    model_slope_y, model_slope_x = np.gradient(smooth(height, HEIGHT_SMOOTHING_MODEL_KM), step_m)
    fields = (height, land_fraction, slope_x, slope_y, model_slope_x, model_slope_y)
    return Terrain(*(np.asarray(field, np.float32) for field in fields))
