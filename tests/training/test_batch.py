"""Batches as the split has them, and crops that are the same in fields and rain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.batch import Batch, cropped, read
from training.samples import DataSettings, Split


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _numbered(samples: int, height: int, width: int) -> Batch:
    """Every cell holds its own row and column; the rain is their sum."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    fields = torch.stack([rows, columns]).float().expand(samples, 2, height, width)
    return Batch(fields, fields.sum(dim=1))


def test_a_batch_is_the_samples_asked_for_in_their_order(dataset: DataSettings) -> None:
    split = Split(dataset, "train")
    batch = read(split, np.array([7, 2]), torch.device("cpu"))
    np.testing.assert_array_equal(batch.fields.numpy(), split.fields([7, 2]))
    np.testing.assert_array_equal(batch.rain_mm.numpy(), split.rain_mm(np.array([7, 2])))
    assert batch.fields.is_contiguous(memory_format=torch.channels_last)
    assert batch.fields.dtype == batch.rain_mm.dtype == torch.float32
    assert batch.rain_mm.isnan().any()


def test_no_size_is_no_crop() -> None:
    batch, generator = _numbered(1, 4, 4), _generator()
    before = generator.get_state()
    assert cropped(batch, None, generator) is batch
    assert torch.equal(generator.get_state(), before)


@given(height=st.integers(1, 6), width=st.integers(1, 7), seed=st.integers(0, 2**32))
def test_a_crop_is_one_rectangle_of_every_sample_and_of_fields_and_rain(
    height: int, width: int, seed: int
) -> None:
    part = cropped(_numbered(3, 6, 7), (height, width), _generator(seed))
    assert part.fields.shape == (3, 2, height, width)
    top, left = (int(value) for value in part.fields[0, :, 0, 0])
    expected = torch.meshgrid(
        torch.arange(top, top + height), torch.arange(left, left + width), indexing="ij"
    )
    assert torch.equal(part.fields, torch.stack(expected).float().expand(3, 2, height, width))
    assert torch.equal(part.rain_mm, part.fields.sum(dim=1))


def test_every_place_is_drawn_and_by_the_generator_alone() -> None:
    batch, generator, chance = _numbered(1, 3, 5), _generator(), torch.get_rng_state()
    drawn = [cropped(batch, (2, 3), generator) for _ in range(100)]
    places = {(int(part.fields[0, 0, 0, 0]), int(part.fields[0, 1, 0, 0])) for part in drawn}
    assert places == {(top, left) for top in range(2) for left in range(3)}
    assert torch.equal(torch.get_rng_state(), chance)
    again = cropped(batch, (2, 3), _generator())
    assert torch.equal(again.fields, drawn[0].fields)


def test_the_whole_field_is_a_crop_too() -> None:
    batch = _numbered(2, 3, 5)
    assert torch.equal(cropped(batch, (3, 5), _generator()).fields, batch.fields)


def test_a_crop_larger_than_the_fields_is_not_drawn() -> None:
    with pytest.raises(RuntimeError):
        cropped(_numbered(1, 3, 5), (4, 5), _generator())
