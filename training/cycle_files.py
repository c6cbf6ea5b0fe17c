"""A simulated cycle as files: GRIB2 and NetCDF as KMA delivers them, and QPE in the DFS text form.

``python -m training.cycle_files --out DIR`` writes one cycle. The files carry the names, the split into
isobaric and single-level files, the grid header and the accumulations since the start of the run that are
known of RDAPS-KIM, and messages that nobody asked for, as real files do. Every file says in its header that
it is simulated as far as its format lets it: GRIB2 by production status 2 (research), NetCDF by a global
attribute.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import eccodes
import netCDF4
import numpy as np
from numpy.typing import NDArray

from service.channels import CHANNELS, QUANTITIES, LevelType
from service.grids import grid_from_definition
from service.specification import LambertDefinition
from training.domain import RDAPS_KIM
from training.simulate import FULL, SimulatedCycle, simulate_cycle

CENTRE_KMA = 40
DFS_MISSING_MM = -99.0
DFS_VALUES_PER_LINE = 20
KOREA_STANDARD_TIME = np.timedelta64(9, "h")

_ISOBARIC_SURFACE, _MEAN_SEA_LEVEL, _HEIGHT_ABOVE_GROUND, _GROUND = 100, 101, 103, 1  # WMO code table 4.5
_ACCUMULATION = (0, 1, 8)  # total precipitation, WMO code table 4.2
_SURFACE_CODES = {
    LevelType.ISOBARIC: _ISOBARIC_SURFACE,
    LevelType.MEAN_SEA_LEVEL: _MEAN_SEA_LEVEL,
    LevelType.HEIGHT_ABOVE_GROUND: _HEIGHT_ABOVE_GROUND,
    LevelType.SURFACE: _GROUND,
}


@dataclass(frozen=True)
class Message:
    """One GRIB2 message: code (discipline, category, number), surface code and value, values (y, x)."""

    code: tuple[int, int, int]
    surface: int
    level: int
    values: NDArray[np.float32]


def wanted_messages(cycle: SimulatedCycle, lead: int) -> Iterator[Message]:
    """The messages of one lead (index into the cycle's leads) that the model's channels come from."""
    for name, fields in cycle.fields.items():
        channel = CHANNELS[name]
        code = next(iter(QUANTITIES[channel.quantity].grib2))
        # Isobaric surfaces are coded in Pa.
        level = int(channel.level) * (100 if channel.level_type is LevelType.ISOBARIC else 1)
        yield Message(code, _SURFACE_CODES[channel.level_type], level, fields[lead])
    yield Message(_ACCUMULATION, _GROUND, 0, cycle.accumulated_rain_mm[lead])


def unwanted_messages(cycle: SimulatedCycle, lead: int) -> Iterator[Message]:
    """Fields that real files hold too and that a reader must pass over: other levels, other quantities.

    They share codes or levels with the wanted ones. Their values are plausible, not simulated.
    """
    fields = cycle.fields
    temperature_850, temperature_500 = fields["temperature_850hpa"][lead], fields["temperature_500hpa"][lead]
    temperature_700 = 0.55 * temperature_850 + 0.45 * temperature_500
    yield Message((0, 0, 0), _ISOBARIC_SURFACE, 70000, temperature_700)
    yield Message((0, 0, 0), _GROUND, 0, fields["temperature_2m"][lead] + 1.0)
    yield Message((0, 1, 1), _HEIGHT_ABOVE_GROUND, 2, fields["relative_humidity_850hpa"][lead])
    yield Message((0, 2, 2), _HEIGHT_ABOVE_GROUND, 80, 1.3 * fields["eastward_wind_10m"][lead])
    yield Message((0, 2, 3), _HEIGHT_ABOVE_GROUND, 80, 1.3 * fields["northward_wind_10m"][lead])
    yield Message((0, 3, 0), _GROUND, 0, fields["mean_sea_level_pressure"][lead] - 1200.0)


def _message_handle(cycle: SimulatedCycle, message: Message, lead_hours: int, packing: str) -> int:
    handle: int = eccodes.codes_grib_new_from_samples("GRIB2")
    accumulated = message.code == _ACCUMULATION
    keys: dict[str, int | str | float] = {
        "centre": CENTRE_KMA,
        "productionStatusOfProcessedData": 2,
        "significanceOfReferenceTime": 1,
        "dataDate": int(np.datetime_as_string(cycle.reference_time, unit="D").replace("-", "")),
        "dataTime": int(str(cycle.reference_time.astype("datetime64[h]"))[-2:]) * 100,
        **grid_keys(_definition(cycle)),
        "discipline": message.code[0],
        "productDefinitionTemplateNumber": 8 if accumulated else 0,
        "parameterCategory": message.code[1],
        "parameterNumber": message.code[2],
        "typeOfGeneratingProcess": 2,
        "indicatorOfUnitOfTimeRange": 1,
        "forecastTime": 0 if accumulated else lead_hours,
        "typeOfFirstFixedSurface": message.surface,
        "scaleFactorOfFirstFixedSurface": 0,
        "scaledValueOfFirstFixedSurface": message.level,
        **(_accumulation_keys(cycle.reference_time, lead_hours) if accumulated else {}),
    }
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set(handle, "packingType", packing)
    eccodes.codes_set(handle, "bitsPerValue", 16)
    eccodes.codes_set_values(handle, message.values.astype(np.float64).ravel())
    return handle


def _accumulation_keys(reference_time: np.datetime64, lead_hours: int) -> dict[str, int]:
    end = (reference_time + np.timedelta64(lead_hours, "h")).astype("datetime64[s]").item()
    return {
        "yearOfEndOfOverallTimeInterval": end.year,
        "monthOfEndOfOverallTimeInterval": end.month,
        "dayOfEndOfOverallTimeInterval": end.day,
        "hourOfEndOfOverallTimeInterval": end.hour,
        "minuteOfEndOfOverallTimeInterval": 0,
        "secondOfEndOfOverallTimeInterval": 0,
        "typeOfStatisticalProcessing": 1,
        "typeOfTimeIncrement": 2,
        "indicatorOfUnitForTimeRange": 1,
        "lengthOfTimeRange": lead_hours,
    }


@cache
def grid_keys(definition: LambertDefinition) -> Mapping[str, int | str | float]:
    """The header's keys of a grid whose rows run from south to north."""
    latitude, longitude = grid_from_definition(definition).latitude_longitude()
    return {
        "gridType": "lambert",
        "shapeOfTheEarth": 1,
        "scaleFactorOfRadiusOfSphericalEarth": 0,
        "scaledValueOfRadiusOfSphericalEarth": int(definition.earth_radius_m),
        "Nx": definition.nx,
        "Ny": definition.ny,
        "latitudeOfFirstGridPointInDegrees": float(latitude[0, 0]),
        "longitudeOfFirstGridPointInDegrees": float(longitude[0, 0]),
        "LaDInDegrees": definition.standard_parallels_degrees[0],
        "LoVInDegrees": definition.origin_longitude_degrees,
        "DxInMetres": definition.spacing_m,
        "DyInMetres": definition.spacing_m,
        "Latin1InDegrees": definition.standard_parallels_degrees[0],
        "Latin2InDegrees": definition.standard_parallels_degrees[1],
        "jScansPositively": 1,
        "uvRelativeToGrid": 0,
    }


def moved(x_start: int, y_start: int, nx: int, ny: int) -> LambertDefinition:
    """The grid of RDAPS-KIM begun and ended at other points, counted from its own first."""
    origin = {"origin_x": RDAPS_KIM.origin_x - x_start, "origin_y": RDAPS_KIM.origin_y - y_start}
    return RDAPS_KIM.model_copy(update={"nx": nx, "ny": ny, **origin})


def _definition(cycle: SimulatedCycle) -> LambertDefinition:
    region = cycle.region
    return moved(region.x_start, region.y_start, region.nx, region.ny)


def write_grib2(cycle: SimulatedCycle, folder: Path, packing: str = "grid_ccsds") -> list[Path]:
    """Two files a lead, isobaric (``pres``) and single-level (``unis``), as in the archive of RDAPS-KIM.

    The first lead, which only starts the accumulation, is written whole like the others. Returns the paths.
    """
    paths = []
    stamp = _stamp(cycle.reference_time)
    for index, lead_hours in enumerate(cycle.leads_hours):
        messages = [*wanted_messages(cycle, index), *unwanted_messages(cycle, index)]
        for kind in ("pres", "unis"):
            path = folder / f"r030_v040_ne36_{kind}_h{lead_hours:03d}.{stamp}.gb2"
            with path.open("wb") as file:
                for message in messages:
                    if (message.surface == _ISOBARIC_SURFACE) == (kind == "pres"):
                        handle = _message_handle(cycle, message, lead_hours, packing)
                        eccodes.codes_write(handle, file)
                        eccodes.codes_release(handle)
            paths.append(path)
    return paths


_NETCDF_ISOBARIC = {
    "geopotential_height": ("GPH", "m"),
    "relative_humidity": ("RH", "%"),
    "temperature": ("T", "K"),
    "eastward_wind": ("U", "m s-1"),
    "northward_wind": ("V", "m s-1"),
}
_NETCDF_SINGLE = {
    "mean_sea_level_pressure": ("MSLP", "Pa"),
    "temperature_2m": ("T2", "K"),
    "eastward_wind_10m": ("U10", "m s-1"),
    "northward_wind_10m": ("V10", "m s-1"),
}
_NETCDF_LEVELS_HPA = (850.0, 500.0, 100.0)


def write_netcdf(cycle: SimulatedCycle, folder: Path) -> list[Path]:
    """Two files a lead, ``prs`` and ``etc``, packed into 16-bit integers as KMA's NetCDF form of 2026 is.

    Rain is split into RAINC and RAINNC, accumulated since the start of the run. Levels that the simulation
    does not have are fill values. Returns the paths.
    """
    paths = []
    stamp = _stamp(cycle.reference_time)
    for index, lead_hours in enumerate(cycle.leads_hours):
        for kind, write in (("prs", _write_isobaric), ("etc", _write_single_level)):
            path = folder / f"r030_v040_easia_{kind}.2byte.ft{lead_hours:03d}.{stamp}.nc"
            with _netcdf_file(path, cycle, lead_hours) as dataset:
                write(dataset, cycle, index)
            paths.append(path)
    return paths


def _write_isobaric(dataset: netCDF4.Dataset, cycle: SimulatedCycle, index: int) -> None:
    dataset.createDimension("level", len(_NETCDF_LEVELS_HPA))
    level = dataset.createVariable("level", "f4", ("level",))
    level.setncatts({"standard_name": "air_pressure", "units": "hPa", "positive": "down"})
    level[:] = _NETCDF_LEVELS_HPA
    shape = (1, len(_NETCDF_LEVELS_HPA), cycle.region.ny, cycle.region.nx)
    for quantity, (name, unit) in _NETCDF_ISOBARIC.items():
        stack = np.full(shape, np.nan, np.float32)
        for layer, level_hpa in enumerate(_NETCDF_LEVELS_HPA):
            fields = cycle.fields.get(f"{quantity}_{int(level_hpa)}hpa")
            if fields is not None:
                stack[0, layer] = fields[index]
        _packed(dataset, name, unit, ("time", "level", "y", "x"), stack)


def _write_single_level(dataset: netCDF4.Dataset, cycle: SimulatedCycle, index: int) -> None:
    for channel, (name, unit) in _NETCDF_SINGLE.items():
        _packed(dataset, name, unit, ("time", "y", "x"), cycle.fields[channel][index][None])
    rain_mm = cycle.accumulated_rain_mm[index][None]
    _packed(dataset, "RAINC", "mm", ("time", "y", "x"), 0.3 * rain_mm)
    _packed(dataset, "RAINNC", "mm", ("time", "y", "x"), 0.7 * rain_mm)


def _netcdf_file(path: Path, cycle: SimulatedCycle, lead_hours: int) -> netCDF4.Dataset:
    latitude, longitude = grid_from_definition(_definition(cycle)).latitude_longitude()
    dataset = netCDF4.Dataset(path, "w", format="NETCDF4")
    dataset.setncatts({"Conventions": "CF-1.8", "institution": "simulated, in the shape of RDAPS-KIM"})
    for name, size in (("time", 1), ("y", cycle.region.ny), ("x", cycle.region.nx)):
        dataset.createDimension(name, size)
    reference = str(cycle.reference_time.astype("datetime64[s]")).replace("T", " ")
    time = dataset.createVariable("time", "f8", ("time",))
    time.setncatts({"standard_name": "time", "units": f"hours since {reference}", "calendar": "standard"})
    time[:] = lead_hours
    start = dataset.createVariable("forecast_reference_time", "f8", ())
    start.setncatts(
        {
            "standard_name": "forecast_reference_time",
            "units": f"hours since {reference}",
            "calendar": "standard",
        }
    )
    start[...] = 0.0
    for name, values, unit in (("lat", latitude, "degrees_north"), ("lon", longitude, "degrees_east")):
        variable = dataset.createVariable(name, "f8", ("y", "x"), zlib=True, complevel=1)
        variable.setncatts({"standard_name": {"lat": "latitude", "lon": "longitude"}[name], "units": unit})
        variable[:] = values
    return dataset


def _packed(
    dataset: netCDF4.Dataset, name: str, unit: str, dimensions: tuple[str, ...], values: NDArray[np.float32]
) -> None:
    variable = dataset.createVariable(
        name, "i2", dimensions, fill_value=np.int16(-32768), zlib=True, complevel=1
    )
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    scale = max((high - low) / 65000.0, 1e-6)
    variable.setncatts(
        {"units": unit, "scale_factor": scale, "add_offset": (low + high) / 2, "coordinates": "lat lon"}
    )
    absent = np.isnan(values)
    variable[:] = np.ma.array(np.where(absent, low, values), mask=absent)


def write_qpe(cycle: SimulatedCycle, folder: Path) -> list[Path]:
    """The observed hourly rain in the DFS text form, one file an hour, named by its time in KST (UTC + 9 h).

    Rows run from south to north, 20 values a line, two decimals, missing -99.00. Returns the paths.
    """
    paths = []
    for index, lead_hours in enumerate(cycle.leads_hours):
        local = cycle.reference_time + np.timedelta64(lead_hours, "h") + KOREA_STANDARD_TIME
        values = np.where(np.isnan(cycle.qpe_mm[index]), DFS_MISSING_MM, cycle.qpe_mm[index]).ravel()
        lines = [
            ",".join(f"{value:.2f}" for value in values[start : start + DFS_VALUES_PER_LINE])
            for start in range(0, values.size, DFS_VALUES_PER_LINE)
        ]
        path = folder / f"dfs_rn1_grd.{_stamp(local)}.txt"
        path.write_text(",\n".join(lines) + "\n")
        paths.append(path)
    return paths


def _stamp(time: np.datetime64) -> str:
    return str(time.astype("datetime64[h]")).replace("-", "").replace("T", "")


def main() -> None:
    """Command line: simulate one cycle over the full grid and write it."""
    parser = argparse.ArgumentParser(prog="python -m training.cycle_files", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--seed", type=int, default=20220810)
    parser.add_argument("--reference-time", default="2022-08-09T18", help="UTC")
    parser.add_argument("--form", choices=("grib2", "netcdf", "both"), default="grib2")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    reference_time = np.datetime64(arguments.reference_time, "s")
    print(f"simulating {reference_time} over {FULL.nx} x {FULL.ny} points", flush=True)
    cycle = simulate_cycle(arguments.seed, reference_time, tuple(range(24, 31)), FULL)
    paths = []
    if arguments.form in {"grib2", "both"}:
        paths += write_grib2(cycle, arguments.out)
    if arguments.form in {"netcdf", "both"}:
        paths += write_netcdf(cycle, arguments.out)
    paths += write_qpe(cycle, arguments.out)
    for path in paths:
        print(f"{path.stat().st_size / 1e6:8.1f} MB  {path}")


if __name__ == "__main__":
    main()
