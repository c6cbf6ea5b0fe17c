"""UNet: shapes, gradients, connections across, and that it can learn."""

import pytest
import torch
from torch.nn import functional

from training.networks.unet import UNet


def _small() -> UNet:
    torch.manual_seed(0)
    return UNet(inputs=3, outputs=3, width=4)


def test_the_sources_width_has_its_number_of_parameters() -> None:
    """31.0 M, the number usually quoted for Ronneberger's network."""
    with torch.device("meta"):
        network = UNet(inputs=1, outputs=2, width=64)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(31.03e6, rel=1e-3)


def test_every_parameter_gets_a_gradient() -> None:
    network = _small()
    functional.cross_entropy(network(torch.randn(2, 3, 32, 48)), torch.randint(3, (2, 32, 48))).backward()  # type: ignore[no-untyped-call]
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_every_resolution_reaches_the_result() -> None:
    """With the statistics of the batch: those of a fresh network would leave little of the deepest."""
    network = _small()
    fields = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        whole = network(fields)
        for level in network.descent:
            handle = level.register_forward_hook(lambda _module, _inputs, output: torch.zeros_like(output))
            assert (network(fields) - whole).abs().max() > 1e-2
            handle.remove()


def test_a_cell_sees_far() -> None:
    """Through the deepest resolution: farther than the four convolutions at full resolution reach."""
    network = _small().eval()
    fields = torch.randn(1, 3, 64, 64).requires_grad_()
    network(fields)[0, :, 32, 32].sum().backward()
    assert fields.grad is not None
    assert fields.grad[0, :, 32, :8].any()


def test_overfits_one_batch() -> None:
    network = _small()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    fields = torch.randn(2, 3, 32, 32)
    classes = torch.zeros(2, 32, 32, dtype=torch.long)
    classes[0, 8:24, 4:16] = 1
    classes[1, 12:, 16:] = 2
    for _ in range(60):
        optimiser.zero_grad()
        loss = functional.cross_entropy(network(fields), classes)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert loss.item() < 0.1


def test_sides_that_are_no_multiples_of_16_are_refused() -> None:
    with pytest.raises(ValueError, match="40 x 32 cells"):
        _small()(torch.randn(1, 3, 40, 32))
