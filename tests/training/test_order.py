"""The order of the samples, and reading ahead."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InputError
from training.order import Clock, Indices, batches, read_ahead


@given(samples=st.integers(1, 12), batch=st.integers(1, 9), passes=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_pass_takes_every_sample_once(samples: int, batch: int, passes: int, seed: int) -> None:
    updates = -(-samples * passes // batch)
    drawn = list(batches(samples, batch, seed, 0, updates))
    assert [len(indices) for indices in drawn] == [batch] * updates
    sequence = np.concatenate(drawn)[: samples * passes].reshape(passes, samples)
    assert (np.sort(sequence, axis=1) == np.arange(samples)).all()


@given(
    samples=st.integers(1, 12), batch=st.integers(1, 9), first=st.integers(0, 20), number=st.integers(0, 5)
)
def test_batches_from_any_update_are_those_of_the_whole(
    samples: int, batch: int, first: int, number: int
) -> None:
    whole = list(batches(samples, batch, 7, 0, first + number))
    part = list(batches(samples, batch, 7, first, first + number))
    assert [indices.tolist() for indices in part] == [indices.tolist() for indices in whole[first:]]


def test_passes_and_seeds_have_other_orders() -> None:
    passes = [tuple(indices) for indices in batches(30, 30, 0, 0, 3)]
    assert len({*passes, *(tuple(indices) for indices in batches(30, 30, 1, 0, 3))}) == 6


def test_every_batch_comes_with_its_numbers() -> None:
    numbers = [np.array([2, 0]), np.array([1, 3])]
    found = list(read_ahead(lambda indices: 10 * indices, iter(numbers), Clock()))
    assert [(indices.tolist(), batch.tolist()) for indices, batch in found] == [
        ([2, 0], [20, 0]),
        ([1, 3], [10, 30]),
    ]
    assert list(read_ahead(lambda indices: indices, iter(()), Clock())) == []


def test_what_was_read_before_an_error_is_not_lost() -> None:
    def _read(indices: Indices) -> Indices:
        if indices[0] == 1:
            raise InputError("A broken sample")
        return indices

    reading = read_ahead(_read, iter([np.array([0]), np.array([1])]), Clock())
    assert next(reading)[1].tolist() == [0]
    with pytest.raises(InputError, match="A broken sample"):
        next(reading)


def test_waiting_is_a_share_of_the_time_that_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 110.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    clock = Clock()
    clock.waited(1.5)
    clock.waited(1.0)
    assert clock.share == pytest.approx(0.25)
