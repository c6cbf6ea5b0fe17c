"""What a product says of a cell, one parameter each: a field (lead, y, x) with name, unit and meaning.

Names are those of the NetCDF product, followed by the class or the threshold where its variable has several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from service.product import EXCEEDANCE, NO_CLASS, RAW_PRECIPITATION

CLASS_PROBABILITY: Final = "class_probability"
MOST_LIKELY_CLASS: Final = "most_likely_class"
_CF_NAMES: Final = "http://vocab.nerc.ac.uk/standard_name/"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a product.

    variable: of the NetCDF product; place: its other dimension and the position there.
    unit: by UCUM; None where values count the categories.
    property_id, property_label: of what is observed.
    decimals: of the values; beyond them they say nothing.
    """

    name: str
    variable: str
    label: str
    unit: str | None
    property_id: str
    property_label: str
    decimals: int
    place: tuple[str, int] | None = None
    categories: tuple[str, ...] = ()


def parameters_of(dataset: xr.Dataset) -> tuple[Parameter, ...]:
    """All parameters of a product: probabilities of classes, of thresholds, the class, the raw rain."""
    start, end = dataset["time_bounds"].values[0]
    hours = int((end - start) / np.timedelta64(1, "h"))
    classes = [str(name) for name in dataset["class_name"].values]
    thresholds = [float(one) for one in dataset["threshold"].values]
    return (
        *(
            Parameter(
                f"{CLASS_PROBABILITY}_{name}",
                CLASS_PROBABILITY,
                f"probability of the class {name} of {hours} h precipitation",
                "1",
                f"urn:rainpost:property:{CLASS_PROBABILITY}_{name}",
                f"probability of {name.replace('_', ' ')}",
                decimals=6,
                place=("class", number),
            )
            for number, name in enumerate(classes)
        ),
        *(
            Parameter(
                f"{EXCEEDANCE}_{threshold:g}_mm",
                EXCEEDANCE,
                f"probability that the {hours} h amount of precipitation is {threshold:g} mm or more",
                "1",
                f"urn:rainpost:property:{EXCEEDANCE}_{threshold:g}_mm",
                f"probability of {threshold:g} mm or more",
                decimals=6,
                place=("threshold", number),
            )
            for number, threshold in enumerate(thresholds)
        ),
        Parameter(
            MOST_LIKELY_CLASS,
            MOST_LIKELY_CLASS,
            dataset[MOST_LIKELY_CLASS].attrs["long_name"],
            None,
            f"urn:rainpost:property:{MOST_LIKELY_CLASS}",
            f"class of {hours} h precipitation",
            decimals=0,
            categories=tuple(classes),
        ),
        Parameter(
            RAW_PRECIPITATION,
            RAW_PRECIPITATION,
            dataset[RAW_PRECIPITATION].attrs["long_name"],
            "mm",
            f"{_CF_NAMES}{RAW_PRECIPITATION}/",
            f"{hours} h precipitation",
            decimals=3,
        ),
    )


def parameter_values(dataset: xr.Dataset, parameter: Parameter) -> NDArray[np.float64]:
    """Values (lead, y, x) in the parameter's unit, rounded; NaN where there is none."""
    field = dataset[parameter.variable]
    if parameter.place is not None:
        field = field.isel({parameter.place[0]: parameter.place[1]})
    values = np.round(field.transpose("lead", "y", "x").values.astype(np.float64), parameter.decimals)
    if parameter.categories:
        values[values == NO_CLASS] = np.nan
    return np.asarray(values)
