"""The masked embedding: exact counts, reproducible masks, and which value belongs to which token."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.networks.masking import MaskedEmbedding, kept_tokens


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _paper(*, skip: bool = False) -> MaskedEmbedding:
    return MaskedEmbedding(channels=16, height=224, width=128, token_width=8, skip=skip)


def _small(*, skip: bool = False) -> MaskedEmbedding:
    torch.manual_seed(0)
    return MaskedEmbedding(
        channels=4, height=8, width=12, token_width=32, patch_channels=2, patch_cells=4, skip=skip
    )


@pytest.mark.parametrize(("ratio", "kept"), [(0.9, 44), (0.75, 112), (0.5, 224), (0.25, 336), (0.0, 448)])
def test_the_papers_token_counts(ratio: float, kept: int) -> None:
    embedding = _paper()
    assert embedding.tokens == 448
    masked = embedding.draw(3, ratio, _generator())
    assert (~masked).sum(dim=1).tolist() == [kept] * 3


def test_a_product_just_below_a_whole_number_counts_as_whole() -> None:
    assert kept_tokens(10, 0.9) == 1


@pytest.mark.parametrize("ratio", [-0.1, 1.0, float("nan")])
def test_impossible_ratios_are_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        _small().draw(1, ratio, _generator())


def test_masks_are_reproducible_and_differ_between_samples() -> None:
    embedding = _paper()
    masked = embedding.draw(4, 0.9, _generator(1))
    assert torch.equal(masked, embedding.draw(4, 0.9, _generator(1)))
    assert not torch.equal(masked, embedding.draw(4, 0.9, _generator(2)))
    assert len({tuple(row.tolist()) for row in masked}) == 4


def test_masks_have_no_structure() -> None:
    """Every token is masked equally often, within five standard deviations of the binomial."""
    share = _small().draw(4000, 0.25, _generator()).double().mean(dim=0)
    kept = kept_tokens(12, 0.25) / 12
    assert (share - (1 - kept)).abs().max() < 5 * (kept * (1 - kept) / 4000) ** 0.5


def test_global_chance_is_left_alone() -> None:
    embedding = _small()
    before = torch.get_rng_state()
    embedding.draw(1, 0.9, _generator())
    assert torch.equal(before, torch.get_rng_state())


@given(token=st.integers(0, 11))
def test_each_token_covers_its_own_values(token: int) -> None:
    """Token (group, row, column) covers 2 channels x 4 x 4 cells; groups count slowest, columns fastest."""
    embedding = _small()
    group, row, column = token // 6, token % 6 // 3, token % 3
    masked = torch.zeros(1, 12, dtype=torch.bool)
    masked[0, token] = True
    expected = torch.zeros(1, 4, 8, 12, dtype=torch.bool)
    expected[0, 2 * group : 2 * group + 2, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = True
    assert torch.equal(embedding.expand(masked), expected)


def test_hidden_values_do_not_reach_the_result() -> None:
    for skip in (False, True):
        embedding = _small(skip=skip)
        masked = embedding.draw(2, 0.5, _generator())
        hidden = embedding.expand(masked)
        fields, other = torch.randn(2, 4, 8, 12), torch.randn(2, 4, 8, 12)
        result = embedding(fields, masked)
        assert torch.equal(result, embedding(torch.where(hidden, other, fields), masked))
        changed = embedding(torch.where(hidden, fields, other), masked) != result
        assert not changed[hidden].any()
        assert changed[~hidden].float().mean() > 0.99


def test_patches_come_back_to_their_place() -> None:
    """With a projection that undoes the embedding only the layer norm per token is left."""
    embedding = _small()
    with torch.no_grad():
        for name, parameter in embedding.named_parameters():
            if "position" in name:
                parameter.zero_()
        for layer in (embedding.embedding, embedding.projection):
            layer.weight.copy_(torch.eye(32))
    fields = torch.randn(2, 4, 8, 12)
    result = embedding(fields)
    patch = fields[1, 2:4, 4:8, 8:12]
    expected = (patch - patch.mean()) / patch.std(unbiased=False)
    torch.testing.assert_close(result[1, 2:4, 4:8, 8:12], expected)


def test_the_skip_adds_what_is_visible() -> None:
    plain, skipping = _small(), _small(skip=True)
    skipping.load_state_dict(plain.state_dict())
    fields = torch.randn(2, 4, 8, 12)
    masked = plain.draw(2, 0.5, _generator())
    added = skipping(fields, masked) - plain(fields, masked)
    torch.testing.assert_close(added, fields * ~plain.expand(masked), atol=1e-6, rtol=0)
    torch.testing.assert_close(skipping(fields) - plain(fields), fields, atol=1e-6, rtol=0)


def test_conditions_pass_unchanged() -> None:
    embedding = _small()
    fields = torch.randn(2, 7, 8, 12)
    result = embedding(fields, embedding.draw(2, 0.5, _generator()))
    assert result.shape == fields.shape
    assert torch.equal(result[:, 4:], fields[:, 4:])
    torch.testing.assert_close(embedding(fields)[:, :4], embedding(fields[:, :4]))


def test_every_parameter_gets_a_gradient() -> None:
    embedding = _small()
    fields = torch.randn(2, 4, 8, 12)
    masked = embedding.draw(2, 0.5, _generator())
    (embedding(fields, masked) - fields).square().mean().backward()
    idle = [name for name, p in embedding.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_one_channel_on_another_grid() -> None:
    embedding = MaskedEmbedding(channels=1, height=64, width=96, token_width=8, patch_channels=1)
    assert embedding.tokens == 24
    assert embedding(torch.randn(2, 1, 64, 96), embedding.draw(2, 0.9, _generator())).shape == (2, 1, 64, 96)


@pytest.mark.parametrize(("channels", "height", "width"), [(15, 224, 128), (16, 253, 128), (16, 224, 149)])
def test_fields_that_the_patches_do_not_divide_are_refused(channels: int, height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"4 x 16 x 16 do not divide fields of {channels} x {height}"):
        MaskedEmbedding(channels=channels, height=height, width=width, token_width=8)
