"""DCNv3 against a reference written from the paper's formula, cell by cell, in float64."""

import math
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.networks import dcnv3, dcnv3_cpu, dcnv3_reference
from training.networks.dcnv3 import DCNv3, dcnv3_sample, onnx_translations

Array = NDArray[np.float64]


def _bilinear(field: Array, y: float, x: float) -> float:
    """Value of (height, width) at a fractional position; cells outside are zero."""
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < field.shape[0] and 0 <= column < field.shape[1]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * field[row, column]
    return total


def _reference_core(value: Array, offset: Array, mask: Array, groups: int, scale: float) -> Array:
    """Channels last; the kernel counted column by column, offsets as (x, y), as InternImage has it."""
    batch, height, width, channels = value.shape
    offset = offset.reshape(batch, height, width, groups, 9, 2)
    mask = mask.reshape(batch, height, width, groups, 9)
    result = np.zeros_like(value)
    for n, y, x, c in np.ndindex(batch, height, width, channels):
        g = c // (channels // groups)
        k = 0
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                shift_x, shift_y = offset[n, y, x, g, k]
                sample = _bilinear(value[n, :, :, c], y + dy + scale * shift_y, x + dx + scale * shift_x)
                result[n, y, x, c] += mask[n, y, x, g, k] * sample
                k += 1
    return result


def _linear(layer: nn.Linear, x: Array) -> Array:
    return np.asarray(x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())


def _reference_layer(layer: DCNv3, x: Array) -> Array:
    batch, height, width, _ = x.shape
    kernel, bias = layer.depthwise.weight.detach().numpy(), layer.depthwise.bias
    assert bias is not None
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    context = np.zeros_like(x) + bias.detach().numpy()
    for row in range(3):
        for column in range(3):
            context += padded[:, row : row + height, column : column + width] * kernel[:, 0, row, column]
    mean, variance = context.mean(-1, keepdims=True), context.var(-1, keepdims=True)
    context = (context - mean) / np.sqrt(variance + 1e-6)
    context = context * layer.norm.weight.detach().numpy() + layer.norm.bias.detach().numpy()
    context *= 0.5 * (1 + np.vectorize(math.erf)(context / math.sqrt(2)))
    mask = _linear(layer.mask, context).reshape(batch, height, width, layer.groups, 9)
    mask = np.exp(mask) / np.exp(mask).sum(-1, keepdims=True)
    value = _linear(layer.input_projection, x)
    core = _reference_core(value, _linear(layer.offset, context), mask, layer.groups, layer.offset_scale)
    return _linear(layer.output_projection, core)


def _randomised(layer: DCNv3, offset_size: float) -> DCNv3:
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    nn.init.normal_(layer.offset.bias, std=offset_size)
    return layer


@pytest.mark.parametrize(
    ("height", "width", "channels", "groups", "offset_size", "scale"),
    [(5, 7, 6, 3, 1.0, 1.0), (7, 3, 4, 1, 30.0, 1.0), (1, 1, 4, 4, 0.5, 1.0), (4, 5, 6, 2, 1.0, 2.0)],
)
def test_layer_equals_the_reference(
    height: int, width: int, channels: int, groups: int, offset_size: float, scale: float
) -> None:
    torch.manual_seed(height)
    layer = _randomised(DCNv3(channels, groups, scale).double(), offset_size)
    x = torch.randn(2, height, width, channels, dtype=torch.float64)
    np.testing.assert_allclose(
        layer(x).detach().numpy(), _reference_layer(layer, x.numpy()), rtol=1e-9, atol=1e-10
    )


def test_samples_far_outside_are_zero() -> None:
    value = torch.ones(1, 2, 4, 4)
    offset = torch.full((1, 18, 4, 4), 100.0)
    assert dcnv3_sample(value, offset, torch.zeros(1, 9, 4, 4), 1).abs().max() == 0


def test_without_offsets_it_is_a_mean_with_zero_padding() -> None:
    value = torch.ones(1, 1, 4, 5)
    result = dcnv3_sample(value, torch.zeros(1, 18, 4, 5), torch.full((1, 9, 4, 5), 7.0), 1)
    assert result[0, 0, 1, 1].item() == pytest.approx(1)
    assert result[0, 0, 0, 0].item() == pytest.approx(4 / 9)
    assert result[0, 0, 0, 2].item() == pytest.approx(6 / 9)


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_with_even_weights_it_is_a_convolution(stride: int, dilation: int) -> None:
    """Without offsets and with equal logits torch's own convolution is the peer for stride and dilation."""
    value = torch.randn(2, 3, 7, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel = torch.full((3, 1, 3, 3), 1 / 9, dtype=torch.float64)
    expected = nn.functional.conv2d(
        value, kernel, stride=stride, dilation=dilation, padding=dilation, groups=3
    )
    size = expected.shape[2:]
    zeros = value.new_zeros(2, 27, *size)
    result = dcnv3_sample(value, zeros[:, :18], zeros[:, :9], 1, stride, dilation)
    torch.testing.assert_close(result, expected, check_stride=False)


def _arguments(stride: int = 1, dilation: int = 1) -> tuple[Tensor, Tensor, Tensor, int, int, int]:
    generator = torch.Generator().manual_seed(3)
    size = ((2 - 1) // stride + 1, (3 - 1) // stride + 1)
    value = torch.randn(1, 4, 2, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    # Away from whole cells, where bilinear interpolation has no derivative.
    whole = torch.randint(-3, 3, (1, 36, *size), generator=generator)
    offset = (whole + 0.2 + 0.6 * torch.rand(1, 36, *size, generator=generator)).double().requires_grad_()
    logits = torch.randn(1, 18, *size, dtype=torch.float64, generator=generator).requires_grad_()
    return value, offset, logits, 2, stride, dilation


@pytest.mark.parametrize("backend", [dcnv3_cpu, dcnv3_reference])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_gradients_equal_finite_differences(
    backend: object, stride: int, dilation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dcnv3, "_backend", lambda value: backend)
    assert torch.autograd.gradcheck(dcnv3_sample, _arguments(stride, dilation))  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", [dcnv3_cpu, dcnv3_reference])
@pytest.mark.parametrize("stride", [1, 2])
def test_operator_obeys_the_rules_of_the_library(
    backend: object, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dcnv3, "_backend", lambda value: backend)
    torch.library.opcheck(dcnv3_sample, _arguments(stride))
    value, offset, logits, *sampling = (
        part.detach() if isinstance(part, Tensor) else part for part in _arguments(stride)
    )
    gradient = dcnv3_sample(value, offset, logits, *sampling)
    torch.library.opcheck(dcnv3.dcnv3_gradients, (value, offset, logits, gradient, *sampling))


def test_layer_compiles_without_a_graph_break() -> None:
    """``fullgraph`` fails at a break; forward and backward give what eager execution gives."""
    torch.manual_seed(0)
    layer = _randomised(DCNv3(6, 3), 1.0)
    x = torch.randn(2, 5, 4, 6)
    results = []
    for run in (layer, torch.compile(layer, backend="aot_eager", fullgraph=True)):
        layer.zero_grad()
        y = run(x)
        y.square().mean().backward()
        results.append((y.detach(), *(parameter.grad for parameter in layer.parameters())))
    torch.compiler.reset()
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs g++ on the CPU")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_inductor_takes_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one fused operation before it and one after, whose memory it may lay out as it likes."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")

    def halved(value: Tensor, offset: Tensor, logits: Tensor) -> Tensor:
        y: Tensor = dcnv3_sample(value / 2, offset, logits, 2) / 2
        return y

    tensors = _arguments()[:3]
    results = []
    for run in (halved, torch.compile(halved, fullgraph=True)):
        y = run(*tensors)
        results.append((y.detach(), *torch.autograd.grad(y.square().sum(), tensors)))
    torch.compiler.reset()
    torch.testing.assert_close(results[1], results[0])


def test_autocast_stays_near_single_precision() -> None:
    """Every tensor of the operator is then bfloat16, and sums and positions are not."""
    torch.manual_seed(0)
    layer = _randomised(DCNv3(8, 2), 1.0)
    x = torch.randn(2, 5, 4, 8)
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    assert (found - expected).square().mean().sqrt() < 0.02 * expected.square().mean().sqrt()


class _Alone(nn.Module):
    """The operator and nothing else."""

    def __init__(self, stride: int, dilation: int) -> None:
        super().__init__()
        self.sampling = (2, stride, dilation)

    def forward(self, value: Tensor, offset: Tensor, logits: Tensor) -> Tensor:
        y: Tensor = dcnv3_sample(value, offset, logits, *self.sampling)
        return y


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 3)])
def test_onnx_runtime_computes_the_same(stride: int, dilation: int) -> None:
    tensors = tuple(part.detach().float() for part in _arguments(stride, dilation)[:3])
    program = torch.onnx.export(
        _Alone(stride, dilation).eval(), tensors, dynamo=True, opset_version=22, verbose=False,
        input_names=["value", "offset", "logits"], custom_translation_table=onnx_translations(),
    )  # fmt: skip
    assert program is not None
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    fed = {name: part.numpy() for name, part in zip(("value", "offset", "logits"), tensors, strict=True)}
    (found,) = session.run(None, fed)
    expected = dcnv3_sample(*tensors, 2, stride, dilation)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"value": torch.zeros(4, 3, 4)}, ValueError, "value must be \\(batch, channels, height, width\\)"),
        ({"offset": torch.zeros(2, 36, 4, 3)}, ValueError, "offset must be \\(2, 36, 3, 4\\), not"),
        ({"logits": torch.zeros(1, 18, 3, 4)}, ValueError, "logits must be \\(2, 18, 3, 4\\), not"),
        ({"groups": 3}, ValueError, "4 channels cannot be sampled with Sampling\\(groups=3"),
        ({"stride": 0}, ValueError, "cannot be sampled with .*stride=0"),
        ({"value": torch.zeros(2, 4, 3, 4).half()}, TypeError, "one dtype, not torch.float16, torch.float32"),
        ({"value": torch.zeros(2, 4, 3, 4, device="meta")}, TypeError, "one device, not meta, cpu, cpu"),
    ],
)
def test_what_does_not_fit_is_refused(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    """Before a kernel could read beyond a tensor; for fake tensors too."""
    fitting: dict[str, object] = {
        "value": torch.zeros(2, 4, 3, 4),
        "offset": torch.zeros(2, 36, 3, 4),
        "logits": torch.zeros(2, 18, 3, 4),
        "groups": 2,
    }
    with pytest.raises(error, match=message):
        dcnv3_sample(**fitting | change)


def test_integers_are_refused() -> None:
    value, offset, logits = torch.zeros(1, 2, 3, 3), torch.zeros(1, 18, 3, 3), torch.zeros(1, 9, 3, 3)
    with pytest.raises(TypeError, match=r"computes in torch.float64, .*, not in torch.int32"):
        dcnv3_sample(value.int(), offset.int(), logits.int(), 1)


@pytest.mark.parametrize(
    ("device", "precision", "module"),
    [
        ("cpu", torch.float64, "dcnv3_cpu"),
        ("cpu", torch.float32, "dcnv3_cpu"),
        ("cpu", torch.bfloat16, "dcnv3_reference"),
        ("cuda", torch.float32, "dcnv3_cuda"),
        ("cuda", torch.bfloat16, "dcnv3_cuda"),
        ("cuda", torch.float16, "dcnv3_cuda"),
        ("cuda", torch.float64, "dcnv3_reference"),
    ],
)
def test_device_and_precision_choose_the_backend(
    device: str, precision: torch.dtype, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fake tensors: no device is needed, and Triton is not imported."""
    monkeypatch.setattr(dcnv3, "import_module", lambda name: name)
    with torch._subclasses.FakeTensorMode():
        chosen = dcnv3._backend(torch.empty(1, dtype=precision, device=device))
    assert getattr(chosen, "__name__", chosen) == f"training.networks.{module}"


def test_groups_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="6 channels cannot be divided into 4 groups"):
        DCNv3(6, 4)
