"""Channel attention: its equation, and that it weighs fields by what they hold."""

import torch
from torch import nn

from training.networks.camt import ChannelAttention


def _layer(channels: int = 8) -> ChannelAttention:
    torch.manual_seed(0)
    return ChannelAttention(channels)


def test_a_field_is_weighed_as_a_whole_by_a_factor_between_one_and_two() -> None:
    x = torch.randn(2, 8, 5, 6)
    factor = _layer()(x) / x
    torch.testing.assert_close(factor, factor[:, :, :1, :1].expand_as(factor))
    assert ((factor > 1) & (factor < 2)).all()


def test_it_follows_its_equation() -> None:
    layer, x = _layer(), torch.randn(1, 8, 4, 4)
    into, out = layer.perceptron[0], layer.perceptron[2]
    assert isinstance(into, nn.Linear)
    assert isinstance(out, nn.Linear)
    assert into.out_features == 2
    score = torch.zeros(8)
    for pooled in (x[0].flatten(1).mean(1), x[0].flatten(1).amax(1)):
        score = score + out.weight @ nn.functional.gelu(into.weight @ pooled)
    torch.testing.assert_close(layer(x)[0], x[0] * (1 + score.sigmoid())[:, None, None])


def test_one_field_moves_the_weights_of_all() -> None:
    layer, x = _layer(), torch.rand(1, 8, 4, 4) + 0.5
    other = x.clone()
    other[:, 0] += 3
    assert (layer(x) / x - layer(other) / other)[:, 1:].abs().mean() > 1e-4


def test_every_parameter_gets_a_gradient_even_with_one_field() -> None:
    for channels in (1, 19):
        layer = _layer(channels)
        layer(torch.randn(1, channels, 4, 4)).square().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in layer.parameters())
