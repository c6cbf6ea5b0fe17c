"""From the outputs of a network to class probabilities, and the calibration of these.

A head reads its logits from the first channels of the outputs. A channel after them is no logit: in
multi-task training (CAMT, ``training.networks.camt``) it predicts log(1 + rain in mm).

Heads return the logarithms of the class probabilities. These are valid logits: a loss that takes logits takes
them, and gives a head of any kind the same meaning.
"""

from collections.abc import Sequence
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.channels import CLASSES, THRESHOLDS_MM


class Softmax(nn.Module):
    """One logit per class. (batch, 3 or more, ...) to log-probabilities (batch, class, ...)."""

    logits: Final = len(CLASSES)

    def forward(self, outputs: Tensor) -> Tensor:
        return outputs[:, : self.logits].log_softmax(dim=1)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Without the logarithm.

        Written out: the softmax of ONNX Runtime is slow where the classes are not the last axis.
        """
        logits = outputs[:, : self.logits]
        powers = (logits - logits.amax(dim=1, keepdim=True)).exp()
        return powers / powers.sum(dim=1, keepdim=True)


class Ordinal(nn.Module):
    """Two cumulative logits: the classes are ordered, and the chances to exceed the thresholds fall.

    Source: McCullagh (1980), Regression models for ordinal data,
    https://doi.org/10.1111/j.2517-6161.1980.tb01109.x; with outputs (a, d)

        P(rain >= 0.1 mm) = s(a)       P(rain >= 10 mm) = s(b),     b = a - softplus(d) < a,    s the sigmoid

    The difference of the two is s(a) s(-b) s(d), so that no class loses precision.

    Shapes: (batch, 2 or more, ...) to log-probabilities (batch, class, ...).
    """

    logits: Final = len(THRESHOLDS_MM)

    def forward(self, outputs: Tensor) -> Tensor:
        rain, gap = outputs[:, 0], outputs[:, 1]
        heavy = rain - functional.softplus(gap)
        between = functional.logsigmoid(rain) + functional.logsigmoid(-heavy) + functional.logsigmoid(gap)
        return torch.stack([functional.logsigmoid(-rain), between, functional.logsigmoid(heavy)], dim=1)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Without the logarithm."""
        return self(outputs).exp()  # type: ignore[no-any-return]


Head = Softmax | Ordinal
HeadName = Literal["softmax", "ordinal"]
HEADS: Final[dict[HeadName, type[Softmax] | type[Ordinal]]] = {"softmax": Softmax, "ordinal": Ordinal}
"""By the name that a configuration uses."""


NEAREST: Final = 1e-6
"""Least distance of two knots of a calibration."""


class PiecewiseLinear(nn.Module):
    """A monotone map of probabilities, linear between knots and constant beyond the outer ones.

    A sum of clipped ramps whose heights are not negative: monotone whatever the rounding, and a few plain
    operators in ONNX.

    Args:
        knots: probabilities as predicted, within [0, 1], each at least 1e-6 above the one before.
        values: what they become, not decreasing within [0, 1].

    Raises:
        ValueError: fewer than two knots, another number of values, or a wrong order.
    """

    starts: Tensor
    slopes: Tensor
    heights: Tensor
    lowest: Tensor

    def __init__(self, knots: Sequence[float], values: Sequence[float]) -> None:
        super().__init__()
        # As float32 has them: slopes of the rounded knots meet the values at the knots.
        x, y = (torch.tensor(numbers, dtype=torch.float32).double() for numbers in (knots, values))
        both = torch.cat([x, y])
        inside = bool(((both >= 0) & (both <= 1)).all())
        if len(x) != len(y) or len(x) < 2 or not inside or (x.diff() < NEAREST).any() or (y.diff() < 0).any():
            raise ValueError(
                f"a calibration needs two or more knots within [0, 1], {NEAREST:g} apart and increasing, and "
                f"as many values within [0, 1], none below the last; got {list(knots)} and {list(values)}"
            )
        self.register_buffer("starts", x[:-1].float())
        self.register_buffer("slopes", x.diff().reciprocal().float())
        self.register_buffer("heights", y.diff().float())
        self.register_buffer("lowest", y[0].float())

    def forward(self, probability: Tensor) -> Tensor:
        """Any shape."""
        ramps = ((probability[..., None] - self.starts) * self.slopes).clamp(0, 1)
        return (self.lowest + (ramps * self.heights).sum(dim=-1)).clamp(max=1)


class Calibration(nn.Module):
    """Maps the chances to exceed each threshold; that of heavy rain never exceeds that of rain.

    Args:
        rain, heavy: the maps at 0.1 and 10 mm.

    Shapes: class probabilities (batch, class, ...) in and out.
    """

    def __init__(self, rain: PiecewiseLinear, heavy: PiecewiseLinear) -> None:
        super().__init__()
        self.rain = rain
        self.heavy = heavy

    def forward(self, probabilities: Tensor) -> Tensor:
        heavy = probabilities[:, 2]
        rain = self.rain(probabilities[:, 1] + heavy)
        heavy = torch.minimum(self.heavy(heavy), rain)
        return torch.stack([1 - rain, rain - heavy, heavy], dim=1)
