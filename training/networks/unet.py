"""UNet, the comparison system that most post-processing papers start from.

Source: Ronneberger et al. (2015), https://doi.org/10.1007/978-3-319-24574-4_28: pairs of 3 x 3 convolutions
at five resolutions, each half the one before and twice as wide, and connections across. As in most later use
the convolutions are padded and followed by batch normalisation, and the width at full resolution is free.
"""

import torch
from torch import Tensor, nn

from training.networks.internimage import check_grid
from training.networks.normalisation import BatchNorm2d

LEVELS = 4
"""Halvings of the grid; sides must be multiples of 2**4 = 16 cells."""


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """The network.

    Args:
        inputs: channels of the fields.
        outputs: channels of the result.
        width: channels at full resolution (64 in the source).

    Shapes: (batch, inputs, height, width) to (batch, outputs, height, width).

    Raises:
        ValueError: height or width is not a multiple of 16.
    """

    def __init__(self, *, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS + 1)]
        self.descent = nn.ModuleList(
            _pair(*ends) for ends in zip([inputs, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.enlargements = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[-2::-1])
        self.ascent = nn.ModuleList(_pair(2 * w, w) for w in widths[-2::-1])
        self.classifier = nn.Conv2d(width, outputs, 1)

    def forward(self, fields: Tensor) -> Tensor:
        check_grid(fields.shape, 2**LEVELS)
        x = self.descent[0](fields)
        across = []
        for level in self.descent[1:]:
            across.append(x)
            x = level(self.pool(x))
        for enlarge, level in zip(self.enlargements, self.ascent, strict=True):
            x = level(torch.cat([across.pop(), enlarge(x)], dim=1))
        y: Tensor = self.classifier(x)
        return y
