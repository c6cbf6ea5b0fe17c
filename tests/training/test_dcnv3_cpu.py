"""The compiled kernel against the reference through ``grid_sample``."""

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.networks import dcnv3, dcnv3_cpu, dcnv3_reference
from training.networks.dcnv3_reference import Sampling

settings.register_profile("kernel", deadline=None, max_examples=30)


def _case(
    batch: int, size: tuple[int, int], sampling: Sampling, channels: int, reach: float
) -> tuple[Tensor, ...]:
    """Value, offset, logits and gradient, channels first."""
    generator = torch.Generator().manual_seed(1)
    groups, out_size = sampling.groups, sampling.output_size(*size)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return (
        draw(batch, groups * channels, *size),
        draw(batch, groups * 18, *out_size) * reach,
        draw(batch, groups * 9, *out_size),
        draw(batch, groups * channels, *out_size),
    )


def _split(parts: tuple[Tensor, ...], groups: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As the backends take them, channels last."""
    value, offset, logits, gradient = parts
    return (*dcnv3._channels_last(value, offset, logits, groups), gradient.permute(0, 2, 3, 1).contiguous())


@settings(settings.get_profile("kernel"))
@given(
    batch=st.integers(1, 4),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    sampling=st.builds(Sampling, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    channels=st.sampled_from((1, 4)),
    reach=st.sampled_from((0.0, 0.3, 2.0, 50.0)),
)
def test_kernel_equals_the_reference(
    batch: int, size: tuple[int, int], sampling: Sampling, channels: int, reach: float
) -> None:
    parts = _split(_case(batch, size, sampling, channels, reach), sampling.groups)
    torch.testing.assert_close(
        dcnv3_cpu.forward(*parts[:3], sampling), dcnv3_reference.forward(*parts[:3], sampling)
    )
    found = dcnv3_cpu.backward(*parts, sampling)
    expected = dcnv3_reference.backward(*parts, sampling)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[2], expected[2])
    if reach:  # at whole cells the slope has a kink, and either side of it is a gradient
        torch.testing.assert_close(found[1], expected[1])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_single_precision_in_either_layout(layout: torch.memory_format) -> None:
    case = _case(3, (9, 6), Sampling(2), 16, 2.0)
    value, offset, logits, gradient = (part.float().contiguous(memory_format=layout) for part in case)
    wide = _split(case, 2)
    found = dcnv3.dcnv3_sample(value, offset, logits, 2)
    assert found.is_contiguous(memory_format=torch.channels_last)
    expected = dcnv3_reference.forward(*wide[:3], Sampling(2)).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(
        dcnv3.dcnv3_gradients(value, offset, logits, gradient, 2),
        dcnv3_reference.backward(*wide, Sampling(2)),
        strict=True,
    ):
        expected = theirs.flatten(3).permute(0, 3, 1, 2).float()
        torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-4)


def test_threads_do_not_change_a_bit_of_what_is_compiled() -> None:
    value, offset, logits, gradient = (part.float() for part in _case(5, (8, 8), Sampling(2), 4, 1.0))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(
                (
                    dcnv3.dcnv3_sample(value, offset, logits, 2),
                    *dcnv3.dcnv3_gradients(value, offset, logits, gradient, 2),
                )
            )
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0][:3], other[:3], strict=True))
        # The gradient of the logits goes through a sum of torch, which some processors round by its threads.
        torch.testing.assert_close(results[0][3], other[3], atol=1e-6, rtol=0)


def test_two_threads_may_call_at_once() -> None:
    value, offset, logits, _ = (part.float() for part in _case(4, (8, 8), Sampling(2), 4, 1.0))
    expected = dcnv3.dcnv3_sample(value, offset, logits, 2)
    same: list[bool] = []

    def call() -> None:
        same.extend(torch.equal(dcnv3.dcnv3_sample(value, offset, logits, 2), expected) for _ in range(20))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(same) == 60
    assert all(same)
