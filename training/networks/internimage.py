"""InternImage encoder: four stages of DCNv3 blocks at strides 4, 8, 16 and 32.

Source: Wang et al. (2023), InternImage, https://doi.org/10.1109/CVPR52729.2023.01385. Layout of the size T as
its segmentation configuration has it: normalisation before each branch, layer scale that starts at one,
stochastic depth that grows with depth, and a normalisation at the end of every stage.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.dcnv3 import DCNv3

STRIDE = 32


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a (batch, channels, height, width) field."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class StochasticDepth(nn.Module):
    """Drops a residual branch for whole samples in training, and scales the others up to keep the mean."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        drawn = torch.rand(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device) < keep
        return x * drawn / keep


class Block(nn.Module):
    """DCNv3 and a two-layer perceptron, each a residual branch with a scale of its own. Channels last."""

    scale_spatial: nn.Parameter | None
    scale_perceptron: nn.Parameter | None

    def __init__(self, channels: int, groups: int, perceptron_ratio: float, drop_path: float) -> None:
        super().__init__()
        hidden = int(channels * perceptron_ratio)
        self.norm_spatial = nn.LayerNorm(channels, eps=1e-6)
        self.spatial = DCNv3(channels, groups)
        self.norm_perceptron = nn.LayerNorm(channels, eps=1e-6)
        self.perceptron = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))
        self.scale_spatial = nn.Parameter(torch.ones(channels))
        self.scale_perceptron = nn.Parameter(torch.ones(channels))
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(_scaled(self.scale_spatial, self.spatial(self.norm_spatial(x))))
        y: Tensor = x + self.drop_path(
            _scaled(self.scale_perceptron, self.perceptron(self.norm_perceptron(x)))
        )
        return y

    def fold(self) -> None:
        """Takes the scales into the last layer of each branch: the same function with two products less.

        It can no longer be fitted as it was; for export.
        """
        last = self.perceptron[-1]
        assert isinstance(last, nn.Linear)  # noqa: S101 - as made above
        with torch.no_grad():
            for scale, layer in (
                (self.scale_spatial, self.spatial.output_projection),
                (self.scale_perceptron, last),
            ):
                if scale is not None:
                    layer.weight.mul_(scale[:, None])
                    layer.bias.mul_(scale)
        self.scale_spatial = self.scale_perceptron = None


def _scaled(scale: Tensor | None, x: Tensor) -> Tensor:
    return x if scale is None else scale * x


class Stage(nn.Module):
    """Blocks at one resolution and the closing normalisation. Channels last."""

    def __init__(
        self, channels: int, groups: int, perceptron_ratio: float, drop_paths: Sequence[float]
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(channels, groups, perceptron_ratio, rate) for rate in drop_paths)
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.norm(x)
        return y


def _stem(inputs: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, channels // 2, 3, stride=2, padding=1),
        ChannelNorm(channels // 2, eps=1e-6),
        nn.GELU(),
        nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1),
        ChannelNorm(channels, eps=1e-6),
    )


def _downsample(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False),
        ChannelNorm(2 * channels, eps=1e-6),
    )


class InternImage(nn.Module):
    """The encoder.

    Args:
        inputs: channels of the input.
        channels: channels of the first stage; each later stage has twice those before it.
        depths: blocks per stage.
        groups: DCNv3 groups per stage.
        perceptron_ratio: hidden width of the perceptrons over the channels.
        drop_path: rate of stochastic depth in the last block; the first block has none.

    Shapes: (batch, inputs, height, width) to one field per stage i,
        (batch, channels * 2**i, height / 2**(2 + i), width / 2**(2 + i)).

    Raises:
        ValueError: ``depths`` and ``groups`` differ in length.
    """

    def __init__(
        self,
        *,
        inputs: int,
        channels: int,
        depths: Sequence[int],
        groups: Sequence[int],
        perceptron_ratio: float = 4.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if len(depths) != len(groups):
            raise ValueError(
                f"InternImage: {len(depths)} depths for {len(groups)} groups; give one of each per stage"
            )
        self.widths = [channels * 2**stage for stage in range(len(depths))]
        rates = [drop_path * index / max(sum(depths) - 1, 1) for index in range(sum(depths))]
        starts = [sum(depths[:stage]) for stage in range(len(depths))]
        self.stem = _stem(inputs, channels)
        self.stages = nn.ModuleList(
            Stage(width, group, perceptron_ratio, rates[start : start + depth])
            for width, group, start, depth in zip(self.widths, groups, starts, depths, strict=True)
        )
        self.downsamples = nn.ModuleList(_downsample(width) for width in self.widths[:-1])
        self.apply(_initialise)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        features = []
        for index, stage in enumerate(self.stages):
            if index:
                x = self.downsamples[index - 1](x)
            x = stage(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            features.append(x)
        return features


def _initialise(module: nn.Module) -> None:
    """Truncated normal weights for the perceptrons; DCNv3 initialises its own layers."""
    if isinstance(module, Block):
        for layer in module.perceptron:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear interpolation of a (batch, channels, ...) field to the height and width of ``like``."""
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def padded(fields: Tensor, multiple: int) -> Tensor:
    """Repeats the last row and column of (batch, channels, height, width) until both sides are multiples."""
    height, width = fields.shape[-2:]
    missing = (0, -width % multiple, 0, -height % multiple)
    return functional.pad(fields, missing, mode="replicate") if any(missing) else fields


def check_grid(shape: Sequence[int], multiple: int) -> None:
    """Refuses fields (..., height, width) whose sides the halvings of a network do not divide.

    Raises:
        ValueError: height or width is not a multiple.
    """
    height, width = shape[-2:]
    if height % multiple or width % multiple:
        raise ValueError(f"fields are {height} x {width} cells; both must be multiples of {multiple}")
