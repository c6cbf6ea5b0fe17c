"""The benchmark of the GPU, as far as it goes without one: dry run, refusal, bytes, peers by stand-ins."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.bench import deformable, deformable_peers
from training.networks import dcnv3_reference
from training.networks.dcnv3 import dcnv3_sample
from training.networks.dcnv3_reference import Sampling, divided


def _of_weights(value: Tensor, offset: Tensor, weights: Tensor, groups: int) -> Tensor:
    """The operator channels last: (..., groups, 9, 2) and (..., groups, 9), weights that sum to one."""
    return dcnv3_reference.forward(value, offset, weights.log(), Sampling(groups))


def _by_rows(column_by_column: Tensor) -> Tensor:
    """(..., 9, numbers) counted column by column to row by row, (x, y) to (y, x)."""
    points = column_by_column.reshape(*column_by_column.shape[:-2], 3, 3, column_by_column.shape[-1])
    return points.transpose(-3, -2).flatten(-3, -2).flip(-1)


class _DCNv3Function:
    """Takes the arguments of InternImage's and computes by the reference."""

    @staticmethod
    def apply(value: Tensor, offset: Tensor, mask: Tensor, *numbers: float) -> Tensor:
        assert numbers[:8] == (3, 3, 1, 1, 1, 1, 1, 1)
        groups, per_group = int(numbers[8]), numbers[9]
        assert numbers[10:] == (1.0, 256, 0)
        assert per_group * groups == value.shape[3]
        weights = _by_rows(divided(mask, groups, 9, 1)).squeeze(-1)
        return _of_weights(value, _by_rows(divided(offset, groups, 9, 2)), weights, groups)


class _DCNv4Function:
    """Takes the arguments of DCNv4's: of each group nine (x, y), then nine weights; padded to eight."""

    @staticmethod
    def apply(value: Tensor, both: Tensor, *numbers: float) -> Tensor:
        groups = int(numbers[8])
        assert both.shape[3] % 8 == 0
        parts = divided(both[..., : 27 * groups], groups, 27)
        offset, weights = divided(parts[..., :18], 9, 2), parts[..., 18:, None]
        return _of_weights(value, _by_rows(offset), _by_rows(weights).squeeze(-1), groups)


class _Doubled:
    @staticmethod
    def apply(*arguments: Any) -> Tensor:
        return 2 * _DCNv3Function.apply(*arguments)


class _Broken:
    @staticmethod
    def apply(*arguments: Any) -> Tensor:
        raise RuntimeError("no kernel for bfloat16")


def _deform_conv2d(
    value: Tensor, offset: Tensor, weight: Tensor, *, padding: tuple[int, int], mask: Tensor
) -> Tensor:
    """Takes the arguments of torchvision's; with one group per channel and weights of one."""
    assert weight.shape == (value.shape[1], 1, 3, 3)
    assert (weight == 1).all()
    assert padding == (1, 1)
    groups = mask.shape[1] // 9
    parts = (
        value.permute(0, 2, 3, 1),
        divided(offset.permute(0, 2, 3, 1), groups, 9, 2),
        divided(mask.permute(0, 2, 3, 1), groups, 9),
    )
    return _of_weights(*parts, groups).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    "call",
    [
        deformable_peers.through_grid_sample,
        deformable_peers.through_deform_conv2d(_deform_conv2d),
        deformable_peers.through_dcnv3(_DCNv3Function),
        deformable_peers.through_dcnv4(_DCNv4Function),
    ],
)
def test_peers_are_given_what_the_operator_is_given(call: Callable[..., Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    value, offset, logits = (
        torch.randn(2, numbers, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
        for numbers in (6, 36, 18)
    )
    found, expected = call(value, offset, logits, 2), dcnv3_sample(value, offset, logits, 2)
    torch.testing.assert_close(found, expected, check_stride=False)
    for mine, theirs in zip(
        torch.autograd.grad(found.square().sum(), (value, offset, logits)),
        torch.autograd.grad(expected.square().sum(), (value, offset, logits)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, check_stride=False)


def test_dry_run_goes_through_every_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a peer that runs, one that gives something else, and one that does not run."""
    for name, attribute, content in (
        ("torchvision.ops", "deform_conv2d", _deform_conv2d),
        ("ops_dcnv3.functions", "DCNv3Function", _Doubled),
        ("DCNv4.functions", "DCNv4Function", _Broken),
    ):
        module = ModuleType(name)
        setattr(module, attribute, content)
        monkeypatch.setitem(sys.modules, name.split(".", maxsplit=1)[0], ModuleType(name))
        monkeypatch.setitem(sys.modules, name, module)
    deformable.main(["--dry-run"])
    shown = capsys.readouterr().out
    assert "DRY RUN on the CPU: no measurement" in shown
    for way in ("rainpost::dcnv3", "grid_sample", "torchvision"):
        assert shown.count(way) >= 9  # two passes at four stages, and the step
    assert "DCNv3 gives something else: its results differ by" in shown
    assert "DCNv4 does not run: no kernel for bfloat16" in shown
    assert "torchvision ran in torch.float16" in shown


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_refuses_to_measure() -> None:
    with pytest.raises(SystemExit, match=r"finds no CUDA device.*--dry-run"):
        deformable.main([])


def test_stages_are_those_of_the_encoder() -> None:
    plan = deformable.Plan("cuda", torch.bfloat16, 64, 30)
    assert plan.stages() == [(56, 32, 64, 4), (28, 16, 128, 8), (14, 8, 256, 16), (7, 4, 512, 32)]


def test_least_bytes_count_every_input_and_result_once() -> None:
    inputs, _ = deformable.tensors(deformable.Plan("cpu", torch.bfloat16, 2, 1), (4, 4, 32, 2))
    cells = 2 * 4 * 4
    value, offset, logits = 32 * cells * 2, 36 * cells * 2, 18 * cells * 2
    forward, backward = deformable.least_bytes(inputs)
    assert forward == value + offset + logits + value
    assert backward == (value + offset + logits + value) + (value + offset + logits)


def test_where_a_peer_is_missing_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torchvision", "ops_dcnv3", "DCNv4"):
        monkeypatch.setitem(sys.modules, name, None)
    found, missing = deformable_peers.ways()
    assert [way.name for way in found] == ["rainpost::dcnv3", "grid_sample"]
    assert [reason.split(":")[0] for reason in missing] == ["torchvision", "DCNv3", "DCNv4"]
