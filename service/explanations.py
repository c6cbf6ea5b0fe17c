"""Explanations of products: where in the fields of one lead the network looked for the class of one cell.

``python -m training.explain`` computes them, offline; the service keeps and shows what it finds. Each is a CF
NetCDF file of its own, apart from the product and bound to it by its digest::

    explanations/20261122T000000Z/<sha256 of the product>/h027_heavy_rain_y104_x059.nc
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from service.durability import write_durably
from service.errors import NotFound
from service.product import CONVENTIONS, write_product
from service.shelf import NETCDF_LOCK
from service.store import Record
from service.times import compact_time, parse_time

_logger = logging.getLogger(__name__)

RELEVANCE: Final = "relevance"
STEP: Final = 0.005
MISSING: Final = 255
_NAME: Final = re.compile(r"[a-z0-9_]{1,100}")
_TAKEN_OVER: Final = ("crs", "x", "y", "latitude", "longitude", "forecast_reference_time")
_ORIGIN: Final = ("model_name", "model_version", "model_sha256", "manifest_sha256", "training_statement")
_REFERENCES: Final = (
    "Selvaraju et al. (2017): Grad-CAM, Visual Explanations from Deep Networks via Gradient-based "
    "Localization, doi:10.1109/ICCV.2017.74."
)


@dataclass(frozen=True)
class Cell:
    """What is explained: a class at a lead in a cell of the product."""

    lead_hours: int
    class_name: str
    row: int
    column: int

    @property
    def name(self) -> str:
        """Of the file, without its ending."""
        return f"h{self.lead_hours:03d}_{self.class_name}_y{self.row:03d}_x{self.column:03d}"


@dataclass(frozen=True)
class Explanation:
    """An explanation as it lies on disk. depths: in the order of the file."""

    path: Path
    cell: Cell
    latitude: float
    longitude: float
    depths: tuple[str, ...]


def build_explanation(
    product: xr.Dataset, product_sha256: str, cell: Cell, heat: Mapping[str, NDArray[np.float32]]
) -> xr.Dataset:
    """The dataset of an explanation.

    product: what is explained. heat: by depth, (y, x), not negative; each is scaled to a maximum of one.
    """
    scaled = [one / one.max() if one.max() > 0 else one for one in heat.values()]
    variables = {name: product[name].variable.copy() for name in _TAKEN_OVER}
    variables[RELEVANCE] = xr.Variable(
        ("depth", "y", "x"),
        np.stack(scaled).astype(np.float32),
        {
            "long_name": f"how strongly a place speaks for {cell.class_name} in the cell, by Grad-CAM",
            "units": "1",
            "grid_mapping": "crs",
            "comment": "Relative to the largest of each depth: it has a pattern, and no amount.",
        },
        {"zlib": True, "complevel": 4, "_FillValue": None},
    )
    variables["lead"] = product["lead"].sel(lead=cell.lead_hours).variable
    variables |= {
        "depth_name": xr.Variable("depth", np.array(list(heat)), {"long_name": "part of the network"}),
        "class_name": xr.Variable((), cell.class_name, {"long_name": "name of the class"}),
        "row": xr.Variable((), np.int32(cell.row), {"long_name": "index of the cell along y"}),
        "column": xr.Variable((), np.int32(cell.column), {"long_name": "index of the cell along x"}),
    }
    where = {"title": f"Why {cell.class_name} at lead {cell.lead_hours} h", "product_sha256": product_sha256}
    attributes = {
        "Conventions": CONVENTIONS,
        **where,
        "source": f"Grad-CAM of model {product.attrs['model_name']}-{product.attrs['model_version']}",
        "references": _REFERENCES,
        "comment": "What the network looked at. No forecast, and no cause.",
        "product_revision": product.attrs["revision"],
        **{name: product.attrs[name] for name in _ORIGIN},
    }
    dataset = xr.Dataset(variables, attrs=attributes)
    for name in ("x", "y", "latitude", "longitude"):
        dataset[name].encoding = {"_FillValue": None}
    return dataset.set_coords([name for name in variables if name != RELEVANCE])


class Explanations:
    """The folder of explanations. What is in it is looked at anew at each question."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, dataset: xr.Dataset, cell: Cell, reference_time: np.datetime64) -> Path:
        """Write an explanation in one step; the same cell's from before is replaced."""
        folder = self._folder / compact_time(reference_time) / str(dataset.attrs["product_sha256"])
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{cell.name}.nc"
        with NETCDF_LOCK:
            write_durably(path, lambda temporary: write_product(dataset, temporary))
        return path

    def of(self, record: Record) -> list[Explanation]:
        """Those of a product, by name; a file that cannot be read is passed over."""
        found = []
        for path in sorted(self._place(record).glob("*.nc")):
            try:
                found.append(_read(path))
            except (OSError, KeyError, ValueError) as error:
                _logger.warning("no explanation: %s: %s", path, error)
        return found

    def find(self, record: Record, name: str) -> Explanation:
        """One of a product. Raises ``NotFound``."""
        if _NAME.fullmatch(name):
            for one in self.of(record):
                if one.path.stem == name:
                    return one
        raise NotFound(
            "no such explanation of this product",
            where=f"{record.reference_time}, revision {record.revision}",
            got=name[:100],
            advice="python -m training.explain makes one",
        )

    def _place(self, record: Record) -> Path:
        return self._folder / compact_time(parse_time(record.reference_time)) / record.sha256


def pack(explanation: Explanation) -> bytes:
    """The relevance (depth, row, column) as bytes of 0.005 each."""
    with NETCDF_LOCK, xr.open_dataset(explanation.path, engine="netcdf4") as dataset:
        values = dataset[RELEVANCE].values
    return np.clip(np.floor(values / STEP + 1e-4), 0, MISSING - 1).astype(np.uint8).tobytes()


def _read(path: Path) -> Explanation:
    with NETCDF_LOCK, xr.open_dataset(path, engine="netcdf4") as dataset:
        row, column = int(dataset["row"]), int(dataset["column"])
        return Explanation(
            path=path,
            cell=Cell(int(dataset["lead"]), str(dataset["class_name"].values), row, column),
            latitude=round(float(dataset["latitude"][row, column]), 4),
            longitude=round(float(dataset["longitude"][row, column]), 4),
            depths=tuple(str(name) for name in dataset["depth_name"].values),
        )
