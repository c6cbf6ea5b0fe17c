"""MetNet: the memory, the attention, gradients, and that it can learn."""

from math import sqrt

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training.networks.metnet import AxialAttention, AxialBlock, LSTMCell, MetNet


def _small(window: int = 3) -> MetNet:
    torch.manual_seed(0)
    return MetNet(
        inputs=3, outputs=3, height=16, width=24, start_width=4, halvings=1, window=window,
        attention_width=16, groups=4,
    )  # fmt: skip


def _train(network: MetNet, steps: int) -> float:
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    fields = torch.randn(2, 3, 16, 24)
    classes = torch.zeros(2, 16, 24, dtype=torch.long)
    classes[0, 4:12, 4:16] = 1
    classes[1, 8:, 12:] = 2
    for _ in range(steps):
        optimiser.zero_grad()
        loss = functional.cross_entropy(network(fields), classes)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return loss.item()


def test_every_parameter_gets_a_gradient() -> None:
    """Peepholes and hidden weights too: they need a window of more than one step."""
    network = _small()
    _train(network, 1)
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_overfits_one_batch() -> None:
    assert _train(_small(), 100) < 0.15


@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_each_halving_is_taken_back(halvings: int) -> None:
    network = MetNet(
        inputs=2, outputs=5, height=16, width=32, start_width=2, halvings=halvings, window=1,
        attention_width=4, groups=2,
    )  # fmt: skip
    assert network(torch.randn(2, 2, 16, 32)).shape == (2, 5, 16, 32)
    cell = network.lstm[0]
    assert isinstance(cell, LSTMCell)
    assert cell.peephole.shape == (4, 16 / 2**halvings, 32 / 2**halvings)


def test_each_step_of_the_window_changes_the_result() -> None:
    fields = torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        results = [_small(window).eval()(fields) for window in (1, 2, 3)]
    assert (results[1] - results[0]).abs().max() > 1e-3
    assert (results[2] - results[1]).abs().max() > 1e-3


def test_a_sample_does_not_depend_on_the_others_of_its_batch() -> None:
    network = _small().eval()
    fields = torch.randn(3, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(network(fields)[1:2], network(fields[1:2]))


def test_the_memory_follows_its_equations() -> None:
    torch.manual_seed(0)
    cell = LSTMCell(2, 3, 3)
    with torch.no_grad():
        cell.peephole.normal_()
    x, output, memory = (torch.randn(1, 2, 3, 3) for _ in range(3))
    gates = cell.norm_gates(cell.gates(torch.cat([x, output], 1)))
    take, keep, give = (torch.sigmoid(gates[:, 2 * k : 2 * k + 2] + cell.peephole * memory) for k in range(3))
    expected = keep * memory + take * gates[:, 6:8].tanh()
    found, kept = cell(x, output, memory)
    torch.testing.assert_close(kept, expected)
    torch.testing.assert_close(found, give * cell.norm_memory(expected).tanh())


def _attention_by_loops(layer: AxialAttention, line: Tensor) -> Tensor:
    """One column (channels, cells): the equation of the docstring, cell by cell."""
    cells = line.shape[1]
    key, deep = layer.key, layer.deep
    projected = layer.norm(layer.projection(line[None]))[0].reshape(layer.groups, -1, cells)
    result = torch.zeros(layer.groups, deep, cells)
    for group in range(layer.groups):
        query, keys, value = projected[group].split([key, key, deep])
        for i in range(cells):
            relative = layer.relative[:, [j - i + cells - 1 for j in range(cells)]]
            scores = torch.stack(
                [
                    query[:, i] @ keys[:, j]
                    + query[:, i] @ relative[:key, j]
                    + keys[:, j] @ relative[key : 2 * key, j]
                    for j in range(cells)
                ]
            )
            weights = (scores / sqrt(key)).softmax(0)
            result[group, :, i] = ((value + relative[2 * key :]) * weights).sum(1)
    return result.reshape(-1, cells)


def test_attention_follows_its_equation() -> None:
    torch.manual_seed(0)
    layer = AxialAttention(8, 2, 5).eval()
    x = torch.randn(2, 8, 5, 3)
    with torch.no_grad():
        found = layer(x)
        for sample, column in ((0, 0), (1, 2)):
            expected = _attention_by_loops(layer, x[sample, :, :, column])
            torch.testing.assert_close(found[sample, :, :, column], expected)


def test_a_block_changes_its_input_along_both_axes() -> None:
    torch.manual_seed(0)
    block = AxialBlock(4, 8, 2, 6, 5).eval()
    x = torch.rand(1, 4, 6, 5).requires_grad_()
    y = block(x)
    assert (y - x).abs().mean() > 0.01
    (gradient,) = torch.autograd.grad(y[0, :, 2, 3].sum(), x)
    # One block sees its own row through the columns of that row: every cell of the field.
    assert (gradient.abs().sum(dim=1) > 0).all()


def test_sizes_that_do_not_divide_are_refused() -> None:
    sizes = {"inputs": 1, "outputs": 1, "start_width": 2, "window": 1}
    with pytest.raises(ValueError, match="12 x 16 cells; both must be multiples of 8"):
        MetNet(height=12, width=16, halvings=3, attention_width=4, groups=2, **sizes)
    with pytest.raises(ValueError, match="3 groups do not divide an attention width of 4"):
        MetNet(height=16, width=16, halvings=1, attention_width=4, groups=3, **sizes)
