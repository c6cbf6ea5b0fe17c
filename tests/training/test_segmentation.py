"""The whole network: gradients everywhere, and that it can learn."""

import pytest
import torch
from torch.nn import functional

from training.networks.segmentation import ARCHITECTURES, Architecture, Probabilities, Segmentation

SMALL = Architecture(16, (1, 1, 1, 1), (2, 2, 4, 4), decoder_width=8, inputs=4, perceptron_ratio=2, dropout=0)


def test_every_parameter_gets_a_gradient() -> None:
    """Offsets and masks start from zero weights, so their inputs have a gradient only after one step."""
    torch.manual_seed(0)
    network = Segmentation(SMALL)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    fields, classes = torch.randn(2, 4, 64, 64), torch.randint(3, (2, 64, 64))
    for _ in range(2):
        optimiser.zero_grad()
        functional.cross_entropy(network(fields), classes).backward()  # type: ignore[no-untyped-call]
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


def test_sizes_that_the_strides_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="40 x 32 cells"):
        Segmentation(SMALL)(torch.randn(1, 4, 40, 32))


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_named_architectures_keep_the_field_size(name: str) -> None:
    with torch.device("meta"):
        network = Segmentation(ARCHITECTURES[name]).eval()
        assert network(torch.empty(1, 16, 224, 128)).shape == (1, 3, 224, 128)
