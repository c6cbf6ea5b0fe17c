"""Grad-CAM: which places speak for a class, at a chosen depth of the network.

Sources: paper appendix D.3, equations 3 and 4; Selvaraju et al. (2017), Grad-CAM,
https://doi.org/10.1109/ICCV.2017.74.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from service.errors import InputError

Depth = Literal["stage 1", "stage 2", "stage 3", "stage 4", "fusion"]
"""The stages of the encoder, at strides 4, 8, 16 and 32, and the fused pyramid of the decoder."""

DEPTHS: Final[tuple[Depth, ...]] = get_args(Depth)


def heat_map(
    network: nn.Module,
    fields: NDArray[np.float32],
    class_index: int,
    depth: Depth,
    cell: tuple[int, int] | None = None,
) -> NDArray[np.float32]:
    """How strongly each place speaks for a class.

    The weight of a feature map is the gradient of the class score summed over the map's cells (equation 4);
    the result is the positive part of the weighted sum of the feature maps (equation 3; the positive part is
    Selvaraju's), brought to the grid of the fields by bilinear interpolation. Its unit has no meaning, its
    pattern has.

    Args:
        network: with ``encoder`` (fields to a list of features, finest first) and ``decoder.fusion``, in
            evaluation mode. It is left as it was.
        fields: (channel, y, x), as the network takes them.
        class_index: the output channel whose logit is the score.
        depth: where to look.
        cell: (y, x) of the one cell whose score is explained; None sums the score over the field.

    Returns:
        (y, x), not negative.

    Raises:
        InputError: a network in training mode or without this depth, no such class or cell.
    """
    if network.training:
        raise InputError("The network is in training mode", advice="call its eval() first")
    with torch.enable_grad():
        # With a gradient of their own, or a network of fixed parameters would leave no graph behind.
        features, logits = _features_and_logits(
            network, torch.from_numpy(fields)[None].requires_grad_(), depth
        )
        (gradient,) = torch.autograd.grad(_class_score(logits[0], class_index, cell), features)
    weights = gradient.sum(dim=(2, 3), keepdim=True)
    positive = functional.relu((weights * features.detach()).sum(dim=1, keepdim=True))
    on_grid = functional.interpolate(positive, size=fields.shape[-2:], mode="bilinear", align_corners=False)
    result: NDArray[np.float32] = on_grid[0, 0].numpy()
    return result


def _features_and_logits(network: nn.Module, fields: Tensor, depth: Depth) -> tuple[Tensor, Tensor]:
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor | list[Tensor]) -> None:
        kept.append(output if isinstance(output, Tensor) else output[DEPTHS.index(depth)])

    try:
        observed = network.get_submodule("decoder.fusion" if depth == "fusion" else "encoder")
        handle = observed.register_forward_hook(keep)
        try:
            logits: Tensor = network(fields)
        finally:
            handle.remove()
    except (AttributeError, IndexError) as error:
        raise InputError("The network has no such depth", where=type(network).__name__, got=depth) from error
    return kept[-1], logits


def _class_score(logits: Tensor, class_index: int, cell: tuple[int, int] | None) -> Tensor:
    classes, *shape = logits.shape
    if not 0 <= class_index < classes:
        raise InputError("No such class", expected=f"0 to {classes - 1}", got=str(class_index))
    if cell is None:
        return logits[class_index].sum()
    if not all(0 <= place < size for place, size in zip(cell, shape, strict=True)):
        raise InputError("No such cell", expected=f"(y, x) within {tuple(shape)}", got=str(cell))
    return logits[class_index, cell[0], cell[1]]
