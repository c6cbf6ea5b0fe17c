"""The kernels compiled for GPUs that are not here: what the compiler makes of them, not what they compute."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

triton = pytest.importorskip("triton", reason="Triton is not installed: pip install '.[kernels]'")
if triton.knobs.runtime.interpret:
    pytest.skip("with TRITON_INTERPRET nothing is compiled", allow_module_level=True)

from training.networks import dcnv3_cuda, dcnv3_triton  # noqa: E402


@dataclass(frozen=True)
class _Binary:
    ptx: str
    spilled: int
    """Bytes of a thread's stack."""

    def count(self, instruction: str) -> int:
        return len(re.findall(rf"\b{re.escape(instruction)}\b", self.ptx))


def _compile(
    kernel: Any,
    precision: str,
    architecture: int,
    tile: int,
    warps: int,
    folder: Path,
    *,
    scatter: bool = True,
) -> _Binary:
    """Of 16 channels per group, as InternImage-T has them, and tensors at multiples of 16 bytes."""
    fixed = {
        "CHANNELS": 16, "BLOCK": 16, "STRIDE": 1, "DILATION": 1, "SCATTER": scatter, "TILE": tile,
    }  # fmt: skip
    signature: dict[str, str] = {}
    constants: dict[tuple[int], object] = {}
    aligned: dict[tuple[int], object] = {}
    for index, name in enumerate(kernel.arg_names):
        if name in fixed:
            signature[name], constants[index,] = "constexpr", fixed[name]
        elif name == "to_value" and not scatter:
            signature[name], constants[index,] = "constexpr", None
        elif name in dcnv3_triton.SIZES:
            signature[name] = "i32"
        else:
            signature[name] = "*fp32" if name == "to_value" else f"*{precision}"
            aligned[index,] = [["tt.divisibility", 16]]
    compiled = triton.compile(
        triton.compiler.ASTSource(kernel, signature, constants, aligned),
        target=triton.backends.compiler.GPUTarget("cuda", architecture, 32),
        options={"num_warps": warps},
    )
    cubin = folder / "kernel.cubin"
    cubin.write_bytes(compiled.asm["cubin"])
    command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", str(cubin)]
    usage = subprocess.run(command, capture_output=True, text=True, check=True)
    (stack,) = re.findall(r"STACK:(\d+)", usage.stdout + usage.stderr)
    return _Binary(compiled.asm["ptx"], int(stack))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def test_forward_reads_vectors_and_spills_nothing(folder: Path) -> None:
    """Four corners of nine points: 36 loads of 16 bytes, and the result is one store."""
    tile, warps = next(iter(dcnv3_cuda.FORWARD_TILES.items()))
    binary = _compile(dcnv3_triton.forward_kernel, "bf16", 90, tile, warps, folder)
    assert binary.count("ld.global.v4.b32") == 36
    assert binary.count("st.global.v4.b32") == 1
    assert binary.spilled == 0


def test_backward_adds_vectors_of_four_and_spills_nothing(folder: Path) -> None:
    """36 atomic additions of four numbers each; the gradient is one load more."""
    tile, warps = next(iter(dcnv3_cuda.BACKWARD_TILES.items()))
    binary = _compile(dcnv3_triton.backward_kernel, "bf16", 90, tile, warps, folder)
    assert binary.count("ld.global.v2.b32") == 37
    assert binary.count("atom.global.gpu.relaxed.add.v4.f32") == 36
    assert binary.spilled == 0


def test_without_the_scatter_there_is_no_atomic(folder: Path) -> None:
    """As under deterministic algorithms: the tensor is then missing."""
    tile, warps = next(iter(dcnv3_cuda.BACKWARD_TILES.items()))
    binary = _compile(dcnv3_triton.backward_kernel, "bf16", 90, tile, warps, folder, scatter=False)
    assert "atom." not in binary.ptx
    assert "red.global" not in binary.ptx


@pytest.mark.parametrize(
    ("kernel", "tiles", "architecture"),
    [
        (dcnv3_triton.forward_kernel, dcnv3_cuda.FORWARD_TILES, 120),
        (dcnv3_triton.backward_kernel, dcnv3_cuda.BACKWARD_TILES, 80),
    ],
)
def test_other_architectures_compile(
    kernel: Any, tiles: dict[int, int], architecture: int, folder: Path
) -> None:
    tile, warps = next(iter(tiles.items()))
    assert _compile(kernel, "fp16", architecture, tile, warps, folder).spilled == 0
