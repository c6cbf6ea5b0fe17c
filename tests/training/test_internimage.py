"""The encoder: sizes, shapes, and that no block is idle."""

import pytest
import torch
from torch import nn

from training.networks.internimage import Block, InternImage, Stage, StochasticDepth
from training.networks.segmentation import ARCHITECTURES


def _small() -> InternImage:
    return InternImage(inputs=3, channels=8, depths=(1, 2), groups=(2, 4), perceptron_ratio=2)


def test_size_t_has_the_published_number_of_parameters() -> None:
    """28.8 M within 0.1 M: the paper's encoder with 16 inputs in place of 3 and without its classifier."""
    size = ARCHITECTURES["T"]
    with torch.device("meta"):
        encoder = InternImage(inputs=16, channels=size.channels, depths=size.depths, groups=size.groups)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == pytest.approx(28.8e6, abs=0.1e6)


def test_features_have_strides_4_and_8() -> None:
    features = _small()(torch.randn(2, 3, 32, 64))
    assert [tuple(feature.shape) for feature in features] == [(2, 8, 8, 16), (2, 16, 4, 8)]


def test_every_block_changes_its_input() -> None:
    torch.manual_seed(0)
    network = _small()
    changes: list[float] = []

    def _record(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        changes.append(float((output - inputs[0]).abs().mean() / inputs[0].abs().mean()))

    for module in network.modules():
        if isinstance(module, Block):
            module.register_forward_hook(_record)
    with torch.no_grad():
        network(torch.randn(1, 3, 32, 32))
    assert len(changes) == 3
    assert min(changes) > 0.01


def test_both_branches_of_a_block_count() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 2.0, 0.0)
    x = torch.randn(1, 4, 4, 8)
    whole = block(x)
    for scale in (block.scale_spatial, block.scale_perceptron):
        assert scale is not None
        with torch.no_grad():
            scale.zero_()
            assert (block(x) - whole).abs().max() > 1e-3
            scale.fill_(1)


def test_folded_scales_leave_the_block_as_it_was() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 2.0, drop_path=0.0).eval()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        x = torch.randn(2, 5, 6, 8)
        before = block(x)
        block.fold()
        torch.testing.assert_close(block(x), before)
        block.fold()
        torch.testing.assert_close(block(x), before)
    assert not any("scale" in name for name, _ in block.named_parameters())


def test_stage_ends_normalised() -> None:
    y = Stage(8, 2, 2.0, [0.0])(5 + 3 * torch.randn(1, 4, 4, 8))
    assert y.mean(-1).abs().max() < 1e-5
    assert y.var(-1, unbiased=False).sub(1).abs().max() < 1e-2


def test_stochastic_depth_keeps_the_mean_and_rests_outside_training() -> None:
    torch.manual_seed(0)
    layer = StochasticDepth(0.25)
    x = torch.ones(4000, 1, 1, 2)
    y = layer(x)
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert y.mean().item() == pytest.approx(1, abs=0.05)
    assert layer.eval()(x) is x


def test_rates_of_stochastic_depth_grow_with_depth() -> None:
    network = InternImage(inputs=1, channels=4, depths=(1, 2), groups=(1, 1), drop_path=0.2)
    rates = [module.probability for module in network.modules() if isinstance(module, StochasticDepth)]
    assert rates == pytest.approx([0.0, 0.1, 0.2])


def test_depths_and_groups_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 depths for 1 groups"):
        InternImage(inputs=1, channels=4, depths=(1, 1), groups=(1,))
