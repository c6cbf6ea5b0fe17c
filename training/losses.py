"""The parts of a training loss: each is a sum over observed cells or samples, to be divided by a count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import Tensor
from torch.nn import functional

from service.channels import THRESHOLDS_MM
from training.engine import Part

SMOOTHING: Final = 1.0
"""Cells added to numerator and denominator of the soft CSI: a dry scene without warning scores one."""


def weighted_soft_cross_entropy(
    log_probabilities: Tensor, labels: Tensor, class_weights: Sequence[float], observed: Tensor
) -> Part:
    """Equation 2 of the paper: mean over observed cells of -sum_j w_j p*_j log q_j.

    Written out, because ``torch.nn.functional.cross_entropy`` divides by the sum of the weights for class
    indices and not for probabilities, which would make hard and soft labels incomparable. Up to a constant it
    equals the weighted Kullback-Leibler divergence of the prediction from the labels.

    Args:
        log_probabilities: (batch, class, ...), the logarithms of q.
        labels: (batch, class, ...), sums to one over the classes; ignored where not observed.
        class_weights: one weight per class.
        observed: (batch, ...), True where there is an observation.
    """
    weights = log_probabilities.new_tensor(class_weights).view(1, -1, *[1] * (log_probabilities.dim() - 2))
    # Zeroed before the product: a NaN that is left out only afterwards still reaches the gradient.
    weighted = weights * labels.where(observed.unsqueeze(1), labels.new_zeros(()))
    return Part(-(weighted * log_probabilities).sum(), observed.sum())


def amount_error(predicted: Tensor, rain_mm: Tensor, observed: Tensor) -> Part:
    """Squared error of log(1 + rain): the second task of CAMT (``training.networks.camt``).

    Args:
        predicted: (batch, ...), log(1 + rain in mm).
        rain_mm, observed: (batch, ...); rain is ignored where not observed.
    """
    target = rain_mm.where(observed, rain_mm.new_zeros(())).log1p()
    return Part(((predicted - target) ** 2 * observed).sum(), observed.sum())


def soft_csi_loss(log_probabilities: Tensor, rain_mm: Tensor, observed: Tensor) -> Part:
    """One less the critical success index with probabilities in the place of warnings.

    Hits are sums of probabilities of exceeding over the cells with an event, false alarms over those
    without. They are summed over the scene, like the score, and the mean over scenes and thresholds is taken.
    A cell is added to both sides of the ratio, so that a dry scene has a value and still punishes warnings.

    Source: a soft Jaccard index; Rahman and Wang (2016), https://doi.org/10.1007/978-3-319-50835-1_22.

    Args:
        log_probabilities: (batch, class, y, x).
        rain_mm, observed: (batch, y, x).
    """
    probabilities = log_probabilities.exp()
    total = log_probabilities.new_zeros(())
    for index, threshold_mm in enumerate(THRESHOLDS_MM):
        warned = probabilities[:, index + 1 :].sum(dim=1) * observed
        event = ((rain_mm >= threshold_mm) & observed).to(warned)
        hits = (warned * event).sum(dim=(1, 2))
        union = event.sum(dim=(1, 2)) + warned.sum(dim=(1, 2)) - hits
        total = total + (1 - (hits + SMOOTHING) / (union + SMOOTHING)).sum()
    return Part(total, total.new_tensor(float(len(rain_mm) * len(THRESHOLDS_MM))))


def masked_error(predicted: Tensor, fields: Tensor, masked: Tensor) -> Part:
    """Mean squared error of the masked values (paper, section 2.3).

    Args:
        predicted, fields: (batch, channel, y, x), z-scores.
        masked: the same shape, True where the network saw nothing.
    """
    errors = functional.mse_loss(predicted, fields, reduction="none")
    return Part((errors * masked).sum(), masked.sum())
