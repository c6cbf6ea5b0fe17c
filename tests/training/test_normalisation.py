"""Batch normalisation over two processes against PyTorch's over the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn

from training.networks.normalisation import BatchNorm1d, BatchNorm2d

STEPS = 3


def _fields(kind: str) -> Tensor:
    """(step, sample, channel, ...); the halves of a batch differ, and squares of the first are large."""
    generator = torch.Generator().manual_seed(0)
    shape = (STEPS, 4, 3, 5, 2) if kind == "2d" else (STEPS, 4, 3)
    fields = torch.randn(shape, generator=generator)
    fields[:, 2:] *= 3
    fields[:, :, 0] += 1000
    return fields


def _layer(kind: str, *, shared: bool) -> nn.Module:
    torch.manual_seed(0)
    layer: nn.BatchNorm1d | nn.BatchNorm2d
    if kind == "2d":
        layer = BatchNorm2d(3) if shared else nn.BatchNorm2d(3)
    else:
        layer = BatchNorm1d(3) if shared else nn.BatchNorm1d(3)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer


def _trained(layer: nn.Module, fields: Tensor) -> dict[str, Tensor]:
    """Outputs of every step, gradients of the sum of their cubes, running statistics, and the evaluation."""
    outputs, gradients = [], []
    for step in fields:
        x = step.clone().requires_grad_()
        y = layer(x)
        (y**3).sum().backward()
        assert x.grad is not None
        outputs.append(y.detach())
        gradients.append(x.grad)
    found = {"outputs": torch.stack(outputs), "gradients": torch.stack(gradients)}
    found |= {f"gradient of {name}": p.grad for name, p in layer.named_parameters() if p.grad is not None}
    found |= dict(layer.named_buffers())
    layer.eval()
    with torch.no_grad():
        return found | {"evaluated": layer(fields[0])}


def _work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    half = slice(2 * rank, 2 * rank + 2)
    found = {kind: _trained(_layer(kind, shared=True), _fields(kind)[:, half]) for kind in ("1d", "2d")}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found["bfloat16"] = {"outputs": _layer("2d", shared=True)(_fields("2d")[0, half].bfloat16()).detach()}
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("processes")
    spawn(_work, (folder,), nprocs=2)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("kind", ["1d", "2d"])
def test_values_gradients_and_running_statistics_are_those_of_the_whole_batch(
    halves: list[dict[str, dict[str, Tensor]]], kind: str
) -> None:
    whole = _trained(_layer(kind, shared=False), _fields(kind))
    first, second = (half[kind] for half in halves)
    assert first.keys() == whole.keys()
    for name, expected in whole.items():
        if name in {"outputs", "gradients"}:
            found = torch.cat([first[name], second[name]], dim=1)
        elif name == "evaluated":
            found = torch.cat([first[name], second[name]])
        elif name.startswith("gradient of"):
            # DistributedDataParallel adds these up.
            found = first[name] + second[name]
        else:
            assert torch.equal(first[name], second[name])
            found = first[name]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3, msg=name)


def test_half_precision_sums_in_single(halves: list[dict[str, dict[str, Tensor]]]) -> None:
    """As PyTorch's: means of a thousand have no digits left for the variance in bfloat16."""
    found = torch.cat([half["bfloat16"]["outputs"] for half in halves])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = _layer("2d", shared=False)(_fields("2d")[0].bfloat16()).detach()
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["1d", "2d"])
def test_one_process_alone_is_pytorchs(kind: str) -> None:
    found = _trained(_layer(kind, shared=True), _fields(kind))
    expected = _trained(_layer(kind, shared=False), _fields(kind))
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
