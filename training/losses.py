"""The training loss."""

from collections.abc import Sequence

from torch import Tensor


def weighted_soft_cross_entropy(
    logits: Tensor, labels: Tensor, class_weights: Sequence[float], observed: Tensor
) -> Tensor:
    """Equation 2 of the paper: mean over observed cells of -sum_j w_j p*_j log q_j.

    Written out, because ``torch.nn.functional.cross_entropy`` divides by the sum of the weights for class
    indices and not for probabilities, which would make hard and soft labels incomparable. Up to a constant it
    equals the weighted Kullback-Leibler divergence of the prediction from the labels.

    Args:
        logits: (batch, class, ...).
        labels: (batch, class, ...), sums to one over the classes; ignored where not observed.
        class_weights: one weight per class.
        observed: (batch, ...), True where there is an observation.

    Raises:
        ValueError: no cell is observed.
    """
    count = observed.sum()
    if count == 0:
        raise ValueError("the batch holds no observed cell; drop such samples from the split")
    weights = logits.new_tensor(class_weights).view(1, -1, *[1] * (logits.dim() - 2))
    # Zeroed before the product: a NaN that is left out only afterwards still reaches the gradient.
    weighted = weights * labels.where(observed.unsqueeze(1), labels.new_zeros(()))
    return -(weighted * logits.log_softmax(dim=1)).sum() / count
