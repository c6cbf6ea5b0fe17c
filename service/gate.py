"""The gate before publication: what input and output of a cycle look like, and whether that may go out.

What the readers refuse (holes, physical limits) never comes here. The gate looks at the cycle as the network
saw it: fields that no training sample was like, and an output that no weather is like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from service.artefact import Manifest, normalise
from service.cycle import CycleInput
from service.decisions import called_classes
from service.errors import GateRefused
from service.product import SUM_TOLERANCE, not_probabilities

_SHOWN_FINDINGS: Final = 4


@dataclass(frozen=True)
class GateLimits:
    """What passes.

    z_mean: largest absolute mean of a channel's z-scores over the window, at any lead.
    heaviest_share: largest share of the window, 0 to 1, for which the heaviest class is called.
    """

    z_mean: float
    heaviest_share: float


class LeadHealth(BaseModel):
    """One lead, as it is measured and stored.

    z_mean, z_deviation, z_extreme, nan_ratio: by channel; mean, standard deviation and largest absolute value
    of the z-scores over the cells that have one (null where none has), and the share of cells that have none.
    class_shares: by class; share of the cells for which it is called (``service.decisions``).
    invalid_cells: how many cells hold no probabilities: NaN, outside 0 to 1, or not summing to one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lead_hours: int
    z_mean: dict[str, float | None]
    z_deviation: dict[str, float | None]
    z_extreme: dict[str, float | None]
    nan_ratio: dict[str, float]
    class_shares: dict[str, float]
    invalid_cells: int


class Health(BaseModel):
    """Input and output of one corrected cycle, lead by lead."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    leads: tuple[LeadHealth, ...]


def measure(cycle: CycleInput, probabilities: NDArray[np.float32], manifest: Manifest) -> Health:
    """The health of a cycle and its probabilities (lead, class, y, x)."""
    invalid = not_probabilities(probabilities)
    classes = called_classes(probabilities, manifest)
    leads = []
    for index, lead_hours in enumerate(cycle.leads_hours):
        scores = normalise(cycle.values[index], manifest).astype(np.float64)
        by_channel = dict(zip(cycle.channels, scores, strict=True))
        sound = classes[index][~invalid[index]]
        counts = np.bincount(sound, minlength=len(manifest.classes))
        leads.append(
            LeadHealth(
                lead_hours=lead_hours,
                z_mean={name: _of_finite(np.mean, field) for name, field in by_channel.items()},
                z_deviation={name: _of_finite(np.std, field) for name, field in by_channel.items()},
                z_extreme={name: _of_finite(_largest, field) for name, field in by_channel.items()},
                nan_ratio={name: float(np.mean(~np.isfinite(field))) for name, field in by_channel.items()},
                class_shares={
                    name: float(count) / max(sound.size, 1)
                    for name, count in zip(manifest.classes, counts, strict=True)
                },
                invalid_cells=int(invalid[index].sum()),
            )
        )
    return Health(leads=tuple(leads))


def judge(health: Health, limits: GateLimits) -> None:
    """Raises ``GateRefused`` with what is beyond the limits, if anything is."""
    findings = [finding for lead in health.leads for finding in _findings(lead, limits)]
    if not findings:
        return
    rest = len(findings) - _SHOWN_FINDINGS
    raise GateRefused(
        "the product did not pass the gate and was not published",
        where="; ".join(where for where, _, _ in findings[:_SHOWN_FINDINGS])
        + (f" and {rest} more" if rest > 0 else ""),
        expected="; ".join(dict.fromkeys(expected for _, expected, _ in findings)),
        got="; ".join(got for _, _, got in findings[:_SHOWN_FINDINGS]),
        advice="Look at what was kept aside. If the limits are too narrow for this model, widen them "
        "(RAINPOST_GATE_...) and submit the files again.",
    )


def _findings(lead: LeadHealth, limits: GateLimits) -> Iterator[tuple[str, str, str]]:
    """Where, what was expected and what was found, for all that is beyond the limits."""
    place = f"lead {lead.lead_hours} h"
    for name, ratio in lead.nan_ratio.items():
        if ratio > 0:
            yield (
                f"{place}, {name}",
                "a value in every cell of the input",
                f"none in {ratio:.2%} of the cells",
            )
    if lead.invalid_cells:
        expected = f"probabilities from 0 to 1 that sum to one within {SUM_TOLERANCE:g}"
        yield place, expected, f"other values in {lead.invalid_cells} cells"
    for name, mean in lead.z_mean.items():
        if mean is not None and not abs(mean) <= limits.z_mean:
            expected = f"z-scores with a mean from {-limits.z_mean:g} to {limits.z_mean:g}"
            yield f"{place}, {name}", expected, f"a mean of {mean:.3g}"
    heaviest, share = list(lead.class_shares.items())[-1]
    if not share <= limits.heaviest_share:
        expected = f"{heaviest} called in at most {limits.heaviest_share:.0%} of the cells"
        yield place, expected, f"in {share:.0%}"


def _of_finite(function: Callable[[NDArray[np.float64]], Any], field: NDArray[np.float64]) -> float | None:
    finite = field[np.isfinite(field)]
    return float(function(finite)) if finite.size else None


def _largest(values: NDArray[np.float64]) -> float:
    return float(np.abs(values).max())
