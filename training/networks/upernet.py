"""UPerNet decoder: pyramid pooling on the deepest features, then a feature pyramid.

Source: Xiao et al. (2018), Unified Perceptual Parsing, https://doi.org/10.1007/978-3-030-01228-1_26; pooling
scales 1, 2, 3 and 6 after Zhao et al. (2017), PSPNet, https://doi.org/10.1109/CVPR.2017.660.
"""

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor, nn

from training.networks.internimage import resized
from training.networks.normalisation import BatchNorm2d

POOL_SCALES = (1, 2, 3, 6)


def _convolution(inputs: int, outputs: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False), BatchNorm2d(outputs), nn.ReLU()
    )


def pooling_matrix(cells: int, bins: int) -> Tensor:
    """Adaptive mean pooling as a (bins, cells) matrix: bin b covers cells b n / k to (b + 1) n / k."""
    matrix = torch.zeros(bins, cells)
    for row in range(bins):
        first, last = row * cells // bins, ceil((row + 1) * cells / bins)
        matrix[row, first:last] = 1 / (last - first)
    return matrix


class PyramidPooling(nn.Module):
    """Means over 1, 2, 3 and 6 bins per axis, projected, brought back to size and joined to the input.

    The pooling is two matrix products: ONNX has no adaptive pooling, and 6 bins do not divide 7 or 4 cells.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(_convolution(channels, width, 1) for _ in POOL_SCALES)
        self.bottleneck = _convolution(channels + len(POOL_SCALES) * width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        levels = [x]
        for bins, projection in zip(POOL_SCALES, self.projections, strict=True):
            rows, columns = pooling_matrix(height, bins).to(x), pooling_matrix(width, bins).to(x)
            levels.append(resized(projection(rows @ x @ columns.T), x))
        y: Tensor = self.bottleneck(torch.cat(levels, dim=1))
        return y


class UPerNet(nn.Module):
    """The decoder.

    Args:
        inputs: channels of the encoder's features, finest first.
        width: channels of the pyramid.
        outputs: channels of the result.
        dropout: rate at which whole channels are dropped before the classifier in training.

    Shapes: a list of (batch, inputs[i], height_i, width_i) to (batch, outputs, height_0, width_0).
    """

    def __init__(self, *, inputs: Sequence[int], width: int, outputs: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.pooling = PyramidPooling(inputs[-1], width)
        self.laterals = nn.ModuleList(_convolution(channels, width, 1) for channels in inputs[:-1])
        self.smoothing = nn.ModuleList(_convolution(width, width, 3) for _ in inputs[:-1])
        self.fusion = _convolution(len(inputs) * width, width, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, outputs, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        top = self.pooling(features[-1])
        pyramid = [top]
        for feature, lateral in zip(reversed(features[:-1]), reversed(self.laterals), strict=True):
            finer = lateral(feature)
            pyramid.insert(0, finer + resized(pyramid[0], finer))
        levels = [smooth(level) for smooth, level in zip(self.smoothing, pyramid[:-1], strict=True)] + [top]
        fused = self.fusion(
            torch.cat([levels[0]] + [resized(level, levels[0]) for level in levels[1:]], dim=1)
        )
        y: Tensor = self.classifier(self.dropout(fused))
        return y
