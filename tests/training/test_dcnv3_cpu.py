"""The compiled kernel against the reference through ``grid_sample``."""

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.networks import dcnv3

settings.register_profile("kernel", deadline=None, max_examples=30)


def _case(batch: int, size: tuple[int, int], groups: int, channels: int, reach: float) -> tuple[Tensor, ...]:
    height, width = size
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return (
        draw(batch, groups * channels, height, width),
        draw(batch, groups * 18, height, width) * reach,
        draw(batch, groups * 9, height, width).abs(),
        draw(batch, groups * channels, height, width),
    )


@settings(settings.get_profile("kernel"))
@given(
    batch=st.integers(1, 4),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    groups=st.integers(1, 3),
    channels=st.sampled_from((1, 4)),
    reach=st.sampled_from((0.0, 0.3, 2.0, 50.0)),
)
def test_kernel_equals_the_reference(
    batch: int, size: tuple[int, int], groups: int, channels: int, reach: float
) -> None:
    value, offset, mask, gradient = _case(batch, size, groups, channels, reach)
    torch.testing.assert_close(
        dcnv3.dcnv3_sample(value, offset, mask, groups), dcnv3.reference(value, offset, mask, groups)
    )
    found = dcnv3.dcnv3_gradients(value, offset, mask, groups, gradient)
    expected = dcnv3.reference_gradients(value, offset, mask, groups, gradient)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[2], expected[2])
    if reach:  # at whole cells the slope has a kink, and either side of it is a gradient
        torch.testing.assert_close(found[1], expected[1])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_single_precision_in_either_layout(layout: torch.memory_format) -> None:
    value, offset, mask, gradient = (
        part.float().contiguous(memory_format=layout) for part in _case(3, (9, 6), 2, 16, 2.0)
    )
    found = dcnv3.dcnv3_sample(value, offset, mask, 2)
    assert found.stride() == value.stride()
    torch.testing.assert_close(found, dcnv3.reference(value, offset, mask, 2), atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(
        dcnv3.dcnv3_gradients(value, offset, mask, 2, gradient),
        dcnv3.reference_gradients(value, offset, mask, 2, gradient),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_threads_do_not_change_a_bit() -> None:
    value, offset, mask, gradient = (part.float() for part in _case(5, (8, 8), 2, 4, 1.0))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(
                (
                    dcnv3.dcnv3_sample(value, offset, mask, 2),
                    *dcnv3.dcnv3_gradients(value, offset, mask, 2, gradient),
                )
            )
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_two_threads_may_call_at_once() -> None:
    value, offset, mask, _ = (part.float() for part in _case(4, (8, 8), 2, 4, 1.0))
    expected = dcnv3.dcnv3_sample(value, offset, mask, 2)
    same: list[bool] = []

    def call() -> None:
        same.extend(torch.equal(dcnv3.dcnv3_sample(value, offset, mask, 2), expected) for _ in range(20))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(same) == 60
    assert all(same)


def test_half_precision_takes_the_reference() -> None:
    value, offset, mask, _ = (part.bfloat16() for part in _case(1, (4, 4), 1, 4, 0.5))
    assert torch.equal(dcnv3.dcnv3_sample(value, offset, mask, 1), dcnv3.reference(value, offset, mask, 1))
