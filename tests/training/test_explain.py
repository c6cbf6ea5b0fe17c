"""Grad-CAM against networks whose answer is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.errors import InputError
from tests.training.conftest import SIZE, SMALL
from training.explain import DEPTHS, Depth, heat_map
from training.networks.segmentation import Segmentation

CHANNELS, CLASSES, STRIDE = 3, 2, 4


class Pooled(nn.Module):
    """Features that are the block means of the fields themselves, at one stride for every stage."""

    def forward(self, fields: Tensor) -> list[Tensor]:
        return [nn.functional.avg_pool2d(fields, STRIDE)] * 4


class LinearDecoder(nn.Module):
    def __init__(self, weights: Tensor, region: Tensor) -> None:
        super().__init__()
        self.fusion = nn.Identity()
        self.weights, self.region = weights, region

    def forward(self, features: list[Tensor]) -> Tensor:
        fused: Tensor = self.fusion(features[0])
        return torch.einsum("kc,bcyx,yx->bkyx", self.weights, fused, self.region)


class Linear(nn.Module):
    """Logit k of a block: the weighted sum over the channels of the block's means, inside a region."""

    def __init__(self, weights: Tensor, region: Tensor) -> None:
        super().__init__()
        self.encoder = Pooled()
        self.decoder = LinearDecoder(weights, region)

    def forward(self, fields: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.encoder(fields))
        return logits.repeat_interleave(STRIDE, dim=2).repeat_interleave(STRIDE, dim=3)


def _fields(seed: int = 0, channels: int = CHANNELS, size: int = 16) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(channels, size, size)).astype(np.float32)


def _linear(weights: list[list[float]], region: Tensor | None = None) -> Linear:
    return Linear(torch.tensor(weights), torch.ones(4, 4) if region is None else region).eval()


@pytest.mark.parametrize("depth", ["stage 1", "stage 4", "fusion"])
def test_the_weights_of_a_linear_network_are_its_gradient(depth: Depth) -> None:
    weights = [[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]]
    fields = _fields()
    pooled = fields.reshape(CHANNELS, 4, STRIDE, 4, STRIDE).mean(axis=(2, 4))
    # Each block's mean stands in STRIDE x STRIDE logits, and 16 blocks add up in the weight (equation 4).
    analytic = np.array(weights[1]) * STRIDE**2 * 16
    expected = np.maximum(np.einsum("c,cyx->yx", analytic, pooled), 0)
    # The heat map has the features' resolution where the fields have it.
    found = heat_map(_linear(weights), fields, 1, depth)
    coarse = torch.from_numpy(expected.astype(np.float32))[None, None]
    on_grid = nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear")[0, 0].numpy()
    np.testing.assert_allclose(found, on_grid, rtol=1e-5, atol=1e-4)


def test_the_map_is_warm_where_the_only_channel_that_counts_is_high() -> None:
    fields = np.zeros((CHANNELS, 16, 16), np.float32)
    fields[0, :8, :8] = 5.0  # a strong channel without a say
    fields[2, 8:, 8:] = 1.0
    warm = heat_map(_linear([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), fields, 1, "stage 1")
    assert warm[12:, 12:].min() > 0
    assert warm[:6, :].max() == 0
    assert warm[:, :6].max() == 0


def test_what_speaks_against_the_class_is_cold() -> None:
    fields = np.zeros((CHANNELS, 16, 16), np.float32)
    fields[1, :8] = 1.0
    fields[1, 8:] = -1.0
    warm = heat_map(_linear([[0.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), fields, 1, "fusion")
    assert warm[10:].min() > 0
    assert warm[:6].max() == 0


def test_a_cell_weighs_only_what_reaches_it() -> None:
    region = torch.zeros(4, 4)
    region[0, 0] = 1.0
    network = _linear([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], region)
    fields = np.abs(_fields())
    assert heat_map(network, fields, 0, "stage 2", cell=(1, 2)).max() > 0
    assert heat_map(network, fields, 0, "stage 2", cell=(12, 12)).max() == 0


def test_one_cell_of_many_has_a_share_of_the_whole_field() -> None:
    network = _linear([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0]])
    fields = np.abs(_fields())
    whole = heat_map(network, fields, 0, "stage 3")
    one = heat_map(network, fields, 0, "stage 3", cell=(5, 9))
    np.testing.assert_allclose(one * 16 * STRIDE**2, whole, rtol=1e-5)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_real_network_answers_at_every_depth_with_fixed_parameters(depth: Depth) -> None:
    torch.manual_seed(0)
    network = Segmentation(SMALL).eval().requires_grad_(False)
    found = heat_map(network, _fields(channels=16, size=SIZE), 2, depth)
    assert found.shape == (SIZE, SIZE)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert np.isfinite(found).all()


def test_depths_differ_and_the_network_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    network = Segmentation(SMALL).eval()
    fields = _fields(channels=16, size=SIZE)
    maps = [heat_map(network, fields, 1, depth) for depth in DEPTHS]
    for first, second in pairwise(maps):
        assert not np.allclose(first, second)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.encoder._forward_hooks
    assert not network.decoder.fusion._forward_hooks


def test_what_cannot_be_explained_is_refused() -> None:
    network = _linear([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    with pytest.raises(InputError, match="class"):
        heat_map(network, _fields(), 2, "fusion")
    with pytest.raises(InputError, match="cell"):
        heat_map(network, _fields(), 1, "fusion", cell=(16, 0))
    with pytest.raises(InputError, match="training mode"):
        heat_map(network.train(), _fields(), 1, "fusion")
    with pytest.raises(InputError, match="no such depth"):
        heat_map(nn.Conv2d(CHANNELS, CLASSES, 1).eval(), _fields(), 1, "stage 1")
