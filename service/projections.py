"""Map projections of grids, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from service.errors import WrongGrid

Degrees = NDArray[np.float64]
Metres = NDArray[np.float64]


def normalised_longitude(longitude: Degrees) -> Degrees:
    """Degrees east in [-180, 180)."""
    wrapped: Degrees = np.mod(longitude + 180.0, 360.0) - 180.0
    return wrapped


def unit_vectors(latitude: Degrees, longitude: Degrees) -> NDArray[np.float64]:
    """Points in degrees as vectors (..., 3) on the unit sphere."""
    north, east = np.radians(latitude), np.radians(longitude)
    distance = np.cos(north)
    return np.stack([distance * np.cos(east), distance * np.sin(east), np.sin(north)], axis=-1)


@dataclass(frozen=True)
class LambertConformal:
    """Lambert conformal conic projection of a sphere or an ellipsoid of revolution.

    Source: Snyder (1987), Map projections: a working manual, USGS Professional Paper 1395, equations
    15-1 to 15-11 (sphere where the two axes are equal) and 7-9 (latitude from t), doi:10.3133/pp1395.

    x, y in m: (0, 0) lies at the origin's latitude and longitude, x grows eastward and y northward along the
    origin's meridian. Lengths are true along the standard parallels: the meaning that eccodes and PROJ give
    to Dx and Dy of a GRIB header, whose LaD is read as the origin's latitude and nothing else.

    Raises WrongGrid where the numbers describe no cone.
    """

    standard_parallels_degrees: tuple[float, float]
    origin_latitude_degrees: float
    origin_longitude_degrees: float
    semi_major_axis_m: float
    semi_minor_axis_m: float

    def __post_init__(self) -> None:
        first, second = self.standard_parallels_degrees
        numbers = (first, second, self.origin_latitude_degrees, self.origin_longitude_degrees)
        if (
            not np.all(np.isfinite(numbers))
            or max(abs(first), abs(second), abs(self.origin_latitude_degrees)) >= 90.0
            or abs(first + second) < 1e-6
            or not 0.0 < self.semi_minor_axis_m <= self.semi_major_axis_m
        ):
            raise WrongGrid(
                "The header describes no Lambert conformal cone",
                expected="parallels and origin within 90 degrees, not symmetric about the equator, "
                "and a sphere or an oblate ellipsoid",
                got=repr(self),
            )

    @property
    def eccentricity(self) -> float:
        """First eccentricity of the ellipsoid, 0 for a sphere."""
        return float(np.sqrt(1.0 - (self.semi_minor_axis_m / self.semi_major_axis_m) ** 2))

    @cached_property
    def cone(self) -> float:
        """The cone constant n (Snyder 15-8): convergence of meridians per degree of longitude."""
        first, second = np.radians(self.standard_parallels_degrees)
        if abs(first - second) < 1e-10:
            return float(np.sin(first))
        parallels = np.array([first, second])
        m = np.log(self._parallel_radius(parallels))
        t = np.log(self._isometric(parallels))
        return float((m[0] - m[1]) / (t[0] - t[1]))

    @cached_property
    def _scale_m(self) -> float:
        """a F of Snyder 15-10."""
        first = np.radians(np.array(self.standard_parallels_degrees[0]))
        m, t = self._parallel_radius(first), self._isometric(first)
        return float(self.semi_major_axis_m * m / (self.cone * t**self.cone))

    @cached_property
    def _origin_radius_m(self) -> float:
        origin = np.radians(np.array(self.origin_latitude_degrees))
        return float(self._scale_m * self._isometric(origin) ** self.cone)

    def forward(self, latitude: Degrees, longitude: Degrees) -> tuple[Metres, Metres]:
        """(x, y) in m of points in degrees, any shape."""
        radius = self._scale_m * self._isometric(np.radians(latitude)) ** self.cone
        angle = self.convergence(longitude)
        return radius * np.sin(angle), self._origin_radius_m - radius * np.cos(angle)

    def inverse(self, x: Metres, y: Metres) -> tuple[Degrees, Degrees]:
        """(latitude, longitude) in degrees, longitude in [-180, 180)."""
        sign = np.sign(self.cone)
        height = self._origin_radius_m - y
        radius = sign * np.hypot(x, height)
        angle = np.arctan2(sign * x, sign * height)
        latitude = self._latitude((radius / self._scale_m) ** (1.0 / self.cone))
        longitude = self.origin_longitude_degrees + np.degrees(angle / self.cone)
        return np.degrees(latitude), normalised_longitude(longitude)

    def convergence(self, longitude: Degrees) -> NDArray[np.float64]:
        """Angle of the grid's y axis east of true north, radians: n times the longitude from the origin's."""
        offset = normalised_longitude(np.asarray(longitude) - self.origin_longitude_degrees)
        return self.cone * np.radians(offset)

    def cf_grid_mapping(self) -> dict[str, str | float | list[float]]:
        """Attributes of a CF grid mapping variable (CF conventions, appendix F)."""
        first, second = self.standard_parallels_degrees
        attributes: dict[str, str | float | list[float]] = {
            "grid_mapping_name": "lambert_conformal_conic",
            "standard_parallel": first if first == second else [first, second],
            "latitude_of_projection_origin": self.origin_latitude_degrees,
            "longitude_of_central_meridian": self.origin_longitude_degrees,
            "false_easting": 0.0,
            "false_northing": 0.0,
        }
        if self.semi_major_axis_m == self.semi_minor_axis_m:
            return attributes | {"earth_radius": self.semi_major_axis_m}
        return attributes | {
            "semi_major_axis": self.semi_major_axis_m,
            "semi_minor_axis": self.semi_minor_axis_m,
        }

    def _parallel_radius(self, latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        """m of Snyder 14-15; latitude in radians."""
        eccentric = self.eccentricity * np.sin(latitude)
        return np.asarray(np.cos(latitude) / np.sqrt(1.0 - eccentric**2))

    def _isometric(self, latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        """t of Snyder 15-9; latitude in radians."""
        eccentric = self.eccentricity * np.sin(latitude)
        flattening = ((1.0 - eccentric) / (1.0 + eccentric)) ** (self.eccentricity / 2.0)
        return np.asarray(np.tan(np.pi / 4.0 - latitude / 2.0) / flattening)

    def _latitude(self, isometric: NDArray[np.float64]) -> NDArray[np.float64]:
        """Latitude in radians from t, by Snyder's 7-9: each round gains two digits on the Earth."""
        latitude = np.asarray(np.pi / 2.0 - 2.0 * np.arctan(isometric))
        if self.eccentricity > 0.0:
            for _ in range(8):
                eccentric = self.eccentricity * np.sin(latitude)
                flattening = ((1.0 - eccentric) / (1.0 + eccentric)) ** (self.eccentricity / 2.0)
                latitude = np.asarray(np.pi / 2.0 - 2.0 * np.arctan(isometric * flattening))
        return latitude
