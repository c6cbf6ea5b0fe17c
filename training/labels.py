"""From observed rain to the target distribution over the classes.

Every labelling is a set of exceedances e_k in [0, 1], how far an amount counts as having reached a
threshold r_k, from which the distribution follows:

    p(y) = (1 - e_0, e_0 - e_1, ..., e_last)

``A``: the paper's continuous labels (section 2.2, Algorithm 1). The printed formulas of Algorithm 1 give
negative entries; the reading that fits its prose and Figure 2 interpolates between 0, r_0, r_1, ...:

    e_k(y) = clip((y - r_(k-1)) / (r_k - r_(k-1)), 0, 1),   r_(-1) = 0

so that an amount just below a threshold already belongs almost wholly to the class above it.

``E``: one-hot inside the classes and soft around the thresholds, as an observation with a log-normal error:

    e_k(y) = Phi(ln(y / r_k) / sigma),   e_k(0) = 0

``one_hot``: e_k(y) = 1 where y >= r_k, else 0.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor

from service.channels import THRESHOLDS_MM

SIGMA: Final = 0.35
"""Standard deviation of ln(y) in the labels E: a factor of 1.4 in the amount."""

Labelling = Literal["A", "E", "one_hot"]


def _from_exceedances(exceedances: Sequence[Tensor]) -> Tensor:
    first = torch.ones_like(exceedances[0])
    bounds = [first, *exceedances, torch.zeros_like(first)]
    return torch.stack([above - below for above, below in pairwise(bounds)], dim=1)


def interpolated_labels(rain_mm: Tensor, thresholds_mm: Sequence[float] = THRESHOLDS_MM) -> Tensor:
    """The paper's continuous labels p*, in the reading A.

    Args:
        rain_mm: (batch, ...) amounts, not negative; NaN gives NaN.
        thresholds_mm: increasing bounds between the classes.

    Returns:
        (batch, class, ...), one class more than thresholds, each cell sums to one.
    """
    nodes = (0.0, *thresholds_mm)
    return _from_exceedances(
        [((rain_mm - lower) / (upper - lower)).clamp(0, 1) for lower, upper in pairwise(nodes)]
    )


def lognormal_labels(rain_mm: Tensor, thresholds_mm: Sequence[float] = THRESHOLDS_MM) -> Tensor:
    """Labels E, soft only around the thresholds. As ``interpolated_labels``."""
    # ln(0) is -inf, whose normal distribution function is exactly 0: no rain needs no case of its own.
    return _from_exceedances(
        [torch.special.ndtr((rain_mm / threshold).log() / SIGMA) for threshold in thresholds_mm]
    )


def one_hot_labels(rain_mm: Tensor, thresholds_mm: Sequence[float] = THRESHOLDS_MM) -> Tensor:
    """One for the class of the amount, which includes its lower threshold. As ``interpolated_labels``."""
    missing = torch.where(rain_mm.isnan(), rain_mm, torch.zeros_like(rain_mm))
    return _from_exceedances([(rain_mm >= threshold) + missing for threshold in thresholds_mm])


LABELS: Final[dict[Labelling, Callable[[Tensor], Tensor]]] = {
    "A": interpolated_labels,
    "E": lognormal_labels,
    "one_hot": one_hot_labels,
}
"""By the name that a configuration uses."""
