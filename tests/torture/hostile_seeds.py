"""Sound files of every form, from which hostile ones are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import eccodes
import netCDF4
import numpy as np
from numpy.typing import NDArray

from service.grids import grid_from_definition
from service.specification import CycleSpecification
from tests.service.sample_artefact import SAMPLE_SPECIFICATION
from tests.service.sample_cycle import (
    PRECIPITATION,
    REFERENCE_TIME,
    SIZE,
    SampleField,
    encode,
    sample_fields,
    source_definition,
)
from tests.service.sample_grib import joined, sections
from tests.service.sample_grib_edition1 import amounts, message
from tests.service.sample_netcdf import FileFormat
from tests.torture.mutations import ANY, CLASSIC, GRIB1, GRIB2, HDF5, WIDE, Mutation, unchanged

PACKINGS = (
    "grid_simple",
    "grid_jpeg",
    "grid_ccsds",
    "grid_complex",
    "grid_complex_spatial_differencing",
    "grid_ieee",
)
CLASSIC_FORMATS: tuple[FileFormat, ...] = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA")


@dataclass(frozen=True)
class Seed:
    """A submission that is sound, and what can be done to one of its files.

    kind: what it is posted as. mutated: the file that becomes hostile, by its place among the files.
    """

    name: str
    kind: Literal["cycle", "observation"]
    files: tuple[tuple[str, bytes], ...]
    mutations: tuple[Mutation, ...]
    specification: CycleSpecification = SAMPLE_SPECIFICATION
    mutated: int = 1


def sample_seeds(folder: Path) -> list[Seed]:
    """Of the sample cycle of the tests, in every form that is read; some are written into the folder."""
    cycles = [_grib2_cycle(packing) for packing in PACKINGS]
    cycles += [
        _with_holes(),
        _several_fields(),
        _other_grid("regular_ll"),
        _other_grid("polar_stereographic"),
    ]
    cycles += [netcdf_cycle(folder, kind) for kind in ("NETCDF4", *CLASSIC_FORMATS)]
    cycles += [_giant_netcdf(folder, along_axes) for along_axes in (False, True)]
    observations = [_observation("grib1", message(amounts())), _observation("grib2", encode(next(_rain())))]
    return [
        *cycles,
        *observations,
        _netcdf_observation(folder, "NETCDF4"),
        _netcdf_observation(folder, "NETCDF3_CLASSIC"),
    ]


def simulated_seeds(folder: Path) -> list[Seed]:
    """Of a simulated cycle in the shape of RDAPS-KIM, as GRIB2 and as NetCDF; it takes a minute to make."""
    from training.cycle_files import write_grib2, write_netcdf
    from training.domain import specification
    from training.simulate import FULL, simulate_cycle

    leads = (24, 25, 26)
    cycle = simulate_cycle(20220810, np.datetime64("2022-08-09T18", "s"), leads, FULL)
    seeds = []
    for name, write, mutations in (("grib2", write_grib2, GRIB2), ("netcdf", write_netcdf, HDF5)):
        place = folder / name
        place.mkdir(parents=True)
        files = tuple((path.name, path.read_bytes()) for path in write(cycle, place))
        seeds.append(
            Seed(
                f"simulated-{name}", "cycle", files, (*ANY, *mutations), specification(leads_hours=leads[1:])
            )
        )
    return seeds


def _grib2_cycle(packing: str) -> Seed:
    return _grib2_seed(
        packing.removeprefix("grid_"), (_repacked(encode(field), packing) for field in sample_fields())
    )


def _grib2_seed(name: str, messages: Iterable[bytes]) -> Seed:
    """Three leads of three messages each."""
    all_messages = list(messages)
    files = tuple(
        (f"sample_h{lead:03d}.gb2", b"".join(all_messages[3 * lead - 3 : 3 * lead])) for lead in (1, 2, 3)
    )
    return Seed(f"grib2-{name}", "cycle", files, (*ANY, *GRIB2))


def _with_holes() -> Seed:
    def holed(field: SampleField) -> SampleField:
        values = field.values.copy()
        values[0, :4] = np.nan
        return replace(field, values=values)

    return _grib2_seed("bitmap", (encode(holed(field)) for field in sample_fields()))


def _several_fields() -> Seed:
    """One message a file, whose sections 4 to 7 repeat."""
    files = []
    for lead in (1, 2, 3):
        first, *others = [encode(field) for field in sample_fields() if field.lead_hours == lead]
        parts = [octets for _, octets in sections(first)]
        parts += [octets for other in others for number, octets in sections(other) if number >= 4]
        files.append((f"sample_h{lead:03d}.gb2", joined(first[6], parts)))
    return Seed("grib2-several-fields", "cycle", tuple(files), (*ANY, *GRIB2))


def _other_grid(kind: str) -> Seed:
    """On a grid that is read, though the model wants another: its positions are decoded all the same."""
    keys: dict[str, int | float | str] = {"gridType": kind}
    if kind == "regular_ll":
        keys |= {
            "Ni": SIZE,
            "Nj": SIZE,
            "latitudeOfFirstGridPointInDegrees": 38.4,
            "latitudeOfLastGridPointInDegrees": 37.6,
            "longitudeOfFirstGridPointInDegrees": 125.5,
            "longitudeOfLastGridPointInDegrees": 126.5,
            "jScansPositively": 0,
        }
    else:
        keys |= {
            "Nx": SIZE,
            "Ny": SIZE,
            "DxInMetres": 2810,
            "DyInMetres": 2810,
            "orientationOfTheGridInDegrees": 126,
        }
    return _grib2_seed(kind, (_changed(encode(field), keys, field.values) for field in sample_fields()))


def _repacked(message: bytes, packing: str) -> bytes:
    handle = eccodes.codes_new_from_message(message)
    values = eccodes.codes_get_values(handle)
    eccodes.codes_set(handle, "packingType", packing)
    eccodes.codes_set_values(handle, values)
    return _taken(handle)


def _changed(message: bytes, keys: dict[str, int | float | str], values: NDArray[np.float64]) -> bytes:
    handle = eccodes.codes_new_from_message(message)
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set_values(handle, values.ravel())
    return _taken(handle)


def _taken(handle: int) -> bytes:
    message: bytes = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return message


def netcdf_cycle(folder: Path, kind: FileFormat) -> Seed:
    files = tuple(
        (f"sample_h{lead:03d}.nc", _netcdf(folder / f"{kind}{lead}.nc", kind, lead)) for lead in (1, 2, 3)
    )
    mutations = HDF5 if kind == "NETCDF4" else CLASSIC
    return Seed(f"netcdf-{kind.lower()}", "cycle", files, (*ANY, *mutations))


def _netcdf(path: Path, kind: FileFormat, lead: int) -> bytes:
    fields = [field.values for field in sample_fields() if field.lead_hours == lead]
    with netCDF4.Dataset(path, "w", format=kind) as dataset:
        _frame(dataset, lead, kind)
        dataset.setncattr("forecast_reference_time", str(REFERENCE_TIME))
        for (name, unit, dimensions), values in zip(
            (("T2", "K", ()), ("RH", "%", ("level",)), ("APCP", "mm", ())), fields, strict=True
        ):
            variable = dataset.createVariable(
                name, "f4", ("time", *dimensions, "y", "x"), zlib=kind == "NETCDF4", fill_value=-9e33
            )
            variable.units = unit
            variable[0:1] = values
    return path.read_bytes()


def _netcdf_observation(folder: Path, kind: FileFormat) -> Seed:
    path = folder / f"observed-{kind}.nc"
    with netCDF4.Dataset(path, "w", format=kind) as dataset:
        _frame(dataset, 3, kind)
        variable = dataset.createVariable("RAIN", "f4", ("time", "y", "x"))
        variable.units, variable.cell_methods = "mm", "time: sum"
        variable[0:1] = next(_rain()).values
    mutations = HDF5 if kind == "NETCDF4" else CLASSIC
    files = ((path.name, path.read_bytes()),)
    return Seed(f"observed-netcdf-{kind.lower()}", "observation", files, (*ANY, *mutations), mutated=0)


def _giant_netcdf(folder: Path, along_axes: bool) -> Seed:
    """10^9 points in a few kilobytes, as nothing is written. Positions along the axes or of each point."""
    path = folder / f"giant-{along_axes}.nc"
    with netCDF4.Dataset(path, "w") as dataset:
        for name, size in (("time", 1), ("y", WIDE), ("x", WIDE)):
            dataset.createDimension(name, size)
        dataset.setncattr("forecast_reference_time", str(REFERENCE_TIME))
        time = dataset.createVariable("time", "f8", ("time",))
        time.setncatts(
            {"standard_name": "time", "units": f"hours since {str(REFERENCE_TIME).replace('T', ' ')}"}
        )
        time[:] = [2]
        for name, axis, unit in (("lat", "y", "degrees_north"), ("lon", "x", "degrees_east")):
            place = dataset.createVariable(name, "f8", (axis,) if along_axes else ("y", "x"), zlib=True)
            place.units = unit
            if along_axes:
                place[:] = np.linspace(*((20.0, 50.0) if axis == "y" else (110.0, 140.0)), WIDE)
        dataset.createVariable("T2", "f4", ("time", "y", "x"), zlib=True, fill_value=False).units = "K"
    name = "netcdf-giant-axes" if along_axes else "netcdf-giant"
    return Seed(name, "cycle", ((path.name, path.read_bytes()),), (unchanged, *ANY, *HDF5), mutated=0)


def _frame(dataset: netCDF4.Dataset, lead: int, kind: FileFormat) -> None:
    """Dimensions, times and positions."""
    latitude, longitude = grid_from_definition(source_definition()).latitude_longitude()
    for name, size in (("time", None), ("level", 1), ("pair", 2), ("y", SIZE), ("x", SIZE)):
        dataset.createDimension(name, size)
    start = str(REFERENCE_TIME).replace("T", " ")
    time = dataset.createVariable("time", "f8", ("time",))
    time.setncatts({"standard_name": "time", "units": f"hours since {start}", "bounds": "time_bounds"})
    time[0:1] = [lead]
    dataset.createVariable("time_bounds", "f8", ("time", "pair"))[0:1] = [[lead - 1, lead]]
    level = dataset.createVariable("level", "f4", ("level",))
    level.units, level[:] = "hPa", [850.0]
    for name, values, unit in (("lat", latitude, "degrees_north"), ("lon", longitude, "degrees_east")):
        place = dataset.createVariable(name, "f8", ("y", "x"), zlib=kind == "NETCDF4")
        place.units, place[:] = unit, values


def _rain() -> Iterator[SampleField]:
    """An amount of each of three hours."""
    for field in sample_fields():
        if field.field == PRECIPITATION:
            yield replace(
                field, lead_hours=1, reference_time=REFERENCE_TIME + np.timedelta64(field.lead_hours, "h")
            )


def _observation(name: str, content: bytes) -> Seed:
    mutations = GRIB1 if name == "grib1" else GRIB2
    return Seed(
        f"observed-{name}", "observation", ((f"observed.{name}", content),), (*ANY, *mutations), mutated=0
    )
