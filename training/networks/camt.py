"""Channel attention over the input fields, of CAMT.

Source: Tang et al. (2023), PostRainBench, https://doi.org/10.48550/arXiv.2310.02676, whose module is the
channel part of Woo et al. (2018), CBAM, https://doi.org/10.1007/978-3-030-01234-2_1, with a residual:

    y = x + x * sigmoid(f(mean over cells of x) + f(maximum over cells of x)),     f a two-layer perceptron

The other half of CAMT, a regression beside the classification, is one output more (``heads.py``).
CAMT divides its 72 or 143 fields by 16 for the hidden layer; 16 fields leave four with a quotient of 4.
"""

import torch
from torch import Tensor, nn

REDUCTION = 4


class ChannelAttention(nn.Module):
    """Weighs whole fields by what they hold. (batch, channels, height, width) in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // REDUCTION, 1)
        self.perceptron = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.GELU(), nn.Linear(hidden, channels, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.perceptron(x.mean(dim=(2, 3))) + self.perceptron(x.amax(dim=(2, 3)))
        return x + x * torch.sigmoid(pooled)[:, :, None, None]
