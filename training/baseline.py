"""Scores of the systems that need no network.

``python -m training.baseline --config training/configs/experiment/raw.toml --out runs/experiment/raw`` fits
the system on the training or the validation split and writes ``scores.json`` and ``heavy_case.npz`` into
the folder.
Systems: ``raw``, the forecast amount as it is and, tuned, against another level; ``smoothed``
(``training.smoothing``); ``quantile_mapping``; ``trees``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.channels import THRESHOLDS_MM
from training import quantile_mapping, smoothing, trees
from training.configuration import parse_arguments, read_settings
from training.evaluation import Evaluation
from training.forecasts import Forecast, System, of_amounts
from training.quantile_mapping import QuantileMappingSettings
from training.result_tables import one_run
from training.samples import DataSettings, Split
from training.scoring import Subject, evaluate_system
from training.smoothing import SmoothedSettings
from training.trees import TreesSettings


class RawSettings(BaseModel):
    """``[system]`` of the raw forecast: nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["raw"]


class Baseline(BaseModel):
    """One system.

    seed: decides everything that is drawn; only ``trees`` draw.
    data: the archive and its splits.
    system: which one, and its settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 1
    data: DataSettings
    system: Annotated[
        RawSettings | SmoothedSettings | QuantileMappingSettings | TreesSettings, Field(discriminator="name")
    ]


def raw(split: Split) -> Forecast:
    """The forecast amount."""
    return of_amounts(split.raw_rain_mm())


def fitted(settings: Baseline) -> tuple[Subject, System]:
    """The system, fitted on the split that it needs.

    Raises:
        InputError: no archive, an empty split, or no channel with precipitation.
    """
    chosen: dict[str, JsonValue] = dict(settings.system.model_dump(exclude={"name"}))
    seed = None
    match settings.system:
        case RawSettings():
            system: System = raw
        case SmoothedSettings():
            system, widths = smoothing.fit(settings.system, Split(settings.data, "validation"))
            named = zip(THRESHOLDS_MM, widths, strict=True)
            chosen = {f"width_cells_{threshold:g}mm": width for threshold, width in named}
        case QuantileMappingSettings():
            system = quantile_mapping.fit(Split(settings.data, "train"))
        case TreesSettings():
            seed = settings.seed
            system = trees.fit(settings.system, Split(settings.data, "train"), seed)
    return Subject(settings.system.name, seed, chosen), system


def score(settings: Baseline, out: Path) -> Evaluation:
    """Fits, scores, and writes both files into the folder.

    Raises:
        InputError: as ``fitted``, or no event at a threshold.
    """
    started = time.monotonic()
    subject, system = fitted(settings)
    evaluation, heavy_case = evaluate_system(subject, system, settings.data)
    evaluation = evaluation.model_copy(update={"seconds": round(time.monotonic() - started, 1)})
    evaluation.write(out)
    heavy_case.write(out)
    return evaluation


def main() -> None:
    """Command line."""
    arguments = parse_arguments("python -m training.baseline", __doc__)
    settings = read_settings(Baseline, arguments.config, dict(arguments.set))
    print(one_run(score(settings, arguments.out)))


if __name__ == "__main__":
    main()
