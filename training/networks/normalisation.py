"""Batch normalisation whose statistics are those of the whole batch, however many processes share it.

``torch.nn.SyncBatchNorm`` does the same on GPUs only.
"""

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn import functional as collective
from torch.nn.modules.batchnorm import _BatchNorm


def _summed(x: Tensor) -> Tensor:
    """The sum over all processes, with gradient."""
    result: Tensor = collective.all_reduce(x)  # type: ignore[no-untyped-call]
    return result


class _Shared(_BatchNorm):
    """In training with several processes, normalises over the samples of all of them."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and distributed.is_initialized() and distributed.get_world_size() > 1):
            return super().forward(x)
        others = [axis for axis in range(x.dim()) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.dim())]
        # Every process has as many samples.
        count = x.numel() // x.shape[1] * distributed.get_world_size()
        # bfloat16 has too few digits for sums; the mean first, because squares of large values have too.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = _summed(wide.sum(dim=others)) / count
        centred = wide - mean.view(shape)
        variance = _summed((centred * centred).sum(dim=others)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None  # noqa: S101 - these are set unless asked otherwise
        assert self.running_var is not None  # noqa: S101
        assert self.num_batches_tracked is not None  # noqa: S101
        assert self.momentum is not None  # noqa: S101
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


class BatchNorm1d(_Shared, nn.BatchNorm1d):
    """As ``torch.nn.BatchNorm1d``, with shared statistics."""


class BatchNorm2d(_Shared, nn.BatchNorm2d):
    """As ``torch.nn.BatchNorm2d``, with shared statistics."""
