"""The document of ``/cycles/{reference_time}/layers``: all that a map needs to know of a product."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import xarray as xr
from pydantic import BaseModel, Field

from service.layers import OBSERVED_LAYER, PACKINGS, Kind, Layer, Storage, decision_probabilities, layers_of
from service.map_lines import cell_aspect, first_row_is_south
from service.observation_store import ObservationRecord
from service.product import PRESENT
from service.product_coordinates import product_grid
from service.store import ModelIdentity, Record
from service.times import iso_time


class GridDocument(BaseModel):
    """Where the cells lie on the map."""

    digest: str = Field(description="The same for products on the same grid.")
    rows: int
    columns: int
    spacing_m: float
    cell_aspect: float = Field(description="Height of a cell over its width.")
    first_row_is_south: bool


class LayerLeadDocument(BaseModel):
    """A lead of the model; the layers hold them in this order."""

    lead_hours: int
    period_start: str
    valid_time: str
    present: bool = Field(description="Whether the cycle had this lead.")
    observation_revision: int | None = Field(description="Of the observed rain, null without any.")


class ThresholdDocument(BaseModel):
    """A threshold between classes, and the probability from which on the model calls what is above."""

    threshold_mm: float
    decision_probability: float | None = Field(description="Null: the most likely class is called.")


class LayerDocument(BaseModel):
    """A layer: integers (lead, row, column), little-endian; their value is ``step`` times the integer."""

    name: str
    kind: Kind
    threshold_mm: float | None = Field(description="Of a probability.")
    href: str
    storage: Storage
    step: float = Field(description="Values are rounded down to a whole number of these.")
    unit: str
    missing: int = Field(description="The integer that stands for no value.")


class LayersDocument(BaseModel):
    """A revision of a product as a map shows it."""

    reference_time: str
    revision: int
    created: datetime
    sha256: str
    model: ModelIdentity
    source: str = Field(description="The forecast model whose rain is corrected.")
    simulated: bool = Field(description="Whether the model was trained on simulated cycles.")
    statement: str = Field(description="What the model was trained on.")
    classes: tuple[str, ...]
    thresholds: tuple[ThresholdDocument, ...]
    grid: GridDocument
    leads: tuple[LayerLeadDocument, ...]
    layers: tuple[LayerDocument, ...]
    map: str = Field(description="Where coasts, borders and places are, on the same grid.")


def layers_document(
    record: Record, dataset: xr.Dataset, observed: Mapping[int, ObservationRecord]
) -> LayersDocument:
    """A product with the observations that lie beside it, by lead in hours."""
    grid = product_grid(dataset)
    path = f"/cycles/{record.reference_time}"
    this = f"revision={record.revision}&sha256={record.sha256}"
    return LayersDocument(
        reference_time=record.reference_time,
        revision=record.revision,
        created=record.created,
        sha256=record.sha256,
        model=record.origin.model,
        source=dataset.attrs["nwp_model"],
        simulated=dataset.attrs["training_simulated"] == "true",
        statement=dataset.attrs["training_statement"],
        classes=tuple(str(name) for name in dataset["class_name"].values),
        thresholds=tuple(
            ThresholdDocument(threshold_mm=float(threshold), decision_probability=decision)
            for threshold, decision in zip(
                dataset["threshold"].values, decision_probabilities(dataset), strict=True
            )
        ),
        grid=GridDocument(
            digest=grid.digest,
            rows=grid.shape[0],
            columns=grid.shape[1],
            spacing_m=grid.spacing_m,
            cell_aspect=cell_aspect(grid),
            first_row_is_south=first_row_is_south(grid),
        ),
        leads=tuple(_lead(dataset.isel(lead=index), observed) for index in range(dataset.sizes["lead"])),
        layers=tuple(_layer(layer, f"{path}/layers/{layer.name}", this) for layer in layers_of(dataset)),
        map=f"{path}/map?{this}",
    )


def _lead(here: xr.Dataset, observed: Mapping[int, ObservationRecord]) -> LayerLeadDocument:
    start, end = here["time_bounds"].values.astype("datetime64[s]")
    lead_hours = int(here["lead"])
    observation = observed.get(lead_hours)
    return LayerLeadDocument(
        lead_hours=lead_hours,
        period_start=iso_time(np.datetime64(start)),
        valid_time=iso_time(np.datetime64(end)),
        present=int(here["lead_status"]) == PRESENT,
        observation_revision=None if observation is None else observation.revision,
    )


def _layer(layer: Layer, path: str, this: str) -> LayerDocument:
    packing = PACKINGS[layer.kind]
    # Observations come when they come: their layer is no part of what the digest stands for.
    query = this.partition("&")[0] if layer.name == OBSERVED_LAYER else this
    return LayerDocument(
        name=layer.name,
        kind=layer.kind,
        threshold_mm=layer.threshold_mm,
        href=f"{path}?{query}",
        storage=packing.storage,
        step=packing.step,
        unit=packing.unit,
        missing=packing.missing,
    )
