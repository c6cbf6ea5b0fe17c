"""Small cycles for tests: files of three leads that the sample artefact takes, and ways to spoil them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import eccodes
import numpy as np
from numpy.typing import NDArray

from service.grids import grid_from_definition
from service.specification import LambertDefinition

REFERENCE_TIME = np.datetime64("2026-11-22T00", "s")
SIZE = 30

TEMPERATURE_2M = ((0, 0, 0), 103, 2)
RELATIVE_HUMIDITY_850 = ((0, 1, 1), 100, 85000)
PRECIPITATION = ((0, 1, 8), 1, 0)


@dataclass(frozen=True)
class SampleField:
    """One GRIB2 message.

    field: code, surface type (WMO code table 4.5) and level. values: (y, x). corner: latitude and longitude
    of the first point, None for a grid around that of the sample artefact.
    """

    field: tuple[tuple[int, int, int], int, int]
    lead_hours: int
    values: NDArray[np.float64]
    reference_time: np.datetime64 = REFERENCE_TIME
    centre: int = 40
    spacing_m: float = 3000.0
    corner: tuple[float, float] | None = None


Change = Callable[[SampleField], SampleField | None]


def sample_fields(scale: float = 1.0) -> Iterator[SampleField]:
    """Leads 1 to 3; the precipitation accumulates, in mm, at a rate that differs from hour to hour."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    for lead in (1, 2, 3):
        yield SampleField(TEMPERATURE_2M, lead, 280.0 + 10 * x + lead)
        yield SampleField(RELATIVE_HUMIDITY_850, lead, 40.0 + 50 * y)
        yield SampleField(PRECIPITATION, lead, scale * lead**2 * (0.5 + x + y))


def write_files(folder: Path, fields: Iterable[SampleField]) -> list[Path]:
    """One file a lead, in the order of the leads."""
    folder.mkdir(parents=True, exist_ok=True)
    contents: dict[int, bytes] = {}
    for field in fields:
        contents[field.lead_hours] = contents.get(field.lead_hours, b"") + encode(field)
    paths = []
    for lead, content in sorted(contents.items()):
        path = folder / f"sample_h{lead:03d}.gb2"
        path.write_bytes(content)
        paths.append(path)
    return paths


def write_cycle(folder: Path, change: Change = lambda field: field, scale: float = 1.0) -> list[Path]:
    """A cycle whose fields went through ``change``, which drops those for which it gives None."""
    changed = (change(field) for field in sample_fields(scale))
    return write_files(folder, [field for field in changed if field is not None])


def replaced(**changes: object) -> Change:
    """A change of the same members in every field."""
    return lambda field: replace(field, **changes)  # type: ignore[arg-type]


def encode(field: SampleField) -> bytes:
    """A GRIB2 message on a Lambert grid around 38 N 126 E; NaN becomes a hole of the bitmap."""
    code, surface, level = field.field
    handle = eccodes.codes_grib_new_from_samples("GRIB2")
    keys: dict[str, int | float | str] = {
        "centre": field.centre,
        "dataDate": int(np.datetime_as_string(field.reference_time, unit="D").replace("-", "")),
        "dataTime": int(str(field.reference_time.astype("datetime64[h]"))[-2:]) * 100,
        "discipline": code[0],
        "productDefinitionTemplateNumber": 8 if field.field == PRECIPITATION else 0,
        "parameterCategory": code[1],
        "parameterNumber": code[2],
        "indicatorOfUnitOfTimeRange": 1,
        "forecastTime": 0 if field.field == PRECIPITATION else field.lead_hours,
        "typeOfFirstFixedSurface": surface,
        "scaleFactorOfFirstFixedSurface": 0,
        "scaledValueOfFirstFixedSurface": level,
        **_grid_keys(field),
    }
    if field.field == PRECIPITATION:
        keys |= _range_keys(field)
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    holes = np.isnan(field.values)
    if holes.any():
        eccodes.codes_set(handle, "bitmapPresent", 1)
        eccodes.codes_set(handle, "missingValue", 1e20)
    eccodes.codes_set(handle, "bitsPerValue", 16)
    eccodes.codes_set_values(handle, np.where(holes, 1e20, field.values).ravel())
    message: bytes = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return message


def _range_keys(field: SampleField) -> dict[str, int | float | str]:
    end = str(field.reference_time + np.timedelta64(field.lead_hours, "h"))
    return {
        "yearOfEndOfOverallTimeInterval": int(end[0:4]),
        "monthOfEndOfOverallTimeInterval": int(end[5:7]),
        "dayOfEndOfOverallTimeInterval": int(end[8:10]),
        "hourOfEndOfOverallTimeInterval": int(end[11:13]),
        "minuteOfEndOfOverallTimeInterval": 0,
        "secondOfEndOfOverallTimeInterval": 0,
        "typeOfStatisticalProcessing": 1,
        "typeOfTimeIncrement": 2,
        "indicatorOfUnitForTimeRange": 1,
        "lengthOfTimeRange": field.lead_hours,
    }


def source_definition(spacing_m: float = 3000.0) -> LambertDefinition:
    """The grid of the files: it covers the sample artefact's target with some to spare."""
    return LambertDefinition(
        nx=SIZE,
        ny=SIZE,
        spacing_m=spacing_m,
        standard_parallels_degrees=(30.0, 60.0),
        origin_latitude_degrees=38.0,
        origin_longitude_degrees=126.0,
        origin_x=(SIZE - 1) / 2,
        origin_y=(SIZE - 1) / 2,
        earth_radius_m=6_370_000.0,
    )


def _grid_keys(field: SampleField) -> dict[str, int | float | str]:
    if field.corner is None:
        latitudes, longitudes = grid_from_definition(source_definition(field.spacing_m)).latitude_longitude()
        latitude, longitude = float(latitudes[0, 0]), float(longitudes[0, 0])
    else:
        latitude, longitude = field.corner
    return {
        "gridType": "lambert",
        "shapeOfTheEarth": 1,
        "scaleFactorOfRadiusOfSphericalEarth": 0,
        "scaledValueOfRadiusOfSphericalEarth": 6_370_000,
        "Nx": SIZE,
        "Ny": SIZE,
        "latitudeOfFirstGridPointInDegrees": latitude,
        "longitudeOfFirstGridPointInDegrees": longitude,
        "LaDInDegrees": 30.0,
        "LoVInDegrees": 126.0,
        "DxInMetres": field.spacing_m,
        "DyInMetres": field.spacing_m,
        "Latin1InDegrees": 30.0,
        "Latin2InDegrees": 60.0,
        "jScansPositively": 1,
        "uvRelativeToGrid": 0,
    }
