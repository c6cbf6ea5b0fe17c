"""The product: probabilities as a CF dataset, and the way from it to a file and to one point.

CF conventions 1.11, https://cfconventions.org. The dataset holds every lead of the manifest; a lead that the
cycle does not have is fill values and ``lead_status`` 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from service.artefact import Manifest
from service.channels import PRECIPITATION_CHANNEL, QUANTITIES
from service.cycle import CycleInput
from service.decisions import decision_probabilities, exceedance
from service.errors import InferenceError, MissingLead, MissingValues, OutsideGrid
from service.grids import Grid, grid_from_definition, product_index
from service.product_coordinates import flags, horizontal, labels, product_grid, times
from service.times import iso_time

CONVENTIONS: Final = "CF-1.11"
RAW_PRECIPITATION: Final = QUANTITIES["precipitation"].standard_name
EXCEEDANCE: Final = f"probability_of_{RAW_PRECIPITATION}_above_threshold"
SUM_TOLERANCE: Final = 1e-6
"""Probabilities of a cell sum to one within this, summed in float64 from the float32 that are written."""

MISSING, PRESENT = 0, 1
"""Values of ``lead_status``."""

NO_CLASS: Final = -1
"""Fill value of ``most_likely_class``."""

_FILL: Final = np.float32(9.96921e36)
_SIMULATED: Final = "The model was trained on simulated data: these are not forecasts to act on. "
_EPOCH: Final = "seconds since 1970-01-01 00:00:00"
_REFERENCES: Final = (
    "An, Lee, Jang, Na, Park and You (2023): Self-Supervised Pre-Training for Precipitation Post-Processor. "
    "Wang et al. (2023): InternImage. Exploring Large-Scale Vision Foundation Models with Deformable "
    "Convolutions, CVPR. Kim, Shim and Shin (2019): Atmosphere 10(3), 123, doi:10.3390/atmos10030123."
)


@dataclass(frozen=True)
class Provenance:
    """What a product came from, apart from what its cycle and its manifest say.

    model_sha256: of ``model.onnx``. manifest_sha256: of its manifest, and so of the whole model.
    inputs: name and sha256 of every file, in the order of submission.
    provider: of ONNX Runtime, such as CPUExecutionProvider.
    created: with its time zone.
    institution: who runs the service; left out where unknown.
    """

    model_sha256: str
    manifest_sha256: str
    inputs: tuple[tuple[str, str], ...]
    code_version: str
    provider: str
    revision: int
    created: datetime
    institution: str | None = None


def build_product(
    cycle: CycleInput, probabilities: NDArray[np.float32], manifest: Manifest, provenance: Provenance
) -> xr.Dataset:
    """The product as a dataset with its encoding, ready for ``write_product``.

    probabilities: (lead, class, y, x) for the leads of the cycle, which may be fewer than the manifest's.
    Raises InferenceError where they are not probabilities of these leads on this window, MissingLead for a
    cycle without any lead and MissingValues for raw rain that is not there.
    """
    grid = grid_from_definition(manifest.cycle.target, manifest.cycle.window)
    present = _present_leads(cycle, manifest)
    _check_probabilities(probabilities, cycle, manifest, grid)
    rain_mm = cycle.values[:, cycle.channels.index(PRECIPITATION_CHANNEL)]
    if not np.isfinite(rain_mm).all():
        raise MissingValues("The raw rain has holes", where=PRECIPITATION_CHANNEL, got="NaN")
    status = np.full(len(manifest.cycle.leads_hours), MISSING, np.int8)
    status[present] = PRESENT
    variables = _probability_variables(probabilities, present, manifest)
    variables[RAW_PRECIPITATION] = xr.Variable(
        ("lead", "y", "x"),
        _over_all_leads(rain_mm, present, manifest, np.nan),
        {
            "standard_name": RAW_PRECIPITATION,
            "long_name": f"precipitation of the {manifest.cycle.source.name} forecast, not corrected",
            "units": "mm",
            "cell_methods": "time: sum",
        },
    )
    variables["lead_status"] = xr.Variable(
        "lead", status, flags("whether the cycle had this lead", ("missing", "present"))
    )
    variables |= horizontal(grid) | times(cycle, manifest)
    dataset = xr.Dataset(variables, labels(manifest), _globals(cycle, manifest, provenance))
    return _encoded(dataset)


def write_product(dataset: xr.Dataset, path: Path) -> None:
    """Write a product as compressed NetCDF-4; equal datasets give equal bytes.

    The caller makes it atomic (``service.store``) and holds the lock of the NetCDF library
    (``service.shelf``).
    """
    dataset.to_netcdf(path, engine="netcdf4", format="NETCDF4")


def point(dataset: xr.Dataset, latitude: float, longitude: float) -> dict[str, Any]:
    """What a product says of the cell that holds a point, as JSON can carry it.

    A missing lead has ``status`` "missing" and null values. Raises OutsideGrid for a point outside the
    cells at the window's edge.
    """
    grid = product_grid(dataset)
    row, column = (int(np.rint(part)) for part in product_index(grid, latitude, longitude))
    ny, nx = grid.shape
    if not (0 <= row < ny and 0 <= column < nx):
        north, east = grid.latitude_longitude()
        raise OutsideGrid(
            "The point lies outside the product",
            where=f"{latitude:.4f} N {longitude:.4f} E",
            expected=f"{north.min():.2f} to {north.max():.2f} N, {east.min():.2f} to {east.max():.2f} E",
            got=f"row {row} of 0-{ny - 1}, column {column} of 0-{nx - 1}",
            advice="Ask for a point inside the window of the model",
        )
    here = dataset.isel(y=row, x=column)
    (reference_time,) = np.atleast_1d(dataset["forecast_reference_time"].values).astype("datetime64[s]")
    return {
        "requested": {"latitude": latitude, "longitude": longitude},
        "cell": {
            "latitude": round(float(here["latitude"]), 5),
            "longitude": round(float(here["longitude"]), 5),
            "row": row,
            "column": column,
        },
        "reference_time": iso_time(reference_time),
        "model": {"name": dataset.attrs["model_name"], "version": dataset.attrs["model_version"]},
        "trained_on_simulated_data": dataset.attrs["training_simulated"] == "true",
        "training_statement": dataset.attrs["training_statement"],
        "leads": [_lead_at_point(here.isel(lead=index)) for index in range(dataset.sizes["lead"])],
    }


def not_probabilities(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where (lead, y, x) the values of (lead, class, y, x) are not from 0 to 1 or do not sum to one."""
    # NaN fails every comparison.
    wrong = ~((probabilities >= 0.0) & (probabilities <= 1.0)).all(axis=1)
    wrong |= ~(np.abs(probabilities.sum(axis=1, dtype=np.float64) - 1.0) <= SUM_TOLERANCE)
    return np.asarray(wrong)


def _lead_at_point(here: xr.Dataset) -> dict[str, Any]:
    names = [str(name) for name in here["class_name"].values]
    start, end = here["time_bounds"].values.astype("datetime64[s]")
    answer: dict[str, Any] = {
        "lead_hours": int(here["lead"]),
        "period_start": iso_time(start),
        "valid_time": iso_time(end),
        "status": "missing",
        "probabilities": None,
        "exceedance_probabilities": None,
        "most_likely_class": None,
        "raw_precipitation_mm": None,
    }
    if int(here["lead_status"]) != PRESENT:
        return answer
    return answer | {
        "status": "present",
        "probabilities": dict(zip(names, _rounded(here["class_probability"]), strict=True)),
        "exceedance_probabilities": [
            {"threshold_mm": threshold, "probability": probability}
            for threshold, probability in zip(
                _rounded(here["threshold"]), _rounded(here[EXCEEDANCE]), strict=True
            )
        ],
        "most_likely_class": names[int(here["most_likely_class"])],
        "raw_precipitation_mm": round(float(here[RAW_PRECIPITATION]), 3),
    }


def _rounded(values: xr.DataArray) -> list[float]:
    return [round(float(value), 6) for value in values.values]


def _present_leads(cycle: CycleInput, manifest: Manifest) -> list[int]:
    """Position of the cycle's leads among the manifest's."""
    known = manifest.cycle.leads_hours
    if not cycle.leads_hours:
        raise MissingLead("The cycle has no lead at all", expected=f"leads {known} h", got="none")
    if not set(cycle.leads_hours) <= set(known):
        raise InferenceError(
            "The cycle has leads that the model does not know",
            expected=f"some of {known} h",
            got=f"{cycle.leads_hours} h",
        )
    return [known.index(lead) for lead in cycle.leads_hours]


def _check_probabilities(
    probabilities: NDArray[np.float32], cycle: CycleInput, manifest: Manifest, grid: Grid
) -> None:
    shape = (len(cycle.leads_hours), len(manifest.classes), *grid.shape)
    if probabilities.shape != shape or probabilities.dtype != np.float32:
        raise InferenceError(
            "The network's output does not fit its manifest",
            expected=f"float32 (lead, class, y, x) = {shape}",
            got=f"{probabilities.dtype} {probabilities.shape}",
        )
    wrong = not_probabilities(probabilities)
    if wrong.any():
        lead, row, column = np.argwhere(wrong)[0]
        found = probabilities[lead, :, row, column].astype(np.float64)
        raise InferenceError(
            "The network's output is not a probability",
            where=f"lead {cycle.leads_hours[lead]} h, row {row}, column {column}; {wrong.sum()} cells in all",
            expected=f"values from 0 to 1 that sum to one within {SUM_TOLERANCE:g}",
            got=f"{found.tolist()}, sum {found.sum():.9f}",
        )


def _over_all_leads(
    values: NDArray[Any], present: list[int], manifest: Manifest, missing: float
) -> NDArray[Any]:
    whole = np.full((len(manifest.cycle.leads_hours), *values.shape[1:]), missing, values.dtype)
    whole[present] = values
    return whole


def _probability_variables(
    probabilities: NDArray[np.float32], present: list[int], manifest: Manifest
) -> dict[str, xr.Variable]:
    likely = probabilities.argmax(axis=1).astype(np.int8)
    hours = manifest.cycle.precipitation_hours
    exceedance_attributes: dict[str, Any] = {
        "long_name": f"probability that the {hours} h amount of precipitation reaches the threshold",
        "units": "1",
        "comment": "An amount equal to the threshold counts as above.",
    }
    if manifest.decision_thresholds:
        exceedance_attributes["decision_probability"] = [
            np.nan if one is None else one for one in decision_probabilities(manifest)
        ]
    return {
        "class_probability": xr.Variable(
            ("lead", "class", "y", "x"),
            _over_all_leads(probabilities, present, manifest, np.nan),
            {"long_name": f"probability of the class of {hours} h precipitation", "units": "1"},
        ),
        EXCEEDANCE: xr.Variable(
            ("threshold", "lead", "y", "x"),
            _over_all_leads(exceedance(probabilities), present, manifest, np.nan).swapaxes(0, 1),
            exceedance_attributes,
        ),
        "most_likely_class": xr.Variable(
            ("lead", "y", "x"),
            _over_all_leads(likely, present, manifest, NO_CLASS),
            flags("class of the highest probability, the drier one of equals", manifest.classes),
        ),
    }


def _globals(cycle: CycleInput, manifest: Manifest, provenance: Provenance) -> dict[str, Any]:
    source, statement = manifest.cycle.source.name, manifest.training.statement
    model = f"{manifest.name}-{manifest.version}"
    created = provenance.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    attributes = {
        "Conventions": CONVENTIONS,
        "title": f"Probabilities of classes of {manifest.cycle.precipitation_hours} h rain from {source}",
        "source": f"Rainpost {provenance.code_version}, model {model} "
        f"({manifest.network.architecture}), applied to {source}",
        "history": f"{created} rainpost {provenance.code_version}: corrected {len(provenance.inputs)} files "
        f"with {model}",
        "references": _REFERENCES,
        "comment": f"{_SIMULATED}{statement}" if manifest.training.simulated else statement,
        "date_created": created,
        "nwp_model": source,
        "model_name": manifest.name,
        "model_version": manifest.version,
        "model_sha256": provenance.model_sha256,
        "manifest_sha256": provenance.manifest_sha256,
        "training_data": manifest.training.data,
        "training_simulated": str(manifest.training.simulated).lower(),
        "training_statement": statement,
        "input_sha256": "\n".join(f"{digest}  {name}" for name, digest in provenance.inputs),
        "code_version": provenance.code_version,
        "execution_provider": provenance.provider,
        "revision": np.int32(provenance.revision),
        "leads_present": np.array(cycle.leads_hours, np.int32),
    }
    if provenance.institution is not None:
        attributes["institution"] = provenance.institution
    return attributes


def _encoded(dataset: xr.Dataset) -> xr.Dataset:
    """Packing of every variable: a reader of one lead inflates one lead."""
    ny, nx = dataset.sizes["y"], dataset.sizes["x"]
    compressed = {"zlib": True, "complevel": 4, "shuffle": True}
    along = "forecast_reference_time time forecast_period"
    for name in ("class_probability", EXCEEDANCE, "most_likely_class", RAW_PRECIPITATION):
        variable = dataset[name]
        variable.attrs["grid_mapping"] = "crs"
        labels = " class_name" if "class" in variable.dims else ""
        variable.encoding = compressed | {
            "chunksizes": (*(1 for _ in variable.dims[:-2]), ny, nx),
            "_FillValue": np.int8(NO_CLASS) if variable.dtype == np.int8 else _FILL,
            "coordinates": f"{along} latitude longitude{labels}",
        }
    dataset["lead_status"].encoding = {"coordinates": along}
    for name in ("latitude", "longitude"):
        dataset[name].encoding = compressed | {
            "chunksizes": (ny, nx),
            "_FillValue": None,
            "coordinates": None,
        }
    for name in ("x", "y", "threshold"):
        dataset[name].encoding = {"_FillValue": None}
    for name in ("time", "time_bounds", "forecast_reference_time"):
        dataset[name].encoding = {
            "units": _EPOCH,
            "calendar": "standard",
            "dtype": "int64",
            "_FillValue": None,
        }
    return dataset
