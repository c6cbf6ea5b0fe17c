"""From observed rain to the target distribution over the classes.

Sources: paper section 2.2 and Algorithm 1. The printed formulas of Algorithm 1 give negative entries; the
reading that fits its prose and Figure 2 interpolates between the nodes 0, r_0, r_1, ...:

    e_k(y) = clip((y - r_(k-1)) / (r_k - r_(k-1)), 0, 1),   r_(-1) = 0
    p*(y)  = (1 - e_0, e_0 - e_1, ..., e_last)

so that an amount just below a threshold already belongs almost wholly to the class above it.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor

from service.channels import THRESHOLDS_MM


def _from_exceedances(exceedances: Sequence[Tensor]) -> Tensor:
    first = torch.ones_like(exceedances[0])
    bounds = [first, *exceedances, torch.zeros_like(first)]
    return torch.stack([above - below for above, below in pairwise(bounds)], dim=1)


def continuous_labels(rain_mm: Tensor, thresholds_mm: Sequence[float] = THRESHOLDS_MM) -> Tensor:
    """Continuous labels p* of the paper.

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


def one_hot_labels(rain_mm: Tensor, thresholds_mm: Sequence[float] = THRESHOLDS_MM) -> Tensor:
    """One for the class of the amount, which includes its lower threshold. As ``continuous_labels``."""
    missing = torch.where(rain_mm.isnan(), rain_mm, torch.zeros_like(rain_mm))
    return _from_exceedances([(rain_mm >= threshold) + missing for threshold in thresholds_mm])


LABELS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "continuous": continuous_labels,
    "one_hot": one_hot_labels,
}
"""By the name that a configuration uses."""
