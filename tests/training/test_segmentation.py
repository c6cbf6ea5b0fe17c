"""The whole network: gradients everywhere, that it can learn, and what stands before and after it."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from training.networks.heads import Calibration, Ordinal, PiecewiseLinear
from training.networks.masking import MaskedEmbedding
from training.networks.segmentation import ARCHITECTURES, Architecture, Probabilities, Segmentation

SMALL = Architecture(16, (1, 1, 1, 1), (2, 2, 4, 4), decoder_width=8, inputs=4, perceptron_ratio=2, dropout=0)


def _masking() -> Segmentation:
    """Embedding of the first three fields, the fourth a condition, channel attention and refinement."""
    torch.manual_seed(0)
    embedding = MaskedEmbedding(channels=3, height=64, width=64, token_width=32, patch_channels=1)
    return Segmentation(SMALL, embedding=embedding, channel_attention=True, refinement=4)


def _mask(network: Segmentation, ratio: float = 0.5) -> torch.Tensor:
    assert network.embedding is not None
    return network.embedding.draw(2, ratio, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("masking", [False, True])
def test_every_parameter_gets_a_gradient(masking: bool) -> None:
    """Offsets and masks start from zero weights, so their inputs have a gradient only after one step."""
    torch.manual_seed(0)
    network = _masking() if masking else Segmentation(SMALL)
    masked = _mask(network) if masking else None
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    fields, classes = torch.randn(2, 4, 64, 64), torch.randint(3, (2, 64, 64))
    for _ in range(2):
        optimiser.zero_grad()
        functional.cross_entropy(network(fields, masked), classes).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    idle = [
        name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().max().item() == 0
    ]
    assert idle == []


def test_overfits_one_batch() -> None:
    torch.manual_seed(0)
    network = Segmentation(SMALL)
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3)
    fields = torch.randn(2, 4, 32, 32)
    classes = torch.zeros(2, 32, 32, dtype=torch.long)
    classes[0, 8:24, 4:16] = 1
    classes[1, :12, 16:] = 2
    classes[1, 20:28, 4:12] = 1
    for _ in range(120):
        optimiser.zero_grad()
        loss = functional.cross_entropy(network(fields), classes)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert loss.item() < 0.1
    assert (network.eval()(fields).argmax(1) == classes).float().mean() > 0.95


def test_probabilities_sum_to_one() -> None:
    probabilities = Probabilities(Segmentation(SMALL)).eval()(3 * torch.randn(2, 4, 32, 64))
    assert probabilities.shape == (2, 3, 32, 64)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 32, 64))


@pytest.mark.parametrize("refinement", [0, 4])
def test_sizes_that_the_strides_do_not_divide_are_those_of_fields_with_repeated_edges(
    refinement: int,
) -> None:
    torch.manual_seed(0)
    network = Segmentation(SMALL, refinement=refinement).eval()
    fields = torch.randn(2, 4, 40, 61)
    outputs = network(fields)
    assert outputs.shape == (2, 3, 40, 61)
    rows, columns = torch.arange(64).clamp(max=39), torch.arange(64).clamp(max=60)
    torch.testing.assert_close(outputs, network(fields[:, :, rows][..., columns])[..., :40, :61])


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_named_architectures_keep_the_field_size(name: str) -> None:
    with torch.device("meta"):
        network = Segmentation(ARCHITECTURES[name]).eval()
        assert network(torch.empty(1, 16, 224, 128)).shape == (1, 3, 224, 128)


def test_a_masked_token_is_hidden_from_the_whole_network() -> None:
    network = _masking().eval()
    masked = _mask(network)
    assert network.embedding is not None
    hidden = network.embedding.expand(masked)
    fields, other = torch.randn(2, 4, 64, 64), torch.randn(2, 4, 64, 64)
    changed = fields.clone()
    changed[:, :3] = torch.where(hidden, other[:, :3], fields[:, :3])
    with torch.no_grad():
        assert torch.equal(network(fields, masked), network(changed, masked))
        assert not torch.equal(network(fields), network(changed))


def test_a_ratio_of_zero_is_no_mask_and_leaves_no_chance() -> None:
    network = _masking().eval()
    fields = torch.randn(2, 4, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(fields, _mask(network, 0.0)), network(fields))


def test_pre_training_learns_to_restore_what_is_hidden() -> None:
    """Fields that repeat each other: the hidden one can be read off the visible ones."""
    torch.manual_seed(0)
    network = Segmentation(
        replace(SMALL, inputs=3, classes=3),
        embedding=MaskedEmbedding(channels=3, height=32, width=32, token_width=64, patch_channels=1),
    )
    assert network.embedding is not None
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3)
    pattern = torch.randn(4, 1, 2, 2).repeat_interleave(16, 2).repeat_interleave(16, 3)
    fields = pattern.expand(-1, 3, -1, -1)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(80):
        masked = network.embedding.draw(4, 1 / 3, generator)
        optimiser.zero_grad()
        loss = (network(fields, masked) - fields)[network.embedding.expand(masked)].square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 0.2 * pattern.var().item()


def test_a_mask_without_an_embedding_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a network with a masked embedding"):
        Segmentation(SMALL)(torch.randn(1, 4, 32, 32), torch.zeros(1, 4, dtype=torch.bool))


def test_channel_attention_and_embedding_change_the_result() -> None:
    network = _masking().eval()
    fields = torch.randn(1, 4, 64, 64)
    with torch.no_grad():
        whole = network(fields)
        for part in ("attention", "embedding"):
            module = getattr(network, part)
            setattr(network, part, None)
            assert (network(fields) - whole).abs().max() > 1e-3
            setattr(network, part, module)


def test_the_refinement_begins_as_no_change_and_sees_single_cells() -> None:
    network = _masking().eval()
    fields = torch.randn(1, 4, 64, 64)
    refinement = network.refinement
    assert refinement is not None
    with torch.no_grad():
        network.refinement = None
        coarse = network(fields)
        network.refinement = refinement
        assert torch.equal(network(fields), coarse)
        nn.init.normal_(refinement.change.weight)
        nn.init.zeros_(refinement.joined.weight[:, 4:])
        # Without the coarse outputs, what is added depends on the fields within two cells only.
        other = fields.clone()
        other[..., 40, 40] += 1.0
        added, changed = (refinement(x, torch.zeros(1, 3, 64, 64)) for x in (fields, other))
    places = (added != changed).any(dim=1)[0].nonzero()
    assert places.min() >= 38
    assert places.max() <= 42
    assert len(places) > 1


def test_what_is_masked_stays_hidden_from_the_refinement() -> None:
    network = _masking().eval()
    refinement = network.refinement
    assert refinement is not None
    nn.init.normal_(refinement.change.weight)
    masked = _mask(network)[:1]
    assert network.embedding is not None
    hidden = network.embedding.expand(masked)
    fields = torch.randn(1, 4, 64, 64)
    other = fields.clone()
    other[:, :3][hidden] += 5.0
    with torch.no_grad():
        assert torch.equal(network(fields, masked), network(other, masked))


def test_head_and_calibration_follow_the_network() -> None:
    torch.manual_seed(0)
    network = Segmentation(replace(SMALL, classes=3)).eval()
    fields = torch.randn(1, 4, 32, 32)
    halved = PiecewiseLinear((0.0, 1.0), (0.0, 0.5))
    with torch.no_grad():
        outputs = network(fields)
        found = Probabilities(network, Ordinal(), Calibration(halved, halved))(fields)
    rain = outputs[:, 0].sigmoid() / 2
    torch.testing.assert_close(found[:, 1] + found[:, 2], rain)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 32, 32))
