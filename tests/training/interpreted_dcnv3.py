"""The kernels of CUDA against the reference in float64: ``test_dcnv3_cuda`` runs it in a process of its own.

Triton decides when it is imported whether its kernels run on the device or, with TRITON_INTERPRET=1, on the
CPU in numpy. Without the variable the same tests run on the GPU.

Bounds: half a unit in the last place of the precision, for the rounding of a result, and what sums in float32
lose before it. The interpreter cuts bfloat16 off instead of rounding it: a whole unit there. Offsets keep
away from whole cells, where a rounded position decides between two slopes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from training.networks import dcnv3, dcnv3_cuda, dcnv3_reference, dcnv3_triton
from training.networks.dcnv3_reference import Sampling

DEVICE = "cpu" if dcnv3_cuda.INTERPRETED else "cuda"
ROUNDING = {
    torch.float32: 0.0,
    torch.float16: 2**-11,
    torch.bfloat16: 2**-7 if dcnv3_cuda.INTERPRETED else 2**-8,
}
LOST = 2e-5
CASES = [
    # batch, height and width, sampling, channels per group, whole cells of the offsets
    pytest.param(1, (1, 1), Sampling(1), 1, 1, id="one-cell"),
    pytest.param(2, (5, 7), Sampling(3), 4, 2, id="odd-sizes-three-groups"),
    pytest.param(3, (4, 3), Sampling(2), 5, 1, id="five-channels"),
    pytest.param(1, (3, 4), Sampling(2), 16, 60, id="far-outside"),
    pytest.param(2, (7, 6), Sampling(2, stride=2), 3, 3, id="stride"),
    pytest.param(1, (6, 5), Sampling(1, stride=1, dilation=2), 8, 1, id="dilation"),
    pytest.param(2, (8, 7), Sampling(4, stride=3, dilation=3), 2, 4, id="stride-and-dilation"),
    pytest.param(1, (1, 2), Sampling(1), 300, 1, id="more-channels-than-a-tile"),
]


def _case(
    batch: int, size: tuple[int, int], sampling: Sampling, channels: int, reach: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Value, offset, logits and gradient in float64, exact in no precision but for the offsets."""
    generator = torch.Generator().manual_seed(4)
    cells = (batch, *sampling.output_size(*size))

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    places = (*cells, sampling.groups, 9, 2)
    whole = torch.randint(-reach, reach, places, generator=generator)
    parts = torch.randint(1, 4, places, generator=generator) / 4
    return (
        draw(batch, *size, channels * sampling.groups),
        (whole + parts).double(),
        2 * draw(*cells, sampling.groups, 9),
        draw(*cells, channels * sampling.groups),
    )


def _close(found: Tensor, expected: Tensor, precision: torch.dtype) -> None:
    assert found.dtype == precision
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(
        found.double().cpu(), expected, rtol=ROUNDING[precision] + LOST, atol=LOST * scale, equal_nan=True
    )


@pytest.mark.parametrize("precision", ROUNDING, ids=str)
@pytest.mark.parametrize(("batch", "size", "sampling", "channels", "reach"), CASES)
def test_kernels_equal_the_reference(
    batch: int, size: tuple[int, int], sampling: Sampling, channels: int, reach: int, precision: torch.dtype
) -> None:
    value, offset, logits, gradient = (
        part.to(precision) for part in _case(batch, size, sampling, channels, reach)
    )
    wide = value.double(), offset.double(), logits.double()
    here = value.to(DEVICE), offset.to(DEVICE), logits.to(DEVICE)
    _close(dcnv3_cuda.forward(*here, sampling).cpu(), dcnv3_reference.forward(*wide, sampling), precision)
    found = dcnv3_cuda.backward(*here, gradient.to(DEVICE), sampling)
    expected = dcnv3_reference.backward(*wide, gradient.double(), sampling)
    for mine, theirs in zip(found, expected, strict=True):
        _close(mine, theirs, precision)


def test_points_at_nan_and_infinity_count_as_zero() -> None:
    sampling = Sampling(2)
    value, offset, logits, gradient = (part.float().to(DEVICE) for part in _case(1, (4, 4), sampling, 4, 1))
    far = offset.clone()
    for place, number in enumerate((torch.nan, torch.inf, -torch.inf, 1e30)):
        offset[0, 1, place, 0, place, place % 2] = number
        far[0, 1, place, 0, place, place % 2] = 1e3
    assert torch.equal(
        dcnv3_cuda.forward(value, offset, logits, sampling), dcnv3_cuda.forward(value, far, logits, sampling)
    )
    found = dcnv3_cuda.backward(value, offset, logits, gradient, sampling)
    expected = dcnv3_cuda.backward(value, far, logits, gradient, sampling)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
        assert mine.isfinite().all()
    assert (found[1][0, 1, 0, 0, 0] == 0).all()


def test_nan_of_a_value_or_a_logit_reaches_the_result() -> None:
    sampling = Sampling(1)
    value, offset, logits, _ = (part.float().to(DEVICE) for part in _case(1, (4, 4), sampling, 2, 1))
    value[0, 0, 0, 1], offset[0, 0, 0] = torch.nan, 0.25
    logits[0, 3, 3, 0, 5] = torch.nan
    found = dcnv3_cuda.forward(value, offset, logits, sampling)
    assert found[0, 0, 0, 1].isnan()
    assert found[0, 3, 3].isnan().all()
    assert not found[..., 0].flatten()[:-1].isnan().any()


def test_large_logits_do_not_overflow() -> None:
    sampling = Sampling(1)
    value, offset, logits, _ = (part.float() for part in _case(1, (3, 3), sampling, 2, 1))
    logits = logits * 100
    found = dcnv3_cuda.forward(value.to(DEVICE), offset.to(DEVICE), logits.to(DEVICE), sampling)
    expected = dcnv3_reference.forward(value.double(), offset.double(), logits.double(), sampling)
    _close(found, expected, torch.float32)


@pytest.mark.skipif(DEVICE == "cuda", reason="there the kernels are tuned in every other test")
@pytest.mark.parametrize("atomics", [True, False])
def test_trials_of_the_tuning_leave_nothing_behind(atomics: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tuner itself, with a stop-watch that prefers the second tile, and without a tensor to add to."""
    sampling = Sampling(2)
    value, offset, logits, gradient = (part.float() for part in _case(1, (3, 3), sampling, 4, 1))
    torch.use_deterministic_algorithms(not atomics)
    try:
        expected = dcnv3_cuda.backward(value, offset, logits, gradient, sampling)
        trials: list[float] = []

        def watch(trial: Callable[[], None], quantiles: object) -> list[float]:
            trial()
            trials.append(1.0 - len(trials) % 2)
            return trials[-1:] * 3

        tuned = dcnv3_cuda._tuned(dcnv3_triton.backward_kernel, {64: 1, 32: 1}, dcnv3_cuda._from_zero)
        tuned._do_bench = watch
        monkeypatch.setattr(dcnv3_cuda, "INTERPRETED", False)
        monkeypatch.setattr(dcnv3_cuda, "_BACKWARD", tuned)
        for _ in range(2):
            found = dcnv3_cuda.backward(value, offset, logits, gradient, sampling)
            for mine, theirs in zip(found, expected, strict=True):
                torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    finally:
        torch.use_deterministic_algorithms(False)
    assert trials == [1.0, 0.0]
    assert tuned.best_config.kwargs == {"TILE": 32}


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
def test_deterministic_gradients_need_no_atomics() -> None:
    """The value's is bit for bit that of the reference; the others do not come from the scatter."""
    sampling = Sampling(2, stride=2)
    wide = _case(2, (5, 4), sampling, 3, 2)
    value, offset, logits, gradient = (part.float().to(DEVICE) for part in wide)
    found = dcnv3_cuda.backward(value, offset, logits, gradient, sampling)
    assert torch.equal(found[0], dcnv3_reference.scattered(value, offset, logits, gradient, sampling))
    for mine, theirs in zip(found, dcnv3_reference.backward(*wide, sampling), strict=True):
        _close(mine, theirs, torch.float32)


def test_nothing_to_do_is_nothing_done() -> None:
    empty = _case(0, (3, 3), Sampling(1), 2, 1)
    value, offset, logits, gradient = (part.float().to(DEVICE) for part in empty)
    assert dcnv3_cuda.forward(value, offset, logits, Sampling(1)).shape == (0, 3, 3, 2)
    assert dcnv3_cuda.backward(value, offset, logits, gradient, Sampling(1))[0].shape == (0, 3, 3, 2)


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registered operator computes with the kernels on any device."""
    monkeypatch.setattr(dcnv3, "_backend", lambda value: dcnv3_cuda)


def _channels_first(parts: tuple[Tensor, ...]) -> list[Tensor]:
    return [part.float().flatten(3).permute(0, 3, 1, 2).to(DEVICE).requires_grad_() for part in parts[:3]]


@pytest.mark.usefixtures("operator")
def test_operator_obeys_the_rules_of_the_library() -> None:
    sampling = Sampling(2, 2, 2)
    tensors = _channels_first(_case(2, (2, 3), sampling, 3, 1))
    torch.library.opcheck(dcnv3.dcnv3_sample, (*tensors, *sampling))


@pytest.mark.usefixtures("operator")
def test_layer_compiles_without_a_graph_break() -> None:
    torch.manual_seed(0)
    layer = dcnv3.DCNv3(6, 2).to(DEVICE)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(2, 3, 4, 6, device=DEVICE)
    results = []
    for run in (layer, torch.compile(layer, backend="aot_eager", fullgraph=True)):
        layer.zero_grad()
        y = run(x)
        y.square().mean().backward()
        results.append((y.detach(), *(parameter.grad for parameter in layer.parameters())))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("operator")
def test_layer_in_bfloat16_stays_near_single_precision() -> None:
    torch.manual_seed(0)
    layer = dcnv3.DCNv3(8, 2).to(DEVICE)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 4, 4, 8, device=DEVICE)
    expected = layer(x)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    assert (found - expected).square().mean().sqrt() < 0.02 * expected.square().mean().sqrt()
