"""The decoder: its pooling written as matrices, its shapes, its use of every level."""

import pytest
import torch
from torch.nn import functional

from training.networks.upernet import POOL_SCALES, UPerNet, pooling_matrix


@pytest.mark.parametrize("bins", POOL_SCALES)
def test_pooling_by_matrices_is_adaptive_mean_pooling(bins: int) -> None:
    x = torch.randn(2, 3, 7, 4)
    pooled = pooling_matrix(7, bins) @ x @ pooling_matrix(4, bins).T
    torch.testing.assert_close(pooled, functional.adaptive_avg_pool2d(x, bins))


def _features() -> list[torch.Tensor]:
    return [torch.randn(2, 4, 8, 12), torch.randn(2, 8, 4, 6), torch.randn(2, 16, 2, 3)]


def test_output_has_the_finest_resolution() -> None:
    decoder = UPerNet(inputs=(4, 8, 16), width=6, outputs=3)
    assert decoder(_features()).shape == (2, 3, 8, 12)


def test_every_level_reaches_the_output() -> None:
    torch.manual_seed(0)
    decoder = UPerNet(inputs=(4, 8, 16), width=6, outputs=3).eval()
    features = _features()
    whole = decoder(features)
    for level in range(3):
        changed = [torch.zeros_like(x) if index == level else x for index, x in enumerate(features)]
        assert (decoder(changed) - whole).abs().max() > 1e-4
